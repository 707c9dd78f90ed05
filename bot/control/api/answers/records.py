"""Whole records: clients, legal holds, and the receipts that belong to a clinic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.control.api.answers.base import NextCursor, Reply, Sha256, Time
from bot.control.api.answers.notes import AudioReceipt, DraftReceipt, Swept, TranscriptReceipt

Signature = Annotated[str, Field(description="Ed25519 over the canonical JSON of all the rest, in base64.")]
KeyId = Annotated[str, Field(description="The signing key: a `kid` of `/.well-known/quietnote-receipt-keys.json`.")]


class Client(Reply):
    """What there is of one client."""

    client_ref: str
    sessions: int = Field(description="A deletion is asked for with this number.")
    shared: int = Field(description="Of these, those in which another client took part too.")
    notes: int
    under_way: int = Field(description="Of these, those that are recorded now, or whose words or note are being made.")
    held: int = Field(description="Of these, those on which a legal hold stands.")
    first_at: Time
    last_at: Time


class Hold(Reply):
    """A legal hold."""

    id: str
    client_ref: str | None = Field(description="The client whose record is held; null: it is on a session.")
    session_id: str | None
    matter: str = Field(description="Id of the case.")
    placed_by: str
    placed_at: Time
    lifted_by: str | None
    lifted_at: Time | None = Field(description="Null: it stands.")
    receipt_id: str | None = Field(None, description="The receipt of what this request did; see `/v1/receipts`.")


class Holds(Reply):
    """The clinic's legal holds."""

    items: list[Hold]
    next_cursor: NextCursor


class HashTree(Reply):
    """How many there were, and the root of the RFC 6962 tree over them."""

    count: int
    tree_root: Sha256


class DeletionReceipt(Reply):
    """That a client's record, a session or a clinic was deleted."""

    type: Literal["quietnote.erasure-receipt"]
    version: Literal[1]
    kind: Literal["client", "clinic", "session"]
    clinic_id: str
    client_ref: str | None = Field(None, description="Of a client.")
    session_id: str | None = Field(None, description="Of a session.")
    deletion_id: str
    reason: Literal["asked", "retention"]
    sessions: HashTree = Field(description="The tree is over their ids, in order.")
    held: dict[str, int] = Field(description="Rows that were deleted, by table.")
    places: list[Swept] = Field(description="Every place that could hold something of it.")
    clinic_key_destroyed: bool = Field(description="Then no backup opens names, notes and typed text either.")
    begun_at: Time
    keys_destroyed_at: Time
    destroyed_at: Time
    kept: list[str] = Field(description="What stays: ids, counts and times.")
    method: str
    key_id: KeyId
    signature: Signature


class _RecordReceipt(Reply):
    type: Literal["quietnote.record-receipt"]
    version: Literal[1]
    clinic_id: str
    client_ref: str | None
    at: Time
    key_id: KeyId
    signature: Signature


class HoldReceipt(_RecordReceipt):
    """That a legal hold was placed, or lifted."""

    kind: Literal["hold", "hold_lifted"]
    hold_id: str
    session_id: str | None
    matter: str


class ExportReceipt(_RecordReceipt):
    """What an export held."""

    kind: Literal["export"]
    with_shared: bool
    sessions: int
    notes: int
    files: HashTree = Field(description="The tree is over the files' contents in order, without `audit.jsonl`.")


AnyReceipt = Annotated[
    AudioReceipt | TranscriptReceipt | DraftReceipt | DeletionReceipt | HoldReceipt | ExportReceipt,
    Field(discriminator="kind", description="What it says."),
]


class ClinicReceipt(Reply):
    """A receipt in a list. Its exact signed bytes are at `href`."""

    id: str
    session_id: str | None = Field(description="The session it was issued for; null: none.")
    kind: Literal["audio", "transcript", "note", "client", "clinic", "session", "hold", "hold_lifted", "export"]
    created_at: Time
    href: str
    receipt: AnyReceipt


class ClinicReceipts(Reply):
    """A page of the clinic's receipts, newest first."""

    items: list[ClinicReceipt]
    next_cursor: NextCursor
