"""One of several processes that share a PostgreSQL, a Valkey and a folder, and the after-call workflows between them.

It takes up a session that ended and that nobody deals with, adopts what the others leave, and does what it is told line
by line (``report``, ``stop``). At each of ``PLACES`` in the environment exactly one of all the processes says ``at
<place>`` and waits there: to be killed, or until ``go-<place>`` lies in the folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import structlog

from bot.control.mediaservices import MediaServices
from bot.control.registry import LiveSessions
from bot.control.replicas import Colleagues, Replicas
from bot.control.stage import LiveServices
from bot.errors import QuietnoteError
from bot.store.bus import Bus
from bot.store.members import Members, new_process
from bot.store.webhook_store import WebhookStore
from tests.integration.aftercall_world import World

LEASE_S = 1.0
LOOK_S = 0.05


@dataclass(slots=True)
class Replica(World):
    """A world beside others."""

    redis_url: str = ""
    places: frozenset[str] = frozenset()
    bus: Bus = field(init=False)
    members: Members = field(init=False)
    replicas: Replicas = field(init=False)

    async def begin_to_live(self) -> None:
        """Open, join and launch."""
        self.process = new_process()
        await self.open()
        assert await self.db.reserve(alone=False)
        self.bus = Bus(self.redis_url, clock=self.clock)
        await self.bus.open()
        self.members = Members(self.process, self.bus, self.clock, ttl_s=LEASE_S)
        self.others = Colleagues(self.store, self.members)
        await self.members.join(self.signer.key_id)
        await self.launch()
        media = cast("MediaServices", _Media(self.store, self.clock, self.vault))
        live = LiveSessions(
            LiveServices(media, self.bus, self.aftercall.begin, self.aftercall.discard, members=self.members)
        )
        self.replicas = Replicas(self.members, self.signer.key_id, self.db, self.store, live, self.aftercall)

    async def end(self) -> None:
        """Stop in good order."""
        await self.aftercall.close()
        await self.replicas.leave()
        await self.bus.close()
        await self.db.close()

    async def place(self, name: str) -> None:
        """Wait here, as the first of all processes that comes here."""
        if name not in self.places:
            return
        try:
            (self.folder / f"at-{name}").touch(exist_ok=False)
        except FileExistsError:
            return
        say(f"at {name}")
        while not (self.folder / f"go-{name}").exists():  # noqa: ASYNC110  the test is another process
            await asyncio.sleep(LOOK_S)

    async def report(self, session_id: str) -> dict[str, Any]:
        """What became of a session, once that is settled."""
        while await self.store.unfinished():  # noqa: ASYNC110  other processes settle it
            await asyncio.sleep(LOOK_S)
        await self.aftercall.wait(session_id)
        webhooks = WebhookStore(self.db, self.vault, self.clock)
        while await webhooks.catch_up():
            pass
        sent = [
            (delivery.id, delivery.event.kind if delivery.event is not None else "")
            for hook in await webhooks.endpoints("demo")
            for delivery in await webhooks.deliveries(hook.id, limit=200)
        ]
        record, note = await self.store.get(session_id), await self.store.note_of(session_id)
        items, _ = await self.store.inbox("demo")
        return {
            "states": [record.audio, record.transcript, record.note],
            "segments": [segment.text for segment in (await self.store.transcript(session_id)).segments],
            "inbox": [item.kind for item in items],
            "kinds": [event.kind for event in await self.store.events(session_id, 0)],
            "receipts": [receipt.body.decode() for receipt in await self.store.receipts(session_id)],
            "chunks": len(self.chunks(session_id)),
            "note": json.loads(note.content),
            "version": note.version,
            "keys": self.signer.public_keys(),
            "sent": sent,
        }


@dataclass(frozen=True)
class _Media:
    """Of what live sessions are built from, all that is touched where nobody is in a room."""

    store: object
    clock: object
    vault: object


async def ended_session(folder: Path, database_url: str) -> str:
    """A session that ended a moment ago, in a process that is gone, and a webhook that is to be told of it."""
    world = World(folder, database_url=database_url)
    await world.open()
    await WebhookStore(world.db, world.vault, world.clock).add("demo", "https://clinic.example/hook")
    session_id = await world.capture()
    await world.finish(session_id)
    await world.db.close()
    return session_id


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(folder: Path, database_url: str, redis_url: str) -> None:
    """Live until told to stop."""
    places = frozenset(os.environ.get("PLACES", "").split(",")) - {""}
    world = Replica(folder, database_url=database_url, redis_url=redis_url, places=places)
    await world.begin_to_live()
    keeping = asyncio.create_task(world.replicas.run())
    say(f"ready {world.process}")
    while line := (await asyncio.to_thread(sys.stdin.readline)).split():
        if line[0] == "report":
            say(json.dumps(await world.report(line[1])))
        elif line[0] == "stop":
            break
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await world.end()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:4]))
    except QuietnoteError as error:
        sys.exit(str(error))
