"""A recording that cannot be put into words: tried again at growing waits until its time is up, then destroyed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.aftercall import WORDS_AGAIN_AFTER_S
from bot.clock import ManualClock
from bot.errors import InvalidTransition, Overloaded
from bot.events import AudioState, NoteState, TranscriptState
from bot.store.making import DELAYED
from tests.integration.aftercall_world import World
from tests.integration.test_aftercall import WAIT_S, inbox, kinds, run

HOUR_S = 3600
TRIES = 4
"""Of the step, each time."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    yield world
    await world.close()


async def ended(world: World, *, failures: int) -> str:
    """A session that ended now, with a day for its audio; recognition fails so often."""
    session_id = await world.capture()
    at = world.clock.now()
    await world.store.change(
        session_id, "capture.finished", capture="finished", ended_at=at, erase_by=at + timedelta(hours=24)
    )
    world.recogniser_failures = [Overloaded("too busy") for _ in range(failures)]
    await run(world, session_id)
    return session_id


async def later(world: World, session_id: str, seconds: float) -> None:
    """A sweep so much later, and what it began."""
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(seconds)
    await world.aftercall.sweep()
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)


async def tries(world: World, session_id: str) -> int:
    making = await world.store.making(session_id)
    assert making is not None
    return making.tries


@pytest.mark.soak
async def test_it_is_tried_again_at_growing_waits_and_told_once(world: World) -> None:
    rounds = len(WORDS_AGAIN_AFTER_S)
    session_id = await ended(world, failures=TRIES * rounds)
    for number, wait in enumerate(WORDS_AGAIN_AFTER_S, 1):
        record = await world.store.get(session_id)
        assert (record.audio, record.transcript, record.note) == ("held", "live", "absent")
        assert (record.failure_slug, await tries(world, session_id)) == (DELAYED, number)
        assert world.chunks(session_id), "the sound is there to be tried again"
        await later(world, session_id, wait - 1)
        assert await tries(world, session_id) == number, "not before its time"
        await later(world, session_id, 1)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note, record.failure_slug) == ("erased", "ready", "draft", None)
    assert await inbox(world) == [("failed", DELAYED), ("draft_ready", None)]
    assert len((await world.store.transcript(session_id)).segments) == 6
    assert sorted(WORDS_AGAIN_AFTER_S) == list(WORDS_AGAIN_AFTER_S)


async def test_when_its_time_is_up_the_audio_is_destroyed_whatever_happened(tmp_path: Path) -> None:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    session_id = await ended(world, failures=10_000)
    for _ in range(4):
        await later(world, session_id, 5.5 * HOUR_S)
    assert await tries(world, session_id) == 5
    await world.close()  # a restart in the last hour forgets nothing
    world = World(tmp_path, world.clock, recogniser_failures=world.recogniser_failures)
    await world.open()
    await world.launch()
    assert (await world.store.get(session_id)).audio is AudioState.HELD
    await later(world, session_id, 2 * HOUR_S)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "failed", "absent")
    assert world.chunks(session_id) == []
    assert len(await world.store.receipts(session_id)) == 1
    assert await inbox(world) == [("failed", DELAYED), ("failed", "transcription-failed")], "each told once"
    before = await kinds(world, session_id)
    await later(world, session_id, 48 * HOUR_S)
    assert await kinds(world, session_id) == before, "that was the end of it"
    await world.close()


async def test_a_summary_makes_the_note_meanwhile_and_the_words_make_it_again(world: World) -> None:
    session_id = await ended(world, failures=2 * TRIES)
    with pytest.raises(InvalidTransition, match="Type a summary"):
        await world.aftercall.write_note(session_id, "u1")
    await world.store.add_input(session_id, "clinician_summary", "typed meanwhile", "u1")
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("held", "live", "draft"), "it did not wait"
    assert (await world.store.note_of(session_id)).content == b'"typed meanwhile"', "of half a transcript nothing"
    await later(world, session_id, max(WORDS_AGAIN_AFTER_S))
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "ready", "draft")
    note = await world.store.note_of(session_id)
    assert b"needle" in note.content
    assert b"typed meanwhile" in note.content
    assert note.version == 2
    assert await inbox(world) == [("failed", DELAYED), ("draft_ready", "words-came")]


@pytest.mark.soak
async def test_a_note_that_was_edited_meanwhile_stays_and_the_words_are_there(world: World) -> None:
    session_id = await ended(world, failures=2 * TRIES)
    await world.store.add_input(session_id, "clinician_summary", "typed meanwhile", "u1")
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    note = await world.store.note_of(session_id)
    await world.store.edit_note(note.id, b'"in their own words"', by="u1", version=note.version)
    await later(world, session_id, max(WORDS_AGAIN_AFTER_S))
    assert (await world.store.note_of(session_id)).content == b'"in their own words"'
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "ready", "draft")
    assert await inbox(world) == [("failed", DELAYED), ("draft_ready", "words-late")]


async def test_a_note_of_the_summary_that_is_signed_ends_it(world: World) -> None:
    session_id = await ended(world, failures=10_000)
    await world.store.add_input(session_id, "clinician_summary", "typed meanwhile", "u1")
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    note = await world.store.note_of(session_id)
    await world.store.sign(note.id, "u1")
    await later(world, session_id, 60)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "purged", "signed")
    assert world.chunks(session_id) == []


@pytest.mark.soak
async def test_without_words_at_the_end_the_note_of_the_summary_stays(world: World) -> None:
    session_id = await ended(world, failures=10_000)
    await world.store.add_input(session_id, "clinician_summary", "typed meanwhile", "u1")
    await world.aftercall.write_note(session_id, "u1")
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    await later(world, session_id, 24 * HOUR_S)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "failed", "draft")
    note = await world.store.note_of(session_id)
    assert (note.content, note.version) == (b'"typed meanwhile"', 1), "not made again from nothing new"
    assert NoteState.DRAFT is record.note
    assert TranscriptState.FAILED is record.transcript
