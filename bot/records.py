"""Whole records from the command line: exports, legal holds, deletion, and the receipts that outlive sessions.

A service that runs on the same data directory may go on meanwhile: what it is recording or writing down is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.clock import SystemClock
from bot.errors import NotFound, SetupError
from bot.media import spool
from bot.notes.export import Export, Exporter
from bot.settings import Settings
from bot.store.chain import OPERATOR
from bot.store.clinic_receipts import ClinicReceipt
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.deletions import Deleter
from bot.store.erase import Eraser
from bot.store.holds import ClientSummary, Hold, HoldStore
from bot.store.parts import audio_name
from bot.store.receipts import ReceiptSigner
from bot.store.sessions import SessionStore
from bot.store.vault import FileVault, load_master_key


class FileThere(SetupError):
    """An export would write over a file."""

    def __init__(self) -> None:
        super().__init__("--out: there is a file of that name already")


@dataclass(frozen=True, slots=True)
class Records:
    """What the commands work with."""

    store: SessionStore
    clinics: ClinicStore
    holds: HoldStore
    deleter: Deleter
    exporter: Exporter


async def client_summary(settings: Settings, clinic: str, client_ref: str) -> ClientSummary:
    """What there is of a client. Raises NotFound."""
    async with _records(settings) as records:
        return await records.holds.client(clinic, client_ref)


async def clinic_sessions(settings: Settings, clinic: str) -> int:
    """How many sessions a clinic has. Raises NotFound, also for one that was deleted."""
    async with _records(settings) as records:
        await records.clinics.current(clinic)
        return await records.store.count_sessions(clinic)


async def export(settings: Settings, clinic: str, client_ref: str | None, path: Path | None, *, shared: bool) -> Path:
    """Write a client's record, or without a client the clinic's, to a file for its owner alone; where that is.

    Raises FileThere where there is a file already; what breaks off leaves none.
    """
    async with _records(settings) as records:
        exporter = records.exporter
        if path is not None and await asyncio.to_thread(path.exists):
            raise FileThere
        if client_ref is None:
            made = await exporter.clinic(clinic, by=OPERATOR)
        else:
            made = await exporter.client(clinic, client_ref, with_shared=shared, by=OPERATOR)
        target = path or Path(made.file_name)
        await _write(exporter, made, target)
        return target


async def _write(exporter: Exporter, made: Export, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in exporter.stream(made):
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
        await asyncio.to_thread(target.hardlink_to, part)
    except FileExistsError:
        raise FileThere from None
    finally:
        part.unlink(missing_ok=True)


async def delete_client(
    settings: Settings, clinic: str, client_ref: str, *, expect: int, shared: bool
) -> ClinicReceipt:
    """Delete a client's whole record; the receipt. Raises as :meth:`bot.store.deletions.Deleter.client` does."""
    async with _records(settings) as records:
        return await records.deleter.client(clinic, client_ref, expect=expect, with_shared=shared, by=OPERATOR)


async def delete_clinic(settings: Settings, clinic: str, *, expect: int) -> ClinicReceipt:
    """Delete a whole clinic; the receipt. Raises as :meth:`bot.store.deletions.Deleter.clinic` does."""
    async with _records(settings) as records:
        return await records.deleter.clinic(clinic, expect=expect, by=OPERATOR)


async def place_hold(
    settings: Settings, clinic: str, client_ref: str | None, session_id: str | None, matter: str
) -> Hold:
    """Place a legal hold. Raises as :meth:`bot.store.holds.HoldStore.place` does."""
    async with _records(settings) as records:
        held, _ = await records.holds.place(
            clinic, client_ref=client_ref, session_id=session_id, matter=matter, by=OPERATOR
        )
        return held


async def lift_hold(settings: Settings, hold_id: str) -> Hold:
    """Lift a legal hold. Raises NotFound."""
    async with _records(settings) as records:
        return (await records.holds.lift(hold_id, by=OPERATOR))[0]


async def list_holds(settings: Settings, clinic: str | None) -> Sequence[Hold]:
    """The legal holds of one clinic or of all, lifted ones too, newest first."""
    async with _records(settings) as records:
        return await records.holds.list(clinic)


async def list_receipts(settings: Settings, clinic: str | None) -> list[ClinicReceipt]:
    """The receipts of one clinic or of all that belong to no session that is there, newest first."""
    async with _records(settings) as records:
        return [one async for one in records.deleter.receipts.every(clinic)]


async def show_receipt(settings: Settings, receipt_id: str) -> bytes:
    """The exact file of such a receipt. Raises NotFound."""
    async with _records(settings) as records:
        try:
            return (await records.deleter.receipts.get(receipt_id)).body
        except NotFound:
            raise NotFound("There is no such receipt. Those of sessions are on the session's page.") from None


@contextlib.asynccontextmanager
async def _records(settings: Settings) -> AsyncIterator[Records]:
    clock, folder = SystemClock(), settings.data_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = FileVault(folder / "vault", load_master_key(settings))
    signer = ReceiptSigner.load(folder / "vault")
    db = Database(settings.sqlalchemy_url)
    await db.open()
    try:
        store = SessionStore(db, vault, clock)
        eraser = Eraser(store, db, vault, signer, clock)

        async def sweep_spool(session_id: str) -> int:
            parts = range(1, (await store.get(session_id)).part + 1)
            names = [audio_name(session_id, part) for part in parts]
            return sum([await asyncio.to_thread(spool.sweep, folder / "spool", name) for name in names])

        eraser.register("spool", sweep_spool)
        yield Records(
            store,
            ClinicStore(db, clock),
            HoldStore(db, clock, signer),
            Deleter(db, vault, signer, clock, eraser),
            Exporter(store, db, vault, signer, clock),
        )
    finally:
        await db.close()
