"""Consent that is taken back after the call: while words and note are made, with a draft there, after signing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.bench.forensics import bytes_in, said_in
from bot.errors import InvalidTransition, StorageUnavailable
from bot.events import ConsentState
from bot.notes import material
from bot.store.models import NoteRow, SegmentRow
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration.aftercall_world import World
from tests.integration.withdrawal_world import PLACES, agree, state_of, take_back

ROOT = Path(__file__).parents[2]
WAIT_S = 30
GONE = ["finished", "erased", "purged", "discarded"]
DRAFT_HELD = {"segments": 6, "gaps": 0, "drafts": 1}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    await world.launch()
    yield world
    await world.close()


def assert_nothing_left(folder: Path, state: dict[str, Any], held: dict[str, int] | None = None) -> None:
    assert (state["states"], state["withdrawn_by"], state["note"], state["chunks"]) == (GONE, "pat", None, 0)
    assert state["inbox"] == [["consent_withdrawn", "consent-revoked"]], "told once, and of nothing else"
    kinds = Counter(state["kinds"])
    for kind in ("consent.revoked", "note.discarded", "transcript.purged", "audio.erased"):
        assert kinds[kind] == 1, kind
    keys = load_public_keys(json.dumps(state["keys"]).encode())
    verdicts = [verify_receipt(body.encode(), keys) for body in state["receipts"]]
    assert all(one.valid for one in verdicts)
    said = {one.statement["kind"]: one.statement for one in verdicts}
    assert (len(verdicts), set(said), said["transcript"]["reason"]) == (2, {"audio", "transcript"}, "withdrawn")
    assert held is None or said["transcript"]["held"] == held
    assert said_in(folder, "needle") == []


async def finished(world: World) -> str:
    session_id = await world.capture()
    await agree(world, session_id)
    await world.finish(session_id)
    return session_id


@pytest.mark.parametrize("place", ["drain", "keys-gone", "before-draft"])
async def test_while_it_is_made_it_stops_and_nothing_is_delivered(world: World, place: str) -> None:
    session_id = await finished(world)
    reached, stopped = asyncio.Event(), asyncio.Event()

    async def hold(at: str) -> None:
        if at == place and not reached.is_set():
            reached.set()
            try:
                await asyncio.sleep(0 if place == "keys-gone" else 3600)  # an erasure goes on to its end
            except asyncio.CancelledError:
                stopped.set()
                raise

    world.on_place = hold
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(reached.wait(), WAIT_S)
    await take_back(world, session_id)
    assert stopped.is_set() or place == "keys-gone", "what is under way does not go on with words that are gone"
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    state = await state_of(world, session_id)
    assert_nothing_left(world.folder, state)
    assert "note.draft_ready" not in state["kinds"]
    assert world.written <= (place == "before-draft")
    with pytest.raises(InvalidTransition) as refused:
        await world.aftercall.write_note(session_id, "u1")
    assert refused.value.detail == material.TAKEN_BACK


async def test_a_draft_is_destroyed_with_the_words_it_was_made_from(world: World) -> None:
    session_id = await finished(world)
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    async with world.db.read() as db:
        sealed = [row for sealed in (NoteRow.sealed, SegmentRow.sealed) for row in await db.scalars(select(sealed))]
    assert len(sealed) == 7
    needles = [needle for one in sealed for needle in (one[:32], one[-32:])]
    assert bytes_in(world.folder, *needles)
    for _ in range(2):
        await take_back(world, session_id)
        assert bytes_in(world.folder, *needles) == []
        await world.aftercall.sweep()
    assert_nothing_left(world.folder, await state_of(world, session_id), DRAFT_HELD)


async def test_what_could_not_be_destroyed_at_once_is_by_the_sweep(world: World) -> None:
    session_id = await finished(world)
    world.sweeper_failures = [StorageUnavailable("spool", "io")]
    with pytest.raises(StorageUnavailable):
        await take_back(world, session_id)
    await world.aftercall.sweep()
    assert_nothing_left(world.folder, await state_of(world, session_id))


async def test_after_signing_it_is_recorded_and_passed_on(world: World) -> None:
    session_id = await finished(world)
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    note = await world.store.note_of(session_id)
    await world.store.sign(note.id, "u1")
    await world.store.withdraw(session_id, "pat", ConsentState.REVOKED, method="link", by="pat", at_ms=0)
    await world.aftercall.sweep()
    state = await state_of(world, session_id)
    assert state["states"] == ["finished", "erased", "purged", "signed"]
    assert state["note"] == note.content.decode()
    assert ["consent_withdrawn", "note-signed"] in state["inbox"]
    assert state["withdrawn_by"] is None
    assert [json.loads(one).get("reason") for one in state["receipts"]] == [None, "signed"]


# -- killed on the way -------------------------------------------------------------------------------------------------


async def live(folder: Path, pause_at: str | None, *, drafted: bool) -> dict[str, Any] | None:
    """One life of the process; None when it was killed at ``pause_at``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.withdrawal_world",
        str(folder),
        cwd=ROOT,
        env=os.environ | {"PAUSE_AT": pause_at or "", "DRAFTED": "1" if drafted else ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    result: dict[str, Any] | None = None
    async with asyncio.timeout(WAIT_S):
        async for line in process.stdout:
            if pause_at and line.decode() == f"at {pause_at}\n":
                process.send_signal(signal.SIGKILL)
            elif line.startswith(b"{"):
                result = json.loads(line)
        _, errors = await process.communicate()
    assert process.returncode == (-signal.SIGKILL if pause_at else 0), errors.decode()[-4000:]
    return result


@pytest.mark.parametrize(
    ("places", "drafted"),
    [
        (PLACES, False),
        (PLACES[:1], True),
        *(((place,), False) for place in PLACES),
    ],
)
@pytest.mark.soak
async def test_killed_on_the_way_it_ends_once(tmp_path: Path, places: tuple[str, ...], *, drafted: bool) -> None:
    for place in places:
        assert await live(tmp_path, place, drafted=drafted) is None
    result = await live(tmp_path, None, drafted=drafted)
    assert result is not None
    assert_nothing_left(tmp_path, result)
