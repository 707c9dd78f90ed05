"""A session whose client takes their consent back after the call, in a process that can be killed on the way.

Run as a program it makes the session of a data folder and its draft, has it taken back, and prints what came of it; a
second life only does what every start does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from bot.errors import NotFound
from bot.events import ConsentState
from tests.integration.aftercall_world import World

PLACES = ("recorded", "before-erase", "keys-gone", "swept", "receipt-stored")
"""Where the process can be killed, in the order in which a withdrawal of a draft passes them."""


async def agree(world: World, session_id: str) -> None:
    """The client says yes."""
    given: dict[str, Any] = {"method": "in_call", "text_version": "1", "text_sha256": "0" * 64, "by": "pat"}
    await world.store.record_consent(session_id, "pat", ConsentState.GRANTED, **given)


async def take_back(world: World, session_id: str) -> None:
    """The client takes it back, with what was captured; then it is destroyed."""
    await world.store.withdraw(session_id, "pat", ConsentState.REVOKED, method="link", by="pat", at_ms=0)
    await world.place("recorded")
    await world.aftercall.discard(session_id)


async def state_of(world: World, session_id: str) -> dict[str, Any]:
    """What is left, and what was told."""
    record = await world.store.get(session_id)
    items, _ = await world.store.inbox("demo", unread_only=True)
    try:
        note = (await world.store.note_of(session_id)).content.decode()
    except NotFound:
        note = None
    return {
        "states": [record.capture, record.audio, record.transcript, record.note],
        "withdrawn_by": record.withdrawn_by,
        "inbox": [[item.kind, item.reason_slug] for item in items],
        "kinds": [event.kind for event in await world.store.events(session_id)],
        "receipts": [receipt.body.decode() for receipt in await world.store.receipts(session_id)],
        "chunks": len(world.chunks(session_id)),
        "note": note,
        "keys": world.signer.public_keys(),
    }


async def main(folder: Path) -> None:
    """One life of the process."""
    world = World(folder)
    await world.open()
    await world.launch()
    noted = folder / "session"
    if noted.exists():
        session_id = noted.read_text()
        world.pause_at = os.environ.get("PAUSE_AT")
        await world.aftercall.sweep()
    else:
        session_id = await world.capture()
        await agree(world, session_id)
        await world.finish(session_id)
        noted.write_text(session_id)
        if os.environ.get("DRAFTED"):
            await world.aftercall.begin(session_id)
            await world.aftercall.wait(session_id)
        world.pause_at = os.environ.get("PAUSE_AT")
        await take_back(world, session_id)
    await world.aftercall.sweep()
    result = await state_of(world, session_id)
    await world.close()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
