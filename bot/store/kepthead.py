"""The head of the audit chain, kept outside the database: what was once in the chain must stay in it.

Without it nobody could tell that the newest entries were cut off. It is taken again every minute, but never over one
that the chain does not contain any more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import structlog

from bot.store.audit import AuditStore, Head

log = structlog.get_logger()

FILE = "audit-head.json"
BROKEN = "The audit chain lacks entries that it had: it was cut off or written anew, or an older database was restored."


class KeptHead:
    """The head that this host keeps, beside the keys."""

    def __init__(self, audit: AuditStore, folder: Path) -> None:
        self._audit = audit
        self._path = folder / FILE
        self.broken = False
        """The chain does not contain what is kept."""

    async def keep(self) -> None:
        """Take the head as it is now, if the chain still contains the one that is kept."""
        document = await asyncio.to_thread(self._read)
        kept = self._audit.signed_here(document) if document is not None else None
        forged = document is not None and kept is None
        head = await self._audit.head()
        self.broken = forged or (kept is not None and not await self._audit.contains(kept))
        if self.broken:
            log.error("audit_chain_cut", count=kept.entries if kept is not None else 0, total=head.entries)
        elif head != kept:
            await asyncio.to_thread(self._write, self._audit.sign(head))

    async def kept(self) -> Head | None:
        """The head as it is kept; None where none is, or it is not one of ours."""
        document = await asyncio.to_thread(self._read)
        return self._audit.signed_here(document) if document is not None else None

    async def check(self) -> str | None:
        """For readiness: None when all is well."""
        return BROKEN if self.broken else None

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, document: bytes) -> None:
        draft = self._path.with_name(f".{FILE}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
