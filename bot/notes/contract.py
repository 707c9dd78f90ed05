"""The contract of a note writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bot.events import NoteDraft, NoteRequest

Progress = Callable[[str, int, int], None]
"""Called with a step's key, how many parts are done, and how many there are."""


class NoteWriter(Protocol):
    """Makes a draft from a session's words. Raises :class:`bot.errors.NoteGenerationFailed` with a plain reason."""

    async def write(self, request: NoteRequest, progress: Progress) -> NoteDraft:
        """Write the draft."""
        ...
