"""The words of the Notes inbox: what an item says, from its kind and its reason. No item repeats what was said."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from bot.notes.failures import REASONS


class InboxKind(StrEnum):
    """What an item tells."""

    DRAFT_READY = "draft_ready"
    FAILED = "failed"
    TRANSCRIPT_EXPIRING = "transcript_expiring"
    CONSENT_WITHDRAWN = "consent_withdrawn"


PLAIN: Mapping[InboxKind, str] = {
    InboxKind.DRAFT_READY: "The draft note is ready for review.",
    InboxKind.FAILED: "The note could not be generated. The transcript is kept. You can type a summary.",
    InboxKind.TRANSCRIPT_EXPIRING: "The transcript will soon be permanently deleted; review the note before then.",
    InboxKind.CONSENT_WITHDRAWN: "Consent was withdrawn. What was recorded was destroyed, any unsigned draft too.",
}
AFTER_SIGNING = "Consent was withdrawn after the note was signed. The signed note stays; nothing was destroyed by it."
DRAFTS: Mapping[str, str] = {
    "made-again": "Recording went on after Finish, so the draft was made again. It is ready for review.",
    "words-added": "Recording went on after you edited the draft. It stays as it was; the transcript has the rest.",
    "words-came": "The recording was put into words after all, and the draft was made again. It is ready for review.",
    "words-late": "The recording was put into words after you edited the draft. It stays as it was.",
}
"""Why an item tells of a draft anew."""
FAILURES: Mapping[str, str] = {
    "note-generation-failed": PLAIN[InboxKind.FAILED],
    "capture-no-audio": "No audio was captured, so there is no transcript and no note. You can type a summary.",
    "audio-too-short": "No words were heard in the recording, so there is no note. You can type a summary.",
    "transcription-delayed": "The recording is not in words yet. It is tried again by itself until its time is up, and "
    "is then destroyed. You can type a summary.",
    "transcription-failed": "The recording could not be transcribed; the audio was destroyed. You can type a summary.",
} | {cause: f"{reason} The transcript is kept." for cause, reason in REASONS.items()}
"""The sentence for every slug or cause a failed item may carry."""


def reason_of(kind: str, slug: str | None) -> str:
    """The one plain sentence an item shows. An unknown slug gives the general one."""
    known = InboxKind(kind)
    if known is InboxKind.CONSENT_WITHDRAWN and slug == "note-signed":
        return AFTER_SIGNING
    if known is InboxKind.DRAFT_READY:
        return DRAFTS.get(slug or "", PLAIN[known])
    return FAILURES.get(slug or "", PLAIN[known]) if known is InboxKind.FAILED else PLAIN[known]
