"""The audit chain from the command line: checked, and given out for somebody else to keep."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.clock import SystemClock
from bot.errors import ConfigInvalid
from bot.settings import Settings
from bot.store.audit import AuditFilter, AuditStore
from bot.store.chain import OPERATOR
from bot.store.db import Database
from bot.store.kepthead import KeptHead
from bot.store.receipts import ReceiptSigner, canonical

_HASH = re.compile(r"[0-9a-f]{64}")


async def verify(settings: Settings, head: str | None) -> dict[str, Any]:
    """Check every link, and that a head kept elsewhere is in the chain: a hash, or the file of a signed one.

    Without one, the head that this host keeps is looked for. Raises ConfigInvalid for what is no head.
    """
    async with _audit(settings) as audit:
        wanted = _head_of(audit, head) if head is not None else None
        if head is None:
            kept = await KeptHead(audit, settings.data_dir / "vault").kept()
            wanted = kept.sha256 if kept is not None else None
        verdict = await audit.verify(wanted)
    return asdict(verdict) | {"reason": verdict.reason, "head_looked_for": wanted}


async def export(settings: Settings, clinic: str | None, write: Callable[[str], None]) -> None:
    """Give every entry to ``write``, oldest first, a line of JSON each; the last line is the signed head.

    That it was exported is an entry, the last one of the export.
    """
    async with _audit(settings) as audit:
        await audit.append(clinic or "", OPERATOR, "audit.exported", clinic or "audit")
        async for entry in audit.every(AuditFilter(clinic)):
            write(canonical(entry.as_json()).decode())
        write(audit.sign(await audit.head()).decode())


def _head_of(audit: AuditStore, given: str) -> str:
    if _HASH.fullmatch(given):
        return given
    try:
        document = Path(given).read_bytes()
    except OSError:
        raise ConfigInvalid("--head: neither a hash nor a file that can be read.") from None
    for line in reversed(document.splitlines()):  # a whole export will do: its head is its last line
        with contextlib.suppress(ValueError):
            found = audit.signed_here(canonical(json.loads(line)))
            if found is not None:
                return found.sha256
    raise ConfigInvalid("--head: not a head that was signed with this installation's key.")


@contextlib.asynccontextmanager
async def _audit(settings: Settings) -> AsyncIterator[AuditStore]:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = Database(settings.sqlalchemy_url)
    await db.open()
    try:
        yield AuditStore(db, SystemClock(), ReceiptSigner.load(settings.data_dir / "vault"))
    finally:
        await db.close()
