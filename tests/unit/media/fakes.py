"""Scripted stand-ins and packet makers for the media tests."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from bot.events import AudioFrame, CapturedAudio, LaneBoundary, LaneLevel, Pcm
from bot.media.rtp import RtpIn
from bot.store.vault import KeyDestroyed


class FakeVault:
    """Audio keys only, with the ratchet's rules."""

    def __init__(self) -> None:
        self.watermark: dict[tuple[str, str], int] = {}
        self.destroyed: set[str] = set()

    def audio_key(self, session_id: str, lane_id: str, index: int) -> bytes:
        if session_id in self.destroyed or index < self.watermark.get((session_id, lane_id), 0):
            raise KeyDestroyed
        return sha256(f"{session_id}:{lane_id}:{index}".encode()).digest()

    def advance_audio(self, session_id: str, lane_id: str, index: int) -> None:
        key = (session_id, lane_id)
        self.watermark[key] = max(index, self.watermark.get(key, 0))

    def destroy_audio(self, session_id: str) -> int:
        self.destroyed.add(session_id)
        return 1

    def audio_lanes(self, session_id: str) -> list[str]:
        return [lane for session, lane in self.watermark if session == session_id]

    def seal(self, scope: str, purpose: str, plaintext: bytes) -> bytes:
        raise NotImplementedError

    def unseal(self, scope: str, purpose: str, sealed: bytes) -> bytes:
        raise NotImplementedError

    def destroy(self, scope: str) -> bool:
        raise NotImplementedError


class Sink:
    """Keeps what a lane hands on."""

    def __init__(self) -> None:
        self.audio: list[CapturedAudio] = []
        self.boundaries: list[LaneBoundary] = []
        self.levels: list[LaneLevel] = []
        self.late: list[tuple[int, int]] = []

    def captured(self, audio: CapturedAudio) -> None:
        self.audio.append(audio)

    def boundary(self, boundary: LaneBoundary) -> None:
        self.boundaries.append(boundary)

    def level(self, level: LaneLevel) -> None:
        self.levels.append(level)

    def rebooked(self, start_sample: int, end_sample: int) -> None:
        self.late.append((start_sample, end_sample))

    @property
    def samples(self) -> int:
        return sum(len(audio.pcm) for audio in self.audio)


class ScriptedVad:
    """Rates a frame by its loudest sample: 1000 -> 0.9, 0 -> 0.02, 300 -> 0.27."""

    def __init__(self) -> None:
        self.states = 0

    def new_state(self) -> dict[str, Any]:
        self.states += 1
        return {}

    def probabilities(self, pcm: Pcm, state: Any, /) -> npt.NDArray[np.float32]:
        loud = np.abs(pcm.reshape(-1, 512).astype(np.float32)).max(axis=1)
        rated: npt.NDArray[np.float32] = np.clip(loud / 1000 * 0.9, 0.02, 0.98).astype(np.float32)
        return rated


class VirtualTime:
    """A call clock in samples that tests move, with the media thread's timers on it."""

    def __init__(self) -> None:
        self.sample = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> int:
        return self.sample

    def later(self, delay_s: float, fn: Callable[[], None], /) -> None:
        self._count += 1
        heapq.heappush(self._timers, (self.sample + int(delay_s * 16_000), self._count, fn))

    def run_to(self, sample: int) -> None:
        while self._timers and self._timers[0][0] <= sample:
            at, _, fn = heapq.heappop(self._timers)
            self.sample = max(self.sample, at)
            fn()
        self.sample = max(self.sample, sample)


@lru_cache(maxsize=4)
def tone_packets(count: int = 60, *, ptime_ms: int = 60, stereo: bool = False, hz: int = 440) -> tuple[bytes, ...]:
    """Opus packets of a tone."""
    samples = 48 * ptime_ms
    t = np.arange(samples * count) / 48_000
    sound = (np.sin(2 * np.pi * hz * t) * 8000).astype(np.int16)
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = 48_000
    encoder.layout = "stereo" if stereo else "mono"
    encoder.format = "s16"
    encoder.options = {"application": "voip", "frame_duration": str(ptime_ms)}
    encoder.open()
    out: list[bytes] = []
    for number in range(count):
        block = sound[number * samples : (number + 1) * samples]
        data = np.repeat(block, 2)[None, :] if stereo else block[None, :]
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout="stereo" if stereo else "mono")
        frame.sample_rate = 48_000
        frame.pts = number * samples
        out += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(out)


def packets(
    *,
    first_arrival: int = 16_000,
    count: int = 20,
    ptime_ms: int = 60,
    sequence: int = 65_530,
    timestamp: int = 2**32 - 10_000,
    ssrc: int = 7,
    connection: int = 1,
) -> Iterator[RtpIn]:
    """Packets on time, over both wrap-arounds."""
    payloads = tone_packets(60, ptime_ms=ptime_ms)
    for number in range(count):
        yield RtpIn(
            connection,
            ssrc,
            (sequence + number) % 2**16,
            (timestamp + number * 48 * ptime_ms) % 2**32,
            payloads[number % len(payloads)],
            first_arrival + number * 16 * ptime_ms,
        )


def assert_in_order(frames: list[AudioFrame]) -> None:
    for before, after in itertools.pairwise(frames):
        assert before.end_sample <= after.start_sample - after.lost_before
