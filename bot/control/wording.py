"""The fixed words people read: status words and the built-in consent text."""

from __future__ import annotations

from dataclasses import dataclass

from bot.clinics import ClinicConfig
from bot.events import CaptureState, NoteState, TranscriptState

BUILT_IN_CONSENT = (
    "Your clinician would like a computer program to listen to this session and write down what is said, so that "
    "they can write their notes.\n\n"
    "It hears you and your clinician, nobody else. The sound is destroyed as soon as it has been turned into words, "
    "and the words are deleted when your clinician signs their note, or after {days} at the latest. "
    "Only your clinician reads them.\n\n"
    "You can say no. Your session goes on just the same. If you say yes, you can change your mind at any time."
)


STARTING = "Starting"
"""From Start to the first sound of everybody in the room: what is heard is captured, but not everybody is heard yet."""


@dataclass(frozen=True, slots=True)
class ConsentText:
    """What a participant is shown before they answer."""

    version: str
    text: str


def consent_text(config: ClinicConfig, language: str) -> ConsentText:
    """The clinic's wording in the language, else in its base language, else the built-in text."""
    own = config.consent.wording
    text = own.get(language) or own.get(language.split("-")[0]) or own.get("en")
    if text:
        return ConsentText(config.consent.wording_version, text)
    days = config.retention.transcript_days
    spoken = "one day" if days == 1 else f"{days:g} days"
    return ConsentText("built-in-1", BUILT_IN_CONSENT.format(days=spoken))


def status_words(
    capture: CaptureState, transcript: TranscriptState, note: NoteState, *, failed: bool = False
) -> str:
    """The status pill's words; ``failed``: the session has a reason why there is no note."""
    match capture:
        case CaptureState.CONSENT_PENDING:
            return "Waiting for consent"
        case CaptureState.CAPTURING:
            return "Recording"
        case CaptureState.PAUSED:
            return "Paused"
        case CaptureState.FINISHED:
            failed = failed and note is NoteState.ABSENT
            if failed or note is NoteState.FAILED or transcript is TranscriptState.FAILED:
                return "Could not generate"
            if note in {NoteState.DRAFT, NoteState.SIGNED, NoteState.AMENDED}:
                return "Draft ready"
            if note is NoteState.ABSENT and transcript in {TranscriptState.ABSENT, TranscriptState.PURGED}:
                return "Not recording"
            return "Processing"
        case _:
            return "Not recording"
