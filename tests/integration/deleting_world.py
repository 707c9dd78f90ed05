"""Deletions in processes that kill themselves at every place where they can be killed, and one that goes on.

    python -m tests.integration.deleting_world FOLDER client:begun clinic:keys-gone ...

For each kind and place a folder of its own: a first process makes two clients and deletes, and is killed at the place;
a second one starts as the service does. What came of it is printed, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bot.clinics import ClinicConfig
from bot.clock import SystemClock
from bot.events import NoteState, Role
from bot.store import deletions
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.deletions import Deleter
from bot.store.erase import Eraser
from bot.store.forgetting import forget_session
from bot.store.holds import HoldStore
from bot.store.models import NoteRow, ParticipantRow, SessionRow
from bot.store.receipts import ReceiptSigner, verify_receipt
from bot.store.record_due import RecordsDue
from bot.store.records import NewParticipant, NewSession
from bot.store.sessions import SessionStore
from bot.store.vault import FileVault

MASTER = b"m" * 32
NAME = "Peter Winterbottom"
PLACES = ("begun", "keys-gone", "one-session-gone", "rows-gone", "log-empty", "receipt-signed")


class World:
    """The store in a folder, as one process has it open."""

    def __init__(self, folder: Path) -> None:
        self.folder, clock = folder, SystemClock()
        self.db = Database(f"sqlite+aiosqlite:///{folder / 'quietnote.db'}")
        vault = FileVault(folder / "vault", MASTER)
        self.signer = ReceiptSigner.load(folder / "vault")
        self.clinics = ClinicStore(self.db, clock)
        self.store = SessionStore(self.db, vault, clock)
        eraser = Eraser(self.store, self.db, vault, self.signer, clock)
        self.store.purge_receipt = eraser.purge_receipt
        self.deleter = Deleter(self.db, vault, self.signer, clock, eraser)
        self.due = RecordsDue(self.store, self.deleter, self.signer)

    async def fill(self) -> None:
        """Two sessions of one client, and one of another, each with a signed note."""
        await self.clinics.seed({"demo": ClinicConfig(id="demo", name="Demo")})
        for ref in ("c-1", "c-1", "c-2"):
            person = NewParticipant("cl", Role.CLIENT, NAME, client_ref=ref)
            session = await self.store.create(NewSession("demo", participants=(person,)))
            for state in (NoteState.QUEUED, NoteState.GENERATING):
                await self.store.change(session.id, f"note.{state.value}", note=state)
            note = await self.store.save_note(session.id, b'"a note"')
            await self.store.sign(note.id, "u1")

    async def sessions_of(self, ref: str) -> list[str]:
        """The sessions of a client."""
        return await HoldStore(self.db, SystemClock(), self.signer).sessions("demo", ref)

    async def sealed(self, *refs: str) -> list[str]:
        """What lies of these clients in the database, in hexadecimal."""
        p, n = ParticipantRow, NoteRow
        mine = select(p.session_id).where(p.client_ref.in_(refs))
        async with self.db.read() as db:
            notes = (await db.scalars(select(n.sealed).where(n.session_id.in_(mine)))).all()
            names = (await db.scalars(select(p.sealed_name).where(p.client_ref.in_(refs)))).all()
        return [one.hex() for one in (*notes, *names)]

    async def left(self) -> dict[str, Any]:
        """What came of it."""
        receipts = [one async for one in self.deleter.receipts.every("demo")]
        valid = [verify_receipt(one.body, self.signer.public_key).valid for one in receipts]
        of = [json.loads(one.body) for one in receipts if one.kind in {"client", "clinic"}]
        async with self.db.read() as db:
            sessions = len((await db.scalars(select(SessionRow.id))).all())
        return {
            "sessions": sessions,
            "clinics": await self.clinics.ids(),
            "unfinished": await self.deleter.unfinished(),
            "valid": all(valid),
            "counted": [one["sessions"]["count"] for one in of],
            "notes": [one["held"]["notes"] for one in of],
            "session_receipts": len(receipts) - len(of),
        }


def kill_at(world: World, place: str) -> None:
    """Let this process be killed when it comes to the place."""

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    deleter = world.deleter
    if place == "begun":
        deleter._destroy_keys = die  # type: ignore[method-assign]
    elif place == "keys-gone":
        deleter._delete_rows = die  # type: ignore[method-assign]
    elif place == "one-session-gone":
        whole, seen = forget_session, list[int]()

        async def second(db: Any, row: Any) -> dict[str, int]:
            seen.append(1)
            return die() if len(seen) == 2 else await whole(db, row)

        setattr(deletions, "forget_session", second)  # noqa: B010  not its own name
    elif place == "rows-gone":
        world.db.checkpoint = die  # type: ignore[method-assign]
    elif place == "log-empty":
        deleter._finish = die  # type: ignore[method-assign]
    else:
        setattr(deletions, "keep_receipt", die)  # noqa: B010


async def first_life(folder: Path, kind: str, place: str) -> None:
    """Fill, begin, and be killed."""
    world = World(folder)
    await world.db.open()
    await world.fill()
    (folder.parent / f"{folder.name}.json").write_text(
        json.dumps(await world.sealed(*(["c-1"] if kind == "client" else ["c-1", "c-2"])))
    )
    kill_at(world, place)
    if kind == "client":
        await world.deleter.client("demo", "c-1", expect=2, by="operator")
    else:
        await world.deleter.clinic("demo", expect=3, by="operator")


async def second_life(folder: Path, kind: str, place: str) -> None:
    """Start as the service does, and say what there is."""
    world = World(folder)
    await world.db.open()
    await world.due.destroy()
    print(json.dumps({"kind": kind, "place": place, "folder": str(folder), **await world.left()}), flush=True)
    await world.db.close()


def main() -> None:
    """Each kind and place, one after the other, each life a fork of its own."""
    for kind, _, place in (one.partition(":") for one in sys.argv[2:]):
        folder = Path(sys.argv[1]) / f"{kind}-{place}"
        folder.mkdir()
        for life in (first_life, second_life):
            child = os.fork()
            if child == 0:
                asyncio.run(life(folder, kind, place))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            assert killed if life is first_life else status == 0, (kind, place, status)


if __name__ == "__main__":
    main()
