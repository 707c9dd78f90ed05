"""People whose network goes, who leave, or come in twice: the same seat, the same lane, and the session goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.call_world import CLIENT, CLINICIAN, LANES, Place, world
from tests.integration.rough_world import (
    GOODBYE,
    OKAY,
    PACKET,
    SLEPT,
    WORRY,
    a_call,
    book,
    come_back,
    end,
    gaps_of,
    heard,
    present,
    say,
    session_of,
    text,
    until_captured,
)
from tests.integration.test_absence import cut_the_line

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with world(tmp_path_factory.mktemp("back")) as made:
        yield made


async def test_another_address_is_a_new_connection_under_the_same_token(place: Place) -> None:
    async with a_call(place) as call:
        before = {lane["participant_id"]: lane["id"] for lane in (await place.get(session_of(call)))["lanes"]}
        await say(place, call.client, GOODBYE)
        gone = call.client
        cut_the_line(gone)
        try:
            await asyncio.sleep(1.2)
            back = await come_back(place, call, gone)
            assert back.admitted, "the same token needs no second admission"
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, OKAY)
            await heard(call, "can do that")
            session, transcript = await end(place, call)
        finally:
            await call.client.leave()
            await gone.leave()
    assert {lane["participant_id"]: lane["id"] for lane in session["lanes"]} == before
    assert "next week" in text(transcript)
    assert text(transcript).index("next week") < text(transcript).index("can do that")
    [away_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    assert away_ms >= 1_200, "nobody can know what was sent to nowhere"


@pytest.mark.soak
async def test_half_a_minute_without_a_network_is_absence_then_a_pause_and_the_session_goes_on(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = call.client
        cut_the_line(gone)
        try:
            await asyncio.sleep(30)
            assert call.clinician.state["pause_reasons"] == ["client_absent"]
            back = await come_back(place, call, gone)
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, WORRY)
            await heard(call, "tense")
            _, transcript = await end(place, call)
        finally:
            await call.client.leave()
            await gone.leave()
    [absent_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    [(reason, paused_ms)] = gaps_of(transcript, None)
    assert reason == "paused"
    assert absent_ms + paused_ms >= 29_500
    assert "slept" in text(transcript)
    assert "tense" in text(transcript)


@pytest.mark.soak
async def test_who_leaves_and_returns_is_heard_on_the_same_lane(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = call.client
        await gone.leave()
        await call.clinician.until(lambda: CLIENT not in present(call.clinician), "the client to be gone")
        await say(place, call.clinician, (600, 3_200))
        back = await come_back(place, call, gone)
        try:
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, WORRY)
            await heard(call, "tense")
            session, transcript = await end(place, call)
        finally:
            await back.leave()
    [away_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    assert away_ms >= 2_600
    assert book(session)["lost"] <= PACKET
    assert "past week" in text(transcript, CLINICIAN), "the other was heard meanwhile"
    assert "slept" in text(transcript)


@pytest.mark.soak
async def test_everybody_leaves_for_a_minute_and_returns(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = (call.clinician, call.client)
        await asyncio.gather(*(peer.leave() for peer in gone))
        await asyncio.sleep(60)
        try:
            for peer in gone:
                await come_back(place, call, peer)
            await call.connect()
            await call.clinician.until(lambda: call.clinician.state.get("capture") == "capturing", "recording to go on")
            await until_captured(call, CLIENT)
            await say(place, call.client, WORRY)
            await heard(call, "tense")
            _, transcript = await end(place, call)
        finally:
            await asyncio.gather(call.clinician.leave(), call.client.leave())
    [pause] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
    assert set(pause["pause_reasons"]) <= {"clinician_absent", "client_absent"}
    assert 45_000 <= pause["end_ms"] - pause["start_ms"] <= 75_000
    for who in LANES:
        assert [reason for reason, _ in gaps_of(transcript, who)][:1] == ["absent"], transcript["gaps"]
    assert "slept" in text(transcript)
    assert "tense" in text(transcript)


@pytest.mark.soak
async def test_two_tabs_of_one_participant_are_one_seat_and_one_lane(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        first = call.client
        try:
            second = await come_back(place, call, first)
            await first.wait(lambda: first.closed, 10)
            assert first._socket is not None
            assert first._socket.close_code == 4001, "the newer page has the seat"
            await second.until_connected()
            await until_captured(call, CLIENT)
            first.play(time.monotonic())  # whatever an old tab still sends
            await say(place, second, WORRY)
            await heard(call, "tense")
            members = [m["participant_id"] for m in call.clinician.roster["members"]]
            assert sorted(members) == sorted(LANES)
            session, transcript = await end(place, call)
        finally:
            await asyncio.gather(call.client.leave(), first.leave())
    assert book(session)["lost"] <= PACKET
    assert text(transcript).count("slept") == 1
    assert "tense" in text(transcript)
