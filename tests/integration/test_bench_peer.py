"""Synthetic participants over real WebRTC against the real built-in room."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from bot.demo.dialogue import load
from bot.demo.packets import Recording, asked_by
from bot.demo.peer import USUAL, CallFailed, Peer
from tests.integration.demo_room import SESSION, demo_room

SECONDS = 3.0
RECORDING = Recording.read(load().path("clinician"), seconds=SECONDS)


@pytest.mark.parametrize("ptime_ms", [20, 60])
async def test_a_lane_is_played_as_the_answer_asks_and_on_time(ptime_ms: int) -> None:
    async with demo_room(ptime_ms) as room:
        peer = Peer(room.url, SESSION, "ann", recording=RECORDING)
        await peer.join()
        assert not peer.admitted
        assert peer.bot is None
        room.admitted.add("ann")
        await room.tell_roster()
        await peer.until(lambda: peer.admitted, "admission")
        room.bot = True
        await room.tell_roster()
        await peer.until_connected()
        assert peer.asked == asked_by(room.answers[-1])
        assert peer.asked is not None
        assert (peer.asked.ptime_ms, peer.asked.max_rate_hz) == (ptime_ms, 16_000)

        start_s = peer.play(time.monotonic() + 0.2)
        first = room.call_clock.at_sample(start_s)
        last = first + int(SECONDS * 16_000)
        await room.heard_through("lane-ann", last)
        await peer.leave()

    got = room.sound("lane-ann", first, last).astype(np.float64)
    sent = RECORDING.sound[::3].astype(np.float64)[: len(got)]
    # cross-correlation of the loudness, 10 ms steps: the lane is there, whole and in its place
    loud = [np.sqrt((x[: len(x) // 160 * 160].reshape(-1, 160) ** 2).mean(axis=1)) for x in (got, sent)]
    shifts = range(-30, 31)
    fit = [float(np.corrcoef(np.roll(loud[0], -shift), loud[1])[0, 1]) for shift in shifts]
    assert max(fit) > 0.9
    late_ms = shifts[int(np.argmax(fit))] * 10
    # a packet leaves when its last sample is spoken; the room places it by arrival
    assert -30 <= late_ms <= 150
    assert sum(f.lost_before for f in room.frames["lane-ann"]) == 0


async def test_two_people_hear_each_other_and_let_go_of_a_bot_that_left() -> None:
    async with demo_room() as room:
        people = [Peer(room.url, SESSION, name, recording=RECORDING, mesh=True) for name in ("ann", "bob")]
        for peer in people:
            await peer.join()
            room.admitted.add(peer.participant_id)
        room.bot = True
        await room.tell_roster()
        for peer in people:
            await peer.until_connected()
        ann, bob = people
        await ann.until(lambda: ann.hears("bob"), "bob's voice")
        await bob.until(lambda: bob.hears("ann"), "ann's voice")
        room.bot = False
        await room.tell_roster()
        await ann.until(lambda: not ann.heard_by_bot, "the bot to be gone")
        assert ann.hears("bob")
        await asyncio.gather(*(peer.leave() for peer in people))


async def test_control_goes_by_either_door_and_a_refusal_is_an_error() -> None:
    async with demo_room() as room:
        peer = Peer(room.url, SESSION, "ann", recording=RECORDING)
        await peer.join()
        room.admitted.add("ann")
        room.bot = True
        await room.tell_roster()
        await peer.until_connected()
        assert (await peer.control("start"))["state"] == "capturing"
        await peer.until(lambda: peer.channel_open, "the control channel")
        assert (await peer.control("pause", by_channel=True))["ok"]
        with pytest.raises(CallFailed, match="invalid-transition"):
            await peer.control("resume")
        assert [message["type"] for _, message in room.controls] == ["start", "pause", "resume"]
        await peer.leave()
        with pytest.raises(CallFailed, match="closed"):
            await peer.until(lambda: False, "anything")


async def test_a_room_that_is_not_there() -> None:
    peer = Peer("http://127.0.0.1:9", SESSION, "ann", recording=RECORDING)
    with pytest.raises(CallFailed, match="cannot be reached"):
        await peer.join()
    await peer.leave()


async def test_the_usual_wishes_are_those_of_the_room() -> None:
    """Otherwise every demo and bench would encode its lanes twice."""
    async with demo_room() as room:
        peer = Peer(room.url, SESSION, "ann", recording=RECORDING)
        await peer.join()
        room.admitted.add("ann")
        room.bot = True
        await room.tell_roster()
        await peer.until_connected()
        assert peer.asked == USUAL
        await peer.leave()
