"""The hash that ties a sentence to its evidence after the evidence itself is gone."""

from __future__ import annotations

import hashlib


def text_sha256(text: str) -> str:
    """SHA-256 of ``text`` in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
