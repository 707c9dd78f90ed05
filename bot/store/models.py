"""The tables. Words are stored only sealed; ids, states, times and hashes are plain.

``sealed_*`` columns hold :mod:`bot.store.vault` envelopes. ``session_events`` is the one log that streams, webhooks and
the inbox are fed from; a row is written in the same transaction as the change it tells of.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bot.store.columns import UtcDateTime


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime(), dict[str, Any]: JSON, bytes: LargeBinary}


class ClinicRow(Base):
    """A clinic, pointing at its current configuration."""

    __tablename__ = "clinics"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    inbox_seq: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Number of the last change of its inbox."""


class ClinicVersionRow(Base):
    """One version of a clinic's configuration; never changed."""

    __tablename__ = "clinic_versions"
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    config: Mapped[dict[str, Any]]
    author: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A platform's key, as a hash."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(128))
    label: Mapped[str] = mapped_column(String(128), default="")
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class UserRow(Base):
    """A person who signs in to the pages."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    display_name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class CookieRow(Base):
    """A signed-in browser, by the hash of its cookie."""

    __tablename__ = "cookies"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SessionRow(Base):
    """A session: the states of its machines, its clinic's snapshot, its clocks."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"), index=True)
    clinic_version: Mapped[int] = mapped_column(Integer)
    snapshot: Mapped[dict[str, Any]]
    transport: Mapped[str] = mapped_column(String(16))
    room_name: Mapped[str | None] = mapped_column(String(128))
    mode: Mapped[str] = mapped_column(String(16), default="full")
    template: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(8))
    clinician_user_id: Mapped[str | None] = mapped_column(String(128), index=True)
    appointment_external_id: Mapped[str | None] = mapped_column(String(128))
    appointment_starts_at: Mapped[datetime | None]
    appointment_ends_at: Mapped[datetime | None]
    bot: Mapped[str] = mapped_column(String(24), default="absent")
    bot_end_reason: Mapped[str | None] = mapped_column(String(32))
    capture: Mapped[str] = mapped_column(String(24), default="off")
    pause_reasons: Mapped[str] = mapped_column(String(128), default="")
    """Comma-separated, sorted; empty when nothing holds capture back."""
    audio: Mapped[str] = mapped_column(String(16), default="absent")
    transcript: Mapped[str] = mapped_column(String(16), default="absent")
    note: Mapped[str] = mapped_column(String(16), default="absent")
    failure_slug: Mapped[str | None] = mapped_column(String(64))
    seq: Mapped[int] = mapped_column(Integer, default=0)
    """Sequence of the last row of this session in session_events."""
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    """Raised by erasure: a writer that began under an older epoch may write no more."""
    part: Mapped[int] = mapped_column(Integer, default=1)
    """Which part is, or was last, recorded; ``capture`` and ``audio`` are this part's."""
    created_at: Mapped[datetime]
    call_started_at: Mapped[datetime | None]
    """Zero of the call's clock."""
    captured_from: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    transcript_ready_at: Mapped[datetime | None]
    audio_erased_at: Mapped[datetime | None]
    draft_ready_at: Mapped[datetime | None]
    purge_at: Mapped[datetime | None] = mapped_column(index=True)
    erase_by: Mapped[datetime | None] = mapped_column(index=True)
    note_until: Mapped[datetime | None] = mapped_column(index=True)
    """When the time of its note is up, by the clinic's choice of then; none: kept, or there is no note."""
    deletion_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """The deletion that it goes with: nothing more is changed in it."""
    withdrawn_by: Mapped[str | None] = mapped_column(String(64))
    """The participant who took their consent back and had what was captured destroyed."""


class ParticipantRow(Base):
    """A person invited to a session."""

    __tablename__ = "participants"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    sealed_name: Mapped[bytes]
    invite_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    """Hash of the code in this person's link."""
    language: Mapped[str | None] = mapped_column(String(35))
    """What they read, as a BCP 47 tag; none: the language of the session."""
    shares_with: Mapped[str | None] = mapped_column(String(64))
    """The participant at whose page and microphone they sit; none: at their own."""
    client_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    """The platform's reference of a client over all their sessions; of a client it is never empty."""
    consent: Mapped[str] = mapped_column(String(16), default="unknown")
    admitted: Mapped[bool] = mapped_column(Boolean, default=False)


class ConsentRow(Base):
    """One answer of one participant; never changed."""

    __tablename__ = "consents"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    participant_id: Mapped[str] = mapped_column(String(64))
    decision: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(32))
    text_version: Mapped[str] = mapped_column(String(32))
    text_sha256: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(35), default="")
    """Of the text; empty where none was shown here."""
    by: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime]
    attested_by: Mapped[str | None] = mapped_column(String(64))
    """The clinician who vouches for it; none where the participant answered themselves."""
    signed_on: Mapped[date | None] = mapped_column(Date)
    document_id: Mapped[str | None] = mapped_column(String(128))
    until: Mapped[datetime | None]
    """When a consent on file ends; none: it holds for the session."""


class ConsentTextRow(Base):
    """A text that somebody agreed to, by its hash; the clinic's words, about nobody."""

    __tablename__ = "consent_texts"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class ConsentLinkRow(Base):
    """A link to a participant's copy of what they agreed to, by the hash of its code."""

    __tablename__ = "consent_links"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    participant_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class LaneRow(Base):
    """A participant's lane: its ledger, and how far its words are committed."""

    __tablename__ = "lanes"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    participant_id: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    ledger: Mapped[dict[str, Any]]
    committed_through_sample: Mapped[int] = mapped_column(BigInteger, default=0)
    hash_tree: Mapped[dict[str, Any]]
    """Append-only tree over the hashes of the sealed chunks: {"count": n, "peaks": [hex, ...]}."""
    __table_args__ = (UniqueConstraint("session_id", "participant_id"),)


class SegmentRow(Base):
    """A final, sealed under the session's words key."""

    __tablename__ = "segments"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    lane_id: Mapped[str] = mapped_column(String(40))
    participant_id: Mapped[str] = mapped_column(String(64))
    start_ms: Mapped[int] = mapped_column(BigInteger)
    end_ms: Mapped[int] = mapped_column(BigInteger)
    sealed: Mapped[bytes]


class GapRow(Base):
    """A stretch without words, and why."""

    __tablename__ = "gaps"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    participant_id: Mapped[str | None] = mapped_column(String(64))
    start_ms: Mapped[int] = mapped_column(BigInteger)
    end_ms: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(16))
    pause_reasons: Mapped[str] = mapped_column(String(128), default="")


class ControlMessageRow(Base):
    """A control message that was carried out: its ack is given again when it comes again."""

    __tablename__ = "control_messages"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    participant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    ack: Mapped[dict[str, Any]]


class InputRow(Base):
    """Text a clinician added, sealed under the clinic's key."""

    __tablename__ = "inputs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    sealed: Mapped[bytes]
    author_id: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]


class NoteRow(Base):
    """A session's note: its current content sealed under the clinic's key."""

    __tablename__ = "notes"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), unique=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"), index=True)
    version: Mapped[int] = mapped_column(Integer, default=1)
    part: Mapped[int] = mapped_column(Integer, default=1)
    """Of the session's words it has those up to this part's end."""
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    signed_at: Mapped[datetime | None]
    signed_by: Mapped[str | None] = mapped_column(String(128))
    content_sha256: Mapped[str | None] = mapped_column(String(64))


class InboxRow(Base):
    """An item of the Notes inbox, at most one of a kind for a note's version."""

    __tablename__ = "inbox"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"), index=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    note_id: Mapped[str | None] = mapped_column(String(40))
    clinician_user_id: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(32))
    dedupe: Mapped[str] = mapped_column(String(255), unique=True)
    reason_slug: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]
    """From when on it counts as read by everybody, because what it tells of is gone."""
    seq: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Number of its last change in the clinic's inbox."""


class ReceiptRow(Base):
    """A signed erasure receipt, as the exact bytes that were signed."""

    __tablename__ = "receipts"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    part: Mapped[int] = mapped_column(Integer, default=1)
    body: Mapped[bytes]
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("session_id", "kind", "part"),)


class SessionEventRow(Base):
    """A change of state, in order. Ids and states only."""

    __tablename__ = "session_events"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(48))
    at: Mapped[datetime] = mapped_column(index=True)
    data: Mapped[dict[str, Any]]


class WebhookRow(Base):
    """An endpoint that is told of events."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(ForeignKey("clinics.id"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    sealed_secret: Mapped[bytes]
    sealed_retired: Mapped[bytes | None]
    """Secrets that were replaced and sign beside the newest for a while; gone once that has passed."""
    retired_until: Mapped[datetime | None]
    """When the last of them ends."""
    created_at: Mapped[datetime]
    enabled_at: Mapped[datetime]
    """It is told of what happens from then on."""
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(16))


class DeliveryRow(Base):
    """One event for one endpoint, and how its delivery went. The body is not kept: it is made from the event."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"), index=True)
    session_id: Mapped[str | None] = mapped_column(String(40))
    event_seq: Mapped[int | None] = mapped_column(Integer)
    """With the session: the event. A test has neither."""
    kind: Mapped[str] = mapped_column(String(48))
    at: Mapped[datetime] = mapped_column(index=True)
    """When it happened."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    """Of the attempts, those since it was last asked for: where it stands in the schedule."""
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(Integer)
    last_error: Mapped[str | None] = mapped_column(String(24))
    """A word for why there was no answer."""


class IdempotencyRow(Base):
    """The answer to a POST that carried an Idempotency-Key, sealed under the clinic's key."""

    __tablename__ = "idempotency"
    clinic_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(Integer)
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]
