"""What makes no progress becomes ``failed``, and what comes of it after that is not kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.errors import InvalidTransition
from bot.events import NoteState
from bot.notes.failures import NoteNotPossible
from bot.notes.making import STALLED_S, Making
from bot.store.making import DELAYED, NO_PROGRESS, Superseded
from tests.integration.aftercall_world import World
from tests.integration.test_aftercall import WAIT_S, inbox, run


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    yield world
    await world.close()


class Stuck:
    """A place at which the work stands still until it is let go on."""

    def __init__(self, world: World, place: str) -> None:
        self.here, self.go_on = asyncio.Event(), asyncio.Event()
        self._place = place
        world.on_place = self.at

    async def at(self, place: str) -> None:
        if place == self._place and not self.go_on.is_set():
            self.here.set()
            await self.go_on.wait()


async def stand_still(world: World, session_id: str, stuck: Stuck) -> None:
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(stuck.here.wait(), WAIT_S)


def pass_time(world: World, seconds: float) -> None:
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(seconds)


async def test_a_note_without_progress_has_failed_says_so_once_and_can_be_tried_again(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    stuck = Stuck(world, "before-draft")
    await stand_still(world, session_id, stuck)
    pass_time(world, STALLED_S - 1)
    await world.aftercall.sweep()
    assert (await world.store.get(session_id)).note is NoteState.GENERATING, "not before its time"
    pass_time(world, 2)
    await world.aftercall.sweep()
    record = await world.store.get(session_id)
    assert (record.note, record.failure_slug, record.transcript) == ("failed", NO_PROGRESS, "ready")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)  # what stood still was stopped
    await world.aftercall.sweep()
    assert await inbox(world) == [("failed", NO_PROGRESS)]
    stuck.go_on.set()
    pass_time(world, 1)  # items of one moment have no order
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert await inbox(world) == [("failed", NO_PROGRESS), ("draft_ready", None)]


async def test_a_count_that_goes_on_is_progress_and_so_is_a_start(world: World, tmp_path: Path) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    await stand_still(world, session_id, Stuck(world, "before-draft"))
    for done in range(3):
        pass_time(world, STALLED_S - 1)
        await world.aftercall.making.came_to(session_id, f"section-{done}", done, 4)
        await world.aftercall.making.came_to(session_id, "erase", 1, 1)  # a new step is kept at once
        await world.aftercall.sweep()
        assert (await world.store.get(session_id)).note is NoteState.GENERATING
    await world.aftercall.close()  # a restart after a night
    pass_time(world, 8 * 3600)
    await world.launch()
    await world.aftercall.sweep()
    assert (await world.store.get(session_id)).note is NoteState.GENERATING, "it has its time anew"


async def test_what_a_stalled_attempt_writes_after_all_is_not_kept(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    stuck = Stuck(world, "before-draft")
    await stand_still(world, session_id, stuck)
    making = await world.store.making(session_id)
    assert making is not None
    pass_time(world, 1)
    assert await world.store.give_up_note(session_id, making.at + timedelta(seconds=0.5))
    assert not await world.store.give_up_note(session_id, world.clock.now()), "once"
    stuck.go_on.set()  # it was in another process, which nobody could stop
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    record = await world.store.get(session_id)
    assert (record.note, record.failure_slug) == ("failed", NO_PROGRESS)

    await world.store.queue_note(session_id, by="u1")
    first = await world.store.begin_writing(session_id)
    second = await world.store.begin_writing(session_id)
    with pytest.raises(Superseded):
        await world.store.save_note(session_id, b'"late"', attempt=first)
    await world.store.save_note(session_id, b'"in time"', attempt=second)
    with pytest.raises((Superseded, InvalidTransition)):
        await world.store.save_note(session_id, b'"later still"', attempt=first)
    assert json.loads((await world.store.note_of(session_id)).content) == "in time"


async def test_words_that_make_no_progress_are_told_and_the_audio_is_kept(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    stuck = Stuck(world, "drain")
    await stand_still(world, session_id, stuck)
    pass_time(world, STALLED_S + 1)
    for _ in range(2):
        await world.aftercall.sweep()
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.failure_slug) == ("held", "live", DELAYED)
    assert await inbox(world) == [("failed", DELAYED)]
    stuck.go_on.set()
    await run(world, session_id)
    record = await world.store.get(session_id)
    assert (record.transcript, record.note, record.failure_slug) == ("ready", "draft", None)


async def test_a_step_that_stands_still_is_stopped_and_one_that_moves_is_not(world: World) -> None:
    hasty = Making(world.store, None, lambda work: work.close(), 0.01)
    with pytest.raises(NoteNotPossible) as stopped:
        await hasty.unless_stalled("ses_1", asyncio.Event().wait())
    making = Making(world.store, None, lambda work: work.close(), WAIT_S)
    assert stopped.value.extra["cause"] == NO_PROGRESS
    session_id = await world.capture()
    moved = asyncio.Event()

    async def moves() -> str:
        watched, _ = making._watched[session_id]
        before = watched.when()
        assert before is not None
        await asyncio.sleep(0)
        await making.came_to(session_id, "transcript", 1, 4)
        after = watched.when()
        assert after is not None
        assert after > before, "it has its time anew"
        moved.set()
        return "done"

    assert await making.unless_stalled(session_id, moves()) == "done"
    assert moved.is_set()

    async def times_out() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await making.unless_stalled("ses_1", times_out())


async def test_how_far_it_is_is_kept_for_pages_that_are_opened_later(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    stuck = Stuck(world, "before-draft")
    await stand_still(world, session_id, stuck)
    making = await world.store.making(session_id)
    assert making is not None
    assert (making.step, making.done) == ("draft", 0)
    stuck.go_on.set()
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    making = await world.store.making(session_id)
    assert making is not None
    assert (making.step, making.tries) == ("done", 0)
