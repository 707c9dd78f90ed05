"""Notes, the inbox, and receipts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.control.api.answers.base import NextCursor, Reply, Sha256, Time
from bot.events import CaptureState, EvidenceSource, NoteState, SentenceStatus, TranscriptState


class SentenceEvidence(Reply):
    """One place a sentence comes from."""

    source: EvidenceSource
    source_id: str = Field(description="Id of the segment, input, note or goal, or a record's name.")
    start_ms: int | None = Field(description="Milliseconds on the call's clock; null for what was not said.")
    end_ms: int | None = Field(description="Milliseconds on the call's clock; null for what was not said.")
    sha256: str = Field(description="SHA-256 of the evidence's text in UTF-8, in hexadecimal: it outlives the text.")


class Sentence(Reply):
    """One sentence of a note."""

    id: str
    text: str
    status: SentenceStatus
    evidence: list[SentenceEvidence]
    reason: str = Field("", description="Why it was held back; only there when it was.")


class Section(Reply):
    """One section of a note."""

    key: str
    title: str
    placeholder: str = Field(description="What is shown while it has no sentences.")
    sentences: list[Sentence]


class Note(Reply):
    """A note: what it says, and how it stands."""

    id: str
    session_id: str
    state: NoteState
    version: int = Field(ge=1, description="Counts up with each change; the `ETag`.")
    edited: bool = Field(description="Somebody changed the draft: it is not made again by itself.")
    words_added: bool = Field(
        description="Recording went on after it was edited: the transcript has words that it was not made from."
    )
    created_at: Time
    signed_at: Time | None
    signed_by: str | None
    content_sha256: Sha256 | None = Field(description="Hash of what was signed.")
    purge_at: Time | None = Field(description="When the transcript goes, or went.")
    form: int = Field(alias="schema", description="Version of the form of what follows.")
    template: str
    template_version: int
    writer: str = Field(description="Name and version of the writer, such as `extractive/1`.")
    notice: str = Field(description="What a reader should know of how it was made; may be empty.")
    coverage: float = Field(
        ge=0, le=1, description="Share of the transcript's segments that the writer was shown, 0 to 1."
    )
    sections: list[Section]
    held_back: list[Sentence] = Field(description="Sentences that are not part of the note, each with its reason.")


class NoteLine(Reply):
    """A line of the list of notes."""

    session_id: str
    note_id: str | None
    state: NoteState
    transcript: TranscriptState
    inputs: int = Field(ge=0, description="How many texts were typed for it.")
    withdrawn: bool = Field(description="Consent was taken back, and what was recorded was destroyed.")
    reason: str | None = Field(description="The slug of what failed; null when nothing did.")
    created_at: Time = Field(description="When the session was made.")
    ended_at: Time | None
    signed_at: Time | None


class Notes(Reply):
    """A page of notes, newest session first."""

    items: list[NoteLine]
    next_cursor: NextCursor


class NoteAsked(Reply):
    """The note was asked for, and is being made."""

    session_id: str
    seq: int = Field(ge=0, description="Number of the session's last event.")
    capture: CaptureState
    note: NoteState
    note_id: str | None = Field(description="Of the note; null until there is one.")
    words: str = Field(description="The status words to show, such as `Processing`.")


class Input(Reply):
    """Text that was typed for a note."""

    id: str
    kind: Literal["clinician_summary", "observation", "dictation"]
    text: str
    author_id: str = Field(description="Id of who typed it, or of the platform that sent it.")


class Inputs(Reply):
    """What was typed for a session's note, the first text first."""

    items: list[Input]
    next_cursor: NextCursor


class Support(Reply):
    """What to tell whom, when it does not mend itself."""

    reference: str = Field(description="The reference to give.")
    contact: str = Field(description="Whom the clinic names for it; may be empty.")


class InboxItem(Reply):
    """An item of the Notes inbox."""

    id: str
    kind: Literal["draft_ready", "failed", "transcript_expiring", "consent_withdrawn"]
    session_id: str
    note_id: str | None
    created_at: Time
    read: bool = Field(description="By whoever asks: each person has read for themselves, a platform's keys as one.")
    reason: str | None = Field(
        description="With `failed`: the slug of what failed. With `draft_ready`: `made-again` or `words-added`, where "
        "recording went on after Finish: the draft was made again, or was edited and stays; `words-came` or "
        "`words-late`, where the words of a draft made from what was typed came later. With `consent_withdrawn`: "
        "`consent-revoked` (what was recorded is destroyed) or `note-signed` (the note was signed before, and stays)."
    )
    text: str = Field(description="One plain sentence to show. It repeats nothing that was said.")
    support: Support | None = Field(description="With `failed`; null otherwise.")


class Inbox(Reply):
    """A page of inbox items, newest first."""

    items: list[InboxItem]
    next_cursor: NextCursor
    unread: int = Field(ge=0, description="How many the reader has not read, on all pages: the badge.")


class Swept(Reply):
    """A place that was swept."""

    place: str
    removed: int = Field(ge=0, description="How many things were removed there.")


class LaneHeld(Reply):
    """What was held of one lane."""

    lane_id: str
    chunks: int = Field(ge=0, description="Sealed chunks of sound.")
    tree_root: str = Field(description="Root of the hash tree over them (RFC 6962), in hexadecimal, or `unreadable`.")
    captured_ms: int = Field(ge=0, description="Milliseconds of sound.")
    committed_through_ms: int = Field(ge=0, description="Milliseconds of the call's clock until which it is in words.")


class AudioHeld(Reply):
    """What was held of the audio."""

    lanes: list[LaneHeld]
    chunks: int = Field(ge=0, description="Sealed chunks of sound, of all lanes.")


class TranscriptHeld(Reply):
    """What was held of the transcript."""

    segments: int = Field(ge=0)
    gaps: int = Field(ge=0)
    drafts: int = Field(0, ge=0, description="Unsigned drafts that were destroyed with it.")


class _Receipt(Reply):
    type: Literal["quietnote.erasure-receipt"]
    version: Literal[1]
    session_id: str
    clinic_id: str
    places: list[Swept] = Field(description="Every place that could hold a copy.")
    committed_at: Time | None = Field(description="When all its words were safe; null when they never were.")
    destroyed_at: Time = Field(description="When the keys were destroyed.")
    method: str
    key_id: str = Field(description="The signing key: a `kid` of `/.well-known/quietnote-receipt-keys.json`.")
    signature: str = Field(description="Ed25519 over the canonical JSON of all the rest, in base64.")


class AudioReceipt(_Receipt):
    """That a session's audio was destroyed."""

    kind: Literal["audio"]
    part: int = Field(1, ge=1, description="Of which part of the session: each has a receipt of its own.")
    held: AudioHeld
    transcript: TranscriptState = Field(description="The transcript's state at that moment.")
    captured_from: Time | None = Field(description="When the first sample was captured.")
    epoch: int = Field(description="Raised by the erasure: a writer that began under an older one writes no more.")


class TranscriptReceipt(_Receipt):
    """That a session's transcript was destroyed."""

    kind: Literal["transcript"]
    held: TranscriptHeld
    reason: Literal["signed", "retention", "discarded", "withdrawn"]


class DraftHeld(Reply):
    """What there was of a draft."""

    drafts: int
    inputs: int


class DraftReceipt(Reply):
    """That a draft was destroyed which nobody had signed in the time that the clinic chose."""

    type: Literal["quietnote.erasure-receipt"]
    version: Literal[1]
    kind: Literal["note"]
    session_id: str
    clinic_id: str
    reason: Literal["retention"]
    held: DraftHeld
    places: list[Swept]
    destroyed_at: Time
    method: str
    key_id: str
    signature: str


class Receipt(Reply):
    """A receipt in a list. Its exact signed bytes are at `href`."""

    id: str
    session_id: str
    kind: Literal["audio", "transcript", "note"]
    created_at: Time
    href: str
    receipt: Annotated[
        AudioReceipt | TranscriptReceipt | DraftReceipt, Field(discriminator="kind", description="What it says.")
    ]


class Receipts(Reply):
    """A session's receipts."""

    items: list[Receipt]
    next_cursor: NextCursor
