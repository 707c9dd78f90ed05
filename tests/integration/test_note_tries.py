"""A note whose cause passes is tried again by itself, over hours, across restarts; each failure is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.errors import NoteGenerationFailed
from bot.events import NoteState
from bot.notes.failures import AGAIN_AFTER_S, LASTING, PASSING, failed
from tests.integration.aftercall_world import World
from tests.integration.test_aftercall import WAIT_S, inbox, run


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    yield world
    await world.close()


def test_what_passes_is_bounded_and_does_not_last() -> None:
    assert not PASSING & LASTING
    assert sorted(AGAIN_AFTER_S) == list(AGAIN_AFTER_S)
    assert sum(AGAIN_AFTER_S) <= 6 * 3600


async def swept(world: World, session_id: str, *, after_s: int) -> NoteState:
    """What the note is after a sweep so much later."""
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(after_s)
    await world.aftercall.sweep()
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    return (await world.store.get(session_id)).note


async def test_what_passes_is_tried_again_over_hours_and_told_once(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-busy") for _ in range(4 * len(AGAIN_AFTER_S))]
    await run(world, session_id)
    for tries, wait in enumerate(AGAIN_AFTER_S, 1):
        assert world.written == 4 * tries
        assert await swept(world, session_id, after_s=wait - 1) is NoteState.FAILED
        assert world.written == 4 * tries, "not before its time"
        assert await inbox(world) == [("failed", "endpoint-busy")], "it is the same failure"
        await swept(world, session_id, after_s=1)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert await inbox(world) == [("failed", "endpoint-busy"), ("draft_ready", None)]


async def test_tries_end_and_begin_anew_when_somebody_asks(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-failed") for _ in range(4 * len(AGAIN_AFTER_S) + 4)]
    await run(world, session_id)
    for wait in AGAIN_AFTER_S:
        assert await swept(world, session_id, after_s=wait) is NoteState.FAILED
    assert not world.writer_failures
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-unreachable") for _ in range(8)]
    assert await swept(world, session_id, after_s=24 * 3600) is NoteState.FAILED
    assert len(world.writer_failures) == 8, "then it is left to the clinician"
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    assert await swept(world, session_id, after_s=AGAIN_AFTER_S[0]) is NoteState.FAILED
    assert await inbox(world) == [("failed", "endpoint-failed"), ("failed", "endpoint-unreachable")]
    assert await swept(world, session_id, after_s=AGAIN_AFTER_S[1]) is NoteState.DRAFT


async def test_another_cause_is_told_and_ends_the_tries_where_it_lasts(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    late = [NoteGenerationFailed(cause="endpoint-timeout") for _ in range(4)]
    world.writer_failures = [*late, failed("endpoint-refused")]
    await run(world, session_id)
    for wait in AGAIN_AFTER_S:
        assert await swept(world, session_id, after_s=wait) is NoteState.FAILED
    assert world.written == 5
    assert await inbox(world) == [("failed", "endpoint-timeout"), ("failed", "endpoint-refused")]


async def test_without_its_words_a_note_is_not_tried_again(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-busy") for _ in range(4)]
    await run(world, session_id)
    await world.store.purge_transcript(session_id, "retention")
    assert await swept(world, session_id, after_s=AGAIN_AFTER_S[0]) is NoteState.FAILED
    assert world.written == 4


async def test_a_restart_forgets_no_try(tmp_path: Path) -> None:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-unreachable") for _ in range(4)]
    await run(world, session_id)
    await world.close()
    again = World(tmp_path, world.clock)
    await again.open()
    await again.launch()
    try:
        assert await swept(again, session_id, after_s=AGAIN_AFTER_S[0]) is NoteState.DRAFT
    finally:
        await again.close()
