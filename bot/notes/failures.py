"""Why a note could not be made, in words for the clinician: no clinical text and no endpoint's answer."""

from __future__ import annotations

from collections.abc import Mapping

from bot.errors import NoteGenerationFailed

REASONS: Mapping[str, str] = {
    "template-unknown": "This session's note template does not exist any more. Choose another and try again.",
    "nothing-to-write-from": "Nothing was said or typed that a note could be made from.",
    "endpoint-not-set": "The note model is not set up for this clinic.",
    "endpoint-unreachable": "The note model could not be reached.",
    "endpoint-timeout": "The note model did not answer in time.",
    "endpoint-refused": "The note model refused the request; its key or its settings are wrong.",
    "endpoint-busy": "The note model is too busy right now.",
    "endpoint-failed": "The note model failed while it was writing.",
    "answer-cut-off": "The note model's answer was cut off before its end.",
    "answer-withheld": "The note model would not answer.",
    "answer-not-json": "The note model's answer was not in the form that was asked for.",
    "no-progress": "Nothing moved for some minutes, so it was stopped.",
    "session-too-long": "One thing that was said is longer than the note model can take in.",
}
"""Every cause and its sentence."""
LASTING = frozenset(
    {"template-unknown", "nothing-to-write-from", "endpoint-not-set", "endpoint-refused", "session-too-long"}
)
"""Causes that trying again does not cure."""


PASSING = frozenset({"endpoint-unreachable", "endpoint-timeout", "endpoint-busy", "endpoint-failed"}) | frozenset(
    {"full", "locked", "io", "unreachable"}  # of a store
)
"""Causes that pass without anybody doing anything about the note: it is tried again by itself."""
AGAIN_AFTER_S = (60, 300, 900, 2700, 7200)
"""Waits before each further try of such a note: three hours altogether, and then it is left to the clinician."""


class NoteNotPossible(NoteGenerationFailed):
    """The note cannot be made until somebody changes something."""

    retryable = False


def failed(cause: str) -> NoteGenerationFailed:
    """The error for a cause of :data:`REASONS`; it carries the cause as ``extra["cause"]``."""
    kind = NoteNotPossible if cause in LASTING else NoteGenerationFailed
    return kind(REASONS[cause], cause=cause)
