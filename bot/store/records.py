"""What the store gives out: frozen records, never rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bot.events import (
    AudioState,
    BotState,
    CaptureState,
    ConsentState,
    EndReason,
    Ledger,
    NoteState,
    PauseReason,
    Role,
    TranscriptState,
)
from bot.store.codec import ledger_from_json
from bot.store.models import ConsentRow, InboxRow, LaneRow, SessionRow


def new_id(kind: str) -> str:
    """A fresh id that cannot be guessed, such as ``ses_9f...``: 128 random bits."""
    return f"{kind}_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Attestation:
    """That somebody agreed where this service did not hear or see it, and who vouches for that."""

    method: str
    """``on_file`` or ``verbal_attested``."""
    attested_by: str
    """The clinician's id among the session's participants."""
    text_version: str = ""
    """Of the text that was signed; empty for what was said aloud."""
    signed_on: date | None = None
    document_id: str | None = None
    until: datetime | None = None
    """When it ends; None: it holds for the session."""


@dataclass(frozen=True, slots=True)
class NewParticipant:
    """Somebody a new session is for."""

    id: str
    role: Role
    display_name: str
    invite_code: str | None = None
    """The secret of this person's link; only its hash is stored."""
    language: str | None = None
    """What they read, as a BCP 47 tag."""
    on_file: Attestation | None = None
    """Their consent, where a clinician attests to have it on file."""
    copy_code: str | None = None
    """The secret of the link to their copy of what they agree to; only its hash is stored."""
    shares_with: str | None = None
    """The participant at whose page and microphone they sit; None: at their own."""
    client_ref: str | None = None
    """The platform's reference of a client over all their sessions; None: their id."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session is made from. Template and language fall back to the clinic's."""

    clinic_id: str
    transport: str = "builtin"
    room_name: str | None = None
    mode: str = "full"
    template: str | None = None
    language: str | None = None
    clinician_user_id: str | None = None
    appointment_external_id: str | None = None
    appointment_starts_at: datetime | None = None
    appointment_ends_at: datetime | None = None
    participants: tuple[NewParticipant, ...] = ()
    made_by: str = "system"
    """Id of who makes it."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session: the states of its machines, its clinic's snapshot, its clocks."""

    id: str
    clinic_id: str
    clinic_version: int
    snapshot: Mapping[str, Any]
    """The clinic's configuration when the session was made; :class:`bot.clinics.ClinicConfig` reads it."""
    transport: str
    room_name: str | None
    mode: str
    template: str
    language: str
    clinician_user_id: str | None
    appointment_external_id: str | None
    appointment_starts_at: datetime | None
    appointment_ends_at: datetime | None
    bot: BotState
    bot_end_reason: EndReason | None
    capture: CaptureState
    pause_reasons: frozenset[PauseReason]
    audio: AudioState
    transcript: TranscriptState
    note: NoteState
    note_id: str | None
    failure_slug: str | None
    seq: int
    """Sequence of the session's last event."""
    epoch: int
    """Raised by erasure; a writer that began under an older one may write no more."""
    created_at: datetime
    call_started_at: datetime | None
    """Zero of the call's clock."""
    captured_from: datetime | None
    ended_at: datetime | None
    transcript_ready_at: datetime | None
    audio_erased_at: datetime | None
    draft_ready_at: datetime | None
    purge_at: datetime | None
    erase_by: datetime | None
    withdrawn_by: str | None = None
    """The participant who took their consent back and had what was captured destroyed."""
    part: int = 1
    """Which part is, or was last, recorded: Start after Finish begins the next. ``capture`` and ``audio`` are its."""


@dataclass(frozen=True, slots=True)
class ParticipantRecord:
    """A person invited to a session."""

    session_id: str
    id: str
    role: Role
    display_name: str = field(repr=False)
    consent: ConsentState
    admitted: bool
    language: str | None = None
    """What they read, as a BCP 47 tag; None: the language of the session."""
    shares_with: str | None = None
    """The participant at whose page and microphone they sit; None: at their own."""
    client_ref: str | None = None
    """Of a client: the platform's reference of them over all their sessions."""
    ran_out: bool = False
    """True when what they agreed to was on file with an end, and that has come; it may not be recorded yet."""

    @property
    def stands(self) -> ConsentState:
        """Their consent as it stands now: nobody need be in the room for one on file to end."""
        return ConsentState.EXPIRED if self.ran_out else self.consent


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One answer of one participant."""

    id: str
    session_id: str
    participant_id: str
    decision: ConsentState
    method: str
    text_version: str
    text_sha256: str
    """Of exactly the text that was shown; empty where none was shown here."""
    by: str
    at: datetime
    language: str = ""
    """Of the text that was shown."""
    attestation: Attestation | None = None
    """Who vouches for it; None where the participant answered themselves."""


@dataclass(frozen=True, slots=True)
class LaneRecord:
    """A participant's lane."""

    id: str
    session_id: str
    participant_id: str
    role: Role
    ledger: Ledger
    committed_through_sample: int
    """Everything of this lane before this position is in words."""
    hash_tree: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """A session's note with its content."""

    id: str
    session_id: str
    clinic_id: str
    clinician_user_id: str | None
    state: NoteState
    version: int
    content: bytes = field(repr=False)
    """The note as JSON; :mod:`bot.notes.render` reads it."""
    created_at: datetime
    signed_at: datetime | None
    signed_by: str | None
    content_sha256: str | None
    """Hash of the content that was signed."""
    purge_at: datetime | None
    """When the transcript goes, or went."""
    edited: bool = False
    """Somebody changed the draft by hand."""
    words_added: bool = False
    """Recording went on after it was edited: the transcript has words that it was not made from."""


@dataclass(frozen=True, slots=True)
class NoteSummary:
    """A line of the list of notes: ids, states and times only."""

    session_id: str
    note_id: str | None
    clinician_user_id: str | None
    state: NoteState
    transcript: TranscriptState
    failure_slug: str | None
    session_created_at: datetime
    ended_at: datetime | None
    signed_at: datetime | None
    inputs: int = 0
    """How many texts were typed for it."""
    withdrawn: bool = False
    """Somebody took their consent back, and what was captured was destroyed."""


@dataclass(frozen=True, slots=True)
class InboxRecord:
    """An item of the Notes inbox."""

    id: str
    clinic_id: str
    session_id: str
    note_id: str | None
    clinician_user_id: str | None
    kind: str
    """``draft_ready``, ``failed``, ``transcript_expiring`` or ``consent_withdrawn``."""
    reason_slug: str | None
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A signed erasure receipt: ``body`` is the exact file that was signed."""

    id: str
    session_id: str
    kind: str
    """``audio`` or ``transcript``."""
    body: bytes
    created_at: datetime
    part: int = 1
    """Whose sound it is about, of an ``audio`` receipt."""


@dataclass(frozen=True, slots=True)
class TranscriptPurge:
    """What a receipt says of a transcript's destruction."""

    session_id: str
    clinic_id: str
    reason: str
    """``signed``, ``retention``, ``discarded`` or ``withdrawn``."""
    segments: int
    gaps: int
    words_key_destroyed: bool
    """False when an earlier, interrupted try had already destroyed it."""
    transcript_ready_at: datetime | None
    destroyed_at: datetime
    drafts: int = 0
    """Unsigned drafts that were destroyed with it."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer once given to a request with an Idempotency-Key."""

    status: int
    body: bytes = field(repr=False)


def session_record(row: SessionRow, note_id: str | None) -> SessionRecord:
    """The record of a row."""
    return SessionRecord(
        id=row.id,
        clinic_id=row.clinic_id,
        clinic_version=row.clinic_version,
        snapshot=row.snapshot,
        transport=row.transport,
        room_name=row.room_name,
        mode=row.mode,
        template=row.template,
        language=row.language,
        clinician_user_id=row.clinician_user_id,
        appointment_external_id=row.appointment_external_id,
        appointment_starts_at=row.appointment_starts_at,
        appointment_ends_at=row.appointment_ends_at,
        bot=BotState(row.bot),
        bot_end_reason=EndReason(row.bot_end_reason) if row.bot_end_reason else None,
        capture=CaptureState(row.capture),
        pause_reasons=reasons_from(row.pause_reasons),
        audio=AudioState(row.audio),
        transcript=TranscriptState(row.transcript),
        note=NoteState(row.note),
        note_id=note_id,
        failure_slug=row.failure_slug,
        seq=row.seq,
        epoch=row.epoch,
        created_at=row.created_at,
        call_started_at=row.call_started_at,
        captured_from=row.captured_from,
        ended_at=row.ended_at,
        transcript_ready_at=row.transcript_ready_at,
        audio_erased_at=row.audio_erased_at,
        draft_ready_at=row.draft_ready_at,
        purge_at=row.purge_at,
        erase_by=row.erase_by,
        withdrawn_by=row.withdrawn_by,
        part=row.part,
    )


def lane_record(row: LaneRow) -> LaneRecord:
    """The record of a row."""
    return LaneRecord(
        id=row.id,
        session_id=row.session_id,
        participant_id=row.participant_id,
        role=Role(row.role),
        ledger=ledger_from_json(row.ledger),
        committed_through_sample=row.committed_through_sample,
        hash_tree=row.hash_tree,
    )


def consent_record(row: ConsentRow) -> ConsentRecord:
    """The record of a row."""
    return ConsentRecord(
        id=row.id,
        session_id=row.session_id,
        participant_id=row.participant_id,
        decision=ConsentState(row.decision),
        method=row.method,
        text_version=row.text_version,
        text_sha256=row.text_sha256,
        by=row.by,
        at=row.at,
        language=row.language,
        attestation=_attestation(row),
    )


def _attestation(row: ConsentRow) -> Attestation | None:
    if row.attested_by is None:
        return None
    return Attestation(row.method, row.attested_by, row.text_version, row.signed_on, row.document_id, row.until)


def inbox_record(row: InboxRow) -> InboxRecord:
    """The record of a row."""
    return InboxRecord(
        id=row.id,
        clinic_id=row.clinic_id,
        session_id=row.session_id,
        note_id=row.note_id,
        clinician_user_id=row.clinician_user_id,
        kind=row.kind,
        reason_slug=row.reason_slug,
        created_at=row.created_at,
        read_at=row.read_at,
    )


def reasons_from(stored: str) -> frozenset[PauseReason]:
    """The pause reasons of a stored, comma-separated list."""
    return frozenset(PauseReason(word) for word in stored.split(",") if word)


def reasons_to(reasons: frozenset[PauseReason] | tuple[PauseReason, ...]) -> str:
    """Pause reasons as they are stored: sorted, comma-separated."""
    return ",".join(sorted({reason.value for reason in reasons}))
