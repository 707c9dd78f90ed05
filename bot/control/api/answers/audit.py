"""The audit."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from bot.control.api.answers.base import NextCursor, Reply, Sha256


class AuditEntry(Reply):
    """Something that was done. Ids and names of actions only."""

    id: int = Field(description="Its place in the chain of the whole installation: others' entries lie in between.")
    clinic_id: str
    session_id: str = Field(description="The session it belongs to; empty: none.")
    at: AwareDatetime = Field(description="RFC 3339 in UTC.")
    actor: str = Field(
        description="Who did it: the id of a user, participant or key; `platform:` and the id of a clinician for whom "
        "a platform did it, `system`, `operator` (on the command line), `unknown`."
    )
    through: str = Field(description="The key by which a platform did it, or `page`, `token`, `link`; may be empty.")
    action: str = Field(description="What was done, such as `note.read`.")
    target: str = Field(description="Id of what it was done to.")
    detail: str = Field(description="One word: a reason, a version, a method; may be empty.")
    previous_sha256: Sha256
    sha256: Sha256


class AuditHead(Reply):
    """Where the chain ended, signed."""

    type: Literal["quietnote.audit-head"]
    version: int
    entries: int
    sha256: Sha256
    at: AwareDatetime
    key_id: str = Field(description="The key of `/.well-known/quietnote-receipt-keys.json` that signed it.")
    signature: str = Field(description="Ed25519 over the canonical JSON of the rest, in base64.")


class Audit(Reply):
    """A page of entries, newest first."""

    items: list[AuditEntry]
    next_cursor: NextCursor
    head: AuditHead
