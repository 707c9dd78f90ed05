"""Real aiortc peers over loopback: sound arrives on its lane, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCSessionDescription, VideoStreamTrack

from bot.errors import AudioFormatUnsupported, ConfigInvalid, InvalidTransition
from bot.events import BoundaryReason, EndReason, GateState
from bot.media.room import ControlMessage, LaneStarted, LaneStopped
from bot.media.vad import SileroVad
from tests.integration.media_world import Sender, ToneTrack, World, a_sender, a_world, frequency, until

SECOND = 16_000


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


@pytest.fixture
async def world(tmp_path: Path, vad: SileroVad) -> AsyncIterator[World]:
    async with a_world(tmp_path, vad) as made:
        yield made
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "builtin-room"]


def opened(world: World, participant_id: str = "ann") -> Any:
    lane = world.lane(participant_id)
    lane.set_state(GateState.OPEN, world.call_clock.now_sample())
    return lane


async def test_a_tone_arrives_and_the_ledger_closes(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        answer = await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > 2 * SECOND)
        await until(lambda: LaneStarted("ann", "lane-ann") in world.events)
        at = world.call_clock.now_sample()
        lane.set_state(GateState.OFF, at)
        await asyncio.sleep(0.45)
        await world.on_worker(lane.finish, at)
        stats = await ann.pc.getStats()
    assert "ptime=60;maxplaybackrate=16000;stereo=0" in answer
    assert "a=recvonly" in answer
    assert frequency(lane.pcm[SECOND:]) == pytest.approx(440, rel=0.03)
    ledger = lane.ledger()
    assert ledger.closes
    assert ledger.lost == 0
    assert ledger.captured == len(lane.pcm)
    assert lane.heard[-1].end_sample <= at
    assert world.levels
    assert stats


async def test_receiver_reports_go_on(world: World) -> None:
    opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.negotiate(world.room)
        sender = ann.pc.getSenders()[0]

        async def reported() -> bool:
            report = await sender.getStats()
            return any(entry.type == "remote-inbound-rtp" for entry in report.values())

        async with asyncio.timeout(15):
            while not await reported():  # noqa: ASYNC110 -- statistics have no event
                await asyncio.sleep(0.1)
        report = await sender.getStats()
    remote = next(entry for entry in report.values() if entry.type == "remote-inbound-rtp")
    assert remote.packetsLost == 0


async def test_nothing_later_than_a_pause_is_captured_and_all_before_it_is(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        pause = lane.set_state(GateState.PAUSED, world.call_clock.now_sample())
        await until(lambda: lane.ledger().paused > SECOND)
        resume = lane.set_state(GateState.OPEN, world.call_clock.now_sample())
        await until(lambda: lane.heard[-1].end_sample > resume + SECOND)
    before = [audio for audio in lane.heard if audio.start_sample < pause]
    after = [audio for audio in lane.heard if audio.start_sample >= pause]
    assert before[-1].end_sample == pause
    assert after[0].start_sample >= resume
    assert any(b.at_sample == pause and b.reason is BoundaryReason.PAUSED for b in world.boundaries)


async def test_lost_packets_are_counted_from_their_numbers(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack(ptime_ms=20)) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND // 2)
        ann.lose(lambda number: number % 10 == 0 and number <= 50)
        await until(lambda: lane.ledger().captured > 3 * SECOND)
    assert lane.ledger().lost == 5 * 320
    assert lane.ledger().closes


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_new_connection_keeps_the_lane(world: World, graceful: bool) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack(440)) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        if graceful:
            await ann.pc.close()
            await until(lambda: LaneStopped("ann", "lane-ann") in world.events)
        async with a_sender("ann", ToneTrack(1000)) as again:
            heard = len(lane.pcm)
            await again.negotiate(world.room)
            await until(lambda: len(lane.pcm) > heard + 2 * SECOND)
            assert frequency(lane.pcm[-SECOND:]) == pytest.approx(1000, rel=0.03)
    assert [type(e) for e in world.events[:3]] == [LaneStarted, LaneStopped, LaneStarted]
    assert {e.lane_id for e in world.events if isinstance(e, LaneStarted)} == {"lane-ann"}
    assert lane.ledger().closes


async def test_a_republished_track_keeps_the_lane(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack(440)) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        # as when another microphone is picked: a new track, a new SSRC, a new offer on the same connection
        transceiver = ann.pc.getTransceivers()[0]
        transceiver.sender.replaceTrack(None)
        transceiver.direction = "inactive"
        second = ToneTrack(1000)
        ann.pc.addTransceiver(second, direction="sendonly")
        heard = len(lane.pcm)
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > heard + 2 * SECOND)
        second.stop()
    assert frequency(lane.pcm[-SECOND:]) == pytest.approx(1000, rel=0.03)
    assert lane.ledger().closes
    assert set(world.lanes) == {"lane-ann"}


async def test_a_replaced_track_goes_on_in_the_same_stretch_of_the_call(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack(440)) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        sender = ann.pc.getSenders()[0]
        sender.replaceTrack(None)  # RTP time stops, as in Chromium
        stopped = world.call_clock.now_sample()
        await until(lambda: lane.ledger().absent > SECOND // 2)
        back = ToneTrack(1000, first_pts=48_000)
        sender.replaceTrack(back)
        await until(lambda: lane.heard[-1].start_sample > stopped + 2 * SECOND)
        await until(lambda: frequency(lane.pcm[-SECOND // 2 :]) == pytest.approx(1000, rel=0.03))
        assert world.call_clock.now_sample() - lane.heard[-1].end_sample < SECOND // 2
        back.stop()
    assert lane.ledger().lost == 0
    assert lane.ledger().closes


async def test_two_participants_have_a_lane_each(world: World) -> None:
    ann, ben = opened(world, "ann"), opened(world, "ben")
    async with a_sender("ann", ToneTrack(440)) as first, a_sender("ben", ToneTrack(1000)) as second:
        await asyncio.gather(first.negotiate(world.room), second.negotiate(world.room))
        await until(lambda: len(ann.pcm) > 2 * SECOND and len(ben.pcm) > 2 * SECOND)
    assert frequency(ann.pcm[-SECOND:]) == pytest.approx(440, rel=0.03)
    assert frequency(ben.pcm[-SECOND:]) == pytest.approx(1000, rel=0.03)


async def test_what_is_not_received_is_not_decoded_and_comes_back(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        world.room.receive("ann", False)
        await world.on_worker(lambda: None)
        heard = len(lane.pcm)
        await until(lambda: lane.ledger().absent > SECOND)
        assert len(lane.pcm) == heard
        world.room.receive("ann", True)
        await until(lambda: len(lane.pcm) > heard + SECOND)
    assert lane.ledger().lost == 0


async def test_video_is_answered_inactive_and_costs_nothing(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", VideoStreamTrack(), ToneTrack()) as ann:
        answer = await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
    video = next(section for section in answer.split("m=") if section.startswith("video"))
    assert "a=inactive" in video


async def test_the_control_channel(world: World) -> None:
    opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        ann.open_channel()
        await ann.negotiate(world.room)
        await until(lambda: ann.channel.readyState == "open")
        ann.channel.send('{"type":"status"}')
        ann.channel.send(b"\x00\xff")
        await until(lambda: ControlMessage("ann", b"\x00\xff") in world.events)
        assert ControlMessage("ann", b'{"type":"status"}') in world.events
        await world.room.send(b'{"type":"state"}', to="ann")
        await world.room.send(b'{"type":"caption"}')
        await world.room.send(b'{"type":"state"}', to="nobody")
        await until(lambda: len(ann.said) == 2)
        assert ann.said == ['{"type":"state"}', '{"type":"caption"}']
        assert ann.pc.sctp is not None
        ann.pc.sctp._remote_max_message_size = 0  # a page that does not mind what we announce
        ann.channel.send("x" * (256 * 1024 + 1))
        await until(lambda: len(ann.said) == 3)
    refused = json.loads(ann.said[2])
    assert (refused["ok"], refused["problem"]["slug"]) == (False, "payload-too-large")
    assert sum(isinstance(e, ControlMessage) for e in world.events) == 2


async def test_bad_offers_are_refused_and_the_connection_that_stands_goes_on(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.negotiate(world.room)
        await until(lambda: len(lane.pcm) > SECOND)
        good = ann.pc.localDescription.sdp
        other = Sender("ann")
        other.pc.createDataChannel("scribe.control.v1")
        await other.pc.setLocalDescription(await other.pc.createOffer())
        without_audio = other.pc.localDescription.sdp
        await other.pc.close()
        for bad in (
            "",
            "not sdp",
            without_audio,
            good.replace("a=setup:actpass", "a=setup:nonsense"),
            good.replace("a=ice-pwd:", "a=ice-pw:"),
            good.replace("m=audio", "m=audio x"),
            good.replace("a=rtcp-mux\r\n", ""),
            good[: len(good) // 2].replace("a=mid:0", "a=mid:9"),
        ):
            with pytest.raises(ConfigInvalid):
                await world.room.offer("ann", bad)
            with pytest.raises(ConfigInvalid):
                await world.room.offer("eve", bad)
        for bad in (good.replace("opus/48000/2", "G722/8000"), good.replace("a=rtpmap:", "a=rtpmap:x")):
            with pytest.raises(AudioFormatUnsupported):
                await world.room.offer("ann", bad)
        heard = len(lane.pcm)
        await until(lambda: len(lane.pcm) > heard + SECOND)
    assert {type(e) for e in world.events[:1]} == {LaneStarted}


async def test_bad_candidates_are_refused(world: World) -> None:
    opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.negotiate(world.room)
        for bad in (
            {"candidate": "candidate:nonsense", "sdpMid": "0"},
            {"candidate": "candidate:1 1 udp x 127.0.0.1 5 typ host", "sdpMid": "0"},
            {"candidate": "candidate:1 1 udp 1 127.0.0.1 5 typ host"},
            {"candidate": 5, "sdpMid": "0"},
        ):
            with pytest.raises(ConfigInvalid):
                await world.room.candidate("ann", bad)
        good = {"candidate": "candidate:1 1 udp 2113937151 127.0.0.1 50001 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        await world.room.candidate("ann", good)
        await world.room.candidate("nobody", good)
        await world.room.candidate("ann", {"candidate": "", "sdpMid": "0"})
        await world.room.candidate("ann", None)


async def test_a_page_whose_addresses_nobody_here_knows_still_connects(world: World) -> None:
    lane = opened(world)
    async with a_sender("ann", ToneTrack()) as ann:
        await ann.pc.setLocalDescription(await ann.pc.createOffer())
        address = r"(?m)^(a=candidate:(?:\S+ ){4})\S+"
        offer = re.sub(address, r"\1b3ad4e3c-0000-4000-8000-c6a1f0e0a1d2.local", ann.pc.localDescription.sdp)
        assert "a=end-of-candidates" in offer
        answer = await world.room.offer("ann", offer)
        await world.room.candidate("ann", None)
        # long enough for each name to be asked for in vain
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "builtin-room"])
        await ann.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: len(lane.pcm) > SECOND)


async def test_leave_ends_everything(tmp_path: Path, vad: SileroVad) -> None:
    async with a_world(tmp_path, vad) as world:
        lane = opened(world)
        async with a_sender("ann", ToneTrack()) as ann:
            await ann.negotiate(world.room)
            await until(lambda: len(lane.pcm) > SECOND)
            with pytest.raises(InvalidTransition):
                await world.room.join(world)
            await world.room.leave(EndReason.STOPPED_BY_CLINICIAN)
            await world.room.leave(EndReason.STOPPED_BY_CLINICIAN)
            assert world.events[-1] == LaneStopped("ann", "lane-ann")
            with pytest.raises(InvalidTransition):
                await world.room.offer("ann", ann.pc.localDescription.sdp)
    await until(lambda: not [t for t in threading.enumerate() if t.name.endswith("-decoder") or t.name == "media"])


async def test_drop_closes_one_and_leaves_the_rest(world: World) -> None:
    opened(world, "ann")
    ben = opened(world, "ben")
    async with a_sender("ann", ToneTrack()) as first, a_sender("ben", ToneTrack()) as second:
        await asyncio.gather(first.negotiate(world.room), second.negotiate(world.room))
        await until(lambda: len(world.events) == 2)
        await world.room.drop("ann")
        await world.room.drop("ann")
        assert LaneStopped("ann", "lane-ann") in world.events
        heard = len(ben.pcm)
        await until(lambda: len(ben.pcm) > heard + SECOND)


async def test_packets_of_twenty_milliseconds(tmp_path: Path, vad: SileroVad) -> None:
    async with a_world(tmp_path, vad, ptime_ms=20) as world:
        lane = opened(world)
        async with a_sender("ann", ToneTrack(ptime_ms=20)) as ann:
            assert "ptime=20" in await ann.negotiate(world.room)
            await until(lambda: len(lane.pcm) > SECOND)
        assert lane.ledger().lost == 0
    with pytest.raises(ConfigInvalid):
        World(tmp_path / "other", vad, ptime_ms=50)
