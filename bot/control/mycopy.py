"""Somebody's own copy of what they agreed to: the text, what they answered, what became of it, and how to withdraw.

It tells states and times only, and is read by a link whose code outlives every session token.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from bot.errors import NotFound
from bot.events import AudioState, CaptureState, ConsentState, NoteState, TranscriptState
from bot.store.records import ConsentRecord, ParticipantRecord, SessionRecord
from bot.store.sessions import SessionStore

CODE_BYTES = 24
"""Randomness of a link's code: 192 bits."""
KEPT = timedelta(days=30)
"""How long a link is good once there is nothing left that a withdrawal could destroy."""

Withdrawal = Literal["never_agreed", "possible", "after_signing", "withdrawn", "ended"]
"""What the link can still do: nothing; withdraw and destroy; be recorded and passed on only; it was done; nothing, as
the consent came to its end and there is nothing to destroy."""
NoteWord = Literal["none", "being_made", "draft", "signed", "discarded"]
SIGNED = frozenset({NoteState.SIGNED, NoteState.AMENDED})
OPEN_NOTES = frozenset({NoteState.QUEUED, NoteState.GENERATING, NoteState.DRAFT})
NOTES: Mapping[NoteState, NoteWord] = {
    NoteState.ABSENT: "none",
    NoteState.FAILED: "none",
    NoteState.QUEUED: "being_made",
    NoteState.GENERATING: "being_made",
    NoteState.DRAFT: "draft",
    NoteState.SIGNED: "signed",
    NoteState.AMENDED: "signed",
    NoteState.DISCARDED: "discarded",
}
NOT_VALID = "This link is not valid, or has ended."


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy, as it stands now."""

    record: SessionRecord
    person: ParticipantRecord
    answers: tuple[ConsentRecord, ...]
    texts: Mapping[str, str]
    """By hash: what they read before they answered."""
    transcript_destroyed_at: datetime | None
    signed_at: datetime | None

    @property
    def withdrawal(self) -> Withdrawal:
        """What the link can still do."""
        if not agreed(self.answers):
            return "never_agreed"
        took_back = self.person.consent in {ConsentState.REVOKED, ConsentState.DECLINED}
        if self.record.note in SIGNED:
            return "withdrawn" if took_back else "after_signing"
        if destroyable(self.record):
            return "possible"
        if self.person.stands is ConsentState.EXPIRED:
            return "ended"
        return "withdrawn" if took_back else "possible"

    @property
    def until(self) -> datetime | None:
        """When the link ends; None while a withdrawal could still destroy something."""
        return good_until(self.record, self.signed_at)


def new_code() -> str:
    """The secret of a link."""
    return secrets.token_urlsafe(CODE_BYTES)


def agreed(answers: Collection[ConsentRecord]) -> bool:
    """True when a yes is among them, whatever came after it."""
    return any(one.decision is ConsentState.GRANTED for one in answers)


def destroyable(record: SessionRecord) -> bool:
    """True while a withdrawal would destroy something of the session."""
    if record.captured_from is None or record.note in SIGNED or record.withdrawn_by is not None:
        return False
    if record.capture is CaptureState.DISCARDED:
        return False
    words = record.transcript not in {TranscriptState.ABSENT, TranscriptState.PURGED}
    return words or record.audio is AudioState.HELD or record.note in OPEN_NOTES


def good_until(record: SessionRecord, signed_at: datetime | None) -> datetime | None:
    """When links to a session's copies end: not before the session is over and a month has passed."""
    if destroyable(record) or record.capture in {CaptureState.CONSENT_PENDING, CaptureState.CAPTURING}:
        return None
    ends = (record.created_at, record.appointment_ends_at, record.ended_at, record.purge_at, signed_at)
    return max(at for at in ends if at is not None) + KEPT


async def read(store: SessionStore, session_id: str, code: str, now: datetime) -> Copy:
    """The copy that a link leads to. Raises NotFound for a code that is not good, or not any more."""
    try:
        record = await store.get(session_id)
        participant_id = await store.copy_link(session_id, code)
    except NotFound:
        raise NotFound(NOT_VALID) from None
    copy = await of(store, record, participant_id)
    if copy.until is not None and copy.until <= now:
        raise NotFound(NOT_VALID)
    return copy


async def of(store: SessionStore, record: SessionRecord, participant_id: str) -> Copy:
    """Somebody's copy."""
    person = await store.participant(record.id, participant_id)
    answers = tuple(one for one in await store.consents(record.id) if one.participant_id == participant_id)
    texts = await store.consent_texts({one.text_sha256 for one in answers if one.text_sha256})
    purged_at, signed_at = await store.ends_of(record.id)
    return Copy(record, person, answers, texts, purged_at, signed_at)
