"""Networks that lose, delay, reorder and hold up: the session goes on, and its books close.

What never arrived is ``lost`` where packet numbers tell of it, ``absent`` where nobody can know; either is an entry of
the transcript from one second on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.events import SAMPLE_RATE_HZ
from tests.integration.call_world import CLIENT, CLINICIAN, Place, world
from tests.integration.rough_path import rough_path
from tests.integration.rough_world import (
    EDGES,
    GOODBYE,
    OKAY,
    SLEPT,
    WORRY,
    a_call,
    book,
    encoded,
    end,
    gaps_of,
    heard,
    lost_as_dropped,
    play,
    say,
    talk,
    text,
    until_captured,
    written,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with world(tmp_path_factory.mktemp("rough")) as made:
        yield made


async def test_a_fifth_of_the_packets_and_then_all_for_two_seconds(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=4) as path:
        path.loss = 0.2
        await say(place, call.client, GOODBYE)
        path.mend()
        assert 0.1 < path.dropped / path.sent < 0.3, "the path did lose about a fifth"
        await until_captured(call, CLIENT)
        path.cut()
        before = path.dropped
        await asyncio.sleep(2)
        path.mend()
        cut_ms = (path.dropped - before) * 60
        await say(place, call.client, OKAY)
        await heard(call, "can do that")
        shown = call.clinician.ledger[CLIENT]["lost_ms"]
        session, transcript = await end(place, call)
    lost_as_dropped(session, path)
    assert shown >= cut_ms
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - cut_ms) <= 200


@pytest.mark.soak
@pytest.mark.parametrize("loss", [0.05, 0.2])
async def test_lost_packets_of_both_are_counted_as_they_were_dropped(place: Place, loss: float) -> None:
    async with (
        a_call(place) as call,
        rough_path(call.clinician, seed=5) as theirs,
        rough_path(call.client, seed=6) as path,
    ):
        theirs.loss = path.loss = loss
        await talk(place, call)
        theirs.mend()
        path.mend()
        await until_captured(call, CLIENT)
        session, transcript = await end(place, call)
    lost_as_dropped(session, path)
    lost_as_dropped(session, theirs, CLINICIAN)
    assert abs(path.dropped / path.sent - loss) < 0.05
    assert not gaps_of(transcript), "no second is lost in one piece"
    assert written(place, transcript) >= (0.8 if loss < 0.1 else 0.5)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["jitter", "order"])
async def test_packets_that_come_late_or_out_of_order_lose_no_word(place: Place, fault: str) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=7) as path:
        path.jitter_s, path.reordered = (0.1, 0.0) if fault == "jitter" else (0.0, 0.2)
        await talk(place, call)
        path.mend()
        await until_captured(call, CLIENT)
        session, transcript = await end(place, call)
    assert path.dropped == 0
    assert book(session)["lost"] <= EDGES
    assert not gaps_of(transcript)
    assert written(place, transcript) >= 0.85


@pytest.mark.soak
async def test_loss_and_jitter_at_once(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=8) as path:
        path.loss, path.jitter_s = 0.2, 0.1
        await talk(place, call)
        path.mend()
        await until_captured(call, CLIENT)
        await say(place, call.client, OKAY)
        session, transcript = await end(place, call, recordings=2)
    lost_as_dropped(session, path)
    assert written(place, transcript) >= 0.5


@pytest.mark.soak
async def test_half_a_minute_without_a_packet_is_lost_and_the_session_goes_on(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client) as path:
        await say(place, call.client, SLEPT)
        path.cut()
        await asyncio.sleep(30)
        assert any(m["absent"] for m in call.clinician.roster["members"] if m["participant_id"] == CLIENT)
        path.mend()
        await until_captured(call, CLIENT)
        await say(place, call.client, WORRY)
        await heard(call, "tense")
        assert not any(m["absent"] for m in call.clinician.roster["members"])
        session, transcript = await end(place, call)
    lost_as_dropped(session, path)
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - path.dropped * 60) <= 200
    assert "slept" in text(transcript)


@pytest.mark.soak
async def test_what_is_held_up_too_long_is_stated_as_lost(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client) as path:
        recording = await encoded(place, CLIENT, WORRY)
        speaking = asyncio.create_task(play(call.client, recording))
        await asyncio.sleep(1.5)
        path.shut()
        await asyncio.sleep(2.5)
        path.open()
        await speaking
        await heard(call, "sunday")
        session, transcript = await end(place, call)
    lost_ms = book(session)["lost"] * 1000 // SAMPLE_RATE_HZ
    assert path.dropped == 0
    assert 1_000 <= lost_ms <= 2_500, "what came within a second was captured"
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - lost_ms) <= 120
