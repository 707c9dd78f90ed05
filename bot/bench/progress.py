"""How a measurement tells how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable

Progress = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Where it does not disturb the figures."""
    print(line, file=sys.stderr, flush=True)
