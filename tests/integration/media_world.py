"""A built-in room with real lanes behind it, and real aiortc senders in front."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from bot.clock import CallClock, SystemClock
from bot.events import AudioFrame, CapturedAudio, EndReason, LaneBoundary, LaneLevel, Pcm, SpeechWindow
from bot.media.builtin import BuiltinRoom
from bot.media.pipeline import LanePipeline
from bot.media.room import RoomEvent
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.media.worker import MediaThread
from bot.store.vault import FileVault
from tests.unit.media.fakes import tone_packets

TIME_BASE = fractions.Fraction(1, 48_000)


class ToneTrack(MediaStreamTrack):
    """Packets of a tone, encoded beforehand, in real time."""

    kind = "audio"

    def __init__(self, hz: int = 440, *, ptime_ms: int = 60, first_pts: int = 0) -> None:
        super().__init__()
        self._payloads = tone_packets(100, ptime_ms=ptime_ms, hz=hz)
        self._ptime_ms = ptime_ms
        self._number = 0
        self._begun = time.monotonic()
        self._first_pts = first_pts

    async def recv(self) -> Any:
        due = self._begun + (self._number + 1) * self._ptime_ms / 1000
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        packet = av.Packet(self._payloads[self._number % len(self._payloads)])
        packet.pts = self._first_pts + self._number * 48 * self._ptime_ms
        packet.time_base = TIME_BASE
        self._number += 1
        return packet


class Sender:
    """A page, as far as the room sees one."""

    def __init__(self, participant_id: str) -> None:
        self.participant_id = participant_id
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.answers: list[str] = []
        self.said: list[str] = []
        self.channel: Any = None

    def open_channel(self) -> None:
        self.channel = self.pc.createDataChannel("scribe.control.v1")
        self.channel.on("message", self.said.append)

    async def negotiate(self, room: BuiltinRoom) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        answer = await room.offer(self.participant_id, self.pc.localDescription.sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        self.answers.append(answer)
        return answer

    def lose(self, should: Callable[[int], bool]) -> None:
        """Drop outgoing RTP packets on the way, by a running number."""
        transport: Any = self.pc.getSenders()[0].transport
        send, count = transport._send_rtp, [0]

        async def lossy(data: bytes) -> None:
            if data[1] & 0x7F in range(64, 96):  # RTCP
                await send(data)
                return
            count[0] += 1
            if not should(count[0]):
                await send(data)

        transport._send_rtp = lossy


PACKET = 16 * 60
"""Samples of the longest packet that is asked for."""


class HeardPipeline(LanePipeline):
    """A lane that also keeps what it captured."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heard: list[CapturedAudio] = []

    def captured(self, audio: CapturedAudio) -> None:
        self.heard.append(audio)
        super().captured(audio)

    @property
    def pcm(self) -> Pcm:
        return np.concatenate([np.zeros(0, np.int16), *(audio.pcm for audio in list(self.heard))])


class World:
    """The room's listener: a pipeline per participant."""

    def __init__(self, folder: Path, vad: SileroVad, *, ptime_ms: int = 60) -> None:
        clock = SystemClock()
        self.call_clock = CallClock(clock, started_at=datetime.now(UTC))
        self.worker = MediaThread()
        self.worker.start()
        self.vault = FileVault(folder / "vault", bytes(32))
        self.folder = folder / "spool"
        self.lanes: dict[str, HeardPipeline] = {}
        self.events: list[RoomEvent] = []
        self.windows: list[SpeechWindow] = []
        self.levels: list[LaneLevel] = []
        self.boundaries: list[LaneBoundary] = []
        self._vad = vad
        self.room = BuiltinRoom(
            call_clock=self.call_clock,
            clock=clock,
            worker=self.worker,
            lane_ids=self.lane_id,
            ptime_ms=ptime_ms,
        )
        self._ticking: asyncio.Task[None] | None = None

    def lane_id(self, participant_id: str) -> str:
        return f"lane-{participant_id}"

    def lane(self, participant_id: str) -> HeardPipeline:
        lane_id = self.lane_id(participant_id)
        if lane_id not in self.lanes:
            self.lanes[lane_id] = HeardPipeline(
                lane_id=lane_id,
                vad=self._vad,
                spool=Spool(self.folder, self.vault, "ses", lane_id),
                on_window=self.windows.append,
                on_level=self.levels.append,
                on_boundary=self.boundaries.append,
            )
        return self.lanes[lane_id]

    def event(self, event: RoomEvent) -> None:
        self.events.append(event)

    def frame(self, frame: AudioFrame) -> None:
        # a connection that ends hands on what it holds: at most a packet before its time
        ahead = frame.end_sample - self.call_clock.now_sample()
        assert ahead <= PACKET, "a frame lies ahead of the call's clock"
        self.lanes[frame.lane_id].gate(frame)

    async def open(self) -> None:
        await self.room.join(self)
        self._ticking = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for lane in self.lanes.values():
                self.worker.post(lane.elapse, self.call_clock.now_sample())

    async def on_worker(self, fn: Callable[..., None], *args: object) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        assert self.worker.post(fn, *args)
        assert self.worker.post(lambda: loop.call_soon_threadsafe(done.set))
        await asyncio.wait_for(done.wait(), 10)

    async def close(self) -> None:
        await self.room.leave(EndReason.CALL_ENDED)
        assert self._ticking is not None
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        self.worker.close()
        assert self.worker.faults == 0


async def until(true: Callable[[], bool], timeout_s: float = 15) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 -- what is waited for changes on another thread
            await asyncio.sleep(0.02)


@asynccontextmanager
async def a_world(folder: Path, vad: SileroVad, *, ptime_ms: int = 60) -> AsyncIterator[World]:
    world = World(folder, vad, ptime_ms=ptime_ms)
    await world.open()
    try:
        yield world
    finally:
        await world.close()


@asynccontextmanager
async def a_sender(participant_id: str, *tracks: MediaStreamTrack) -> AsyncIterator[Sender]:
    sender = Sender(participant_id)
    for track in tracks:
        sender.pc.addTransceiver(track, direction="sendonly")
    try:
        yield sender
    finally:
        for track in tracks:
            track.stop()
        await sender.pc.close()


def frequency(pcm: Pcm) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm.astype(float)))) * 16_000 / len(pcm))
