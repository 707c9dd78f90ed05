"""Opus packets made beforehand, the way a browser would send them: as the answer asks.

Encoding while a call plays would cost more than the call itself, and aiortc's own encoder ignores what the answer
says. So a lane is encoded once, before it is played, by libopus through ctypes: PyAV's encoder knows no working DTX.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RTP_RATE_HZ = 48_000
TIME_BASE = Fraction(1, RTP_RATE_HZ)
BIT_RATES_BPS = {8_000: 12_000, 16_000: 20_000, 48_000: 32_000}
"""What Chromium takes for mono speech at a given playback rate (`GetDefaultBitrate` of its Opus encoder)."""

_APPLICATION_VOIP = 2048
# requests of `opus_encoder_ctl` (opus_defines.h)
_SET_BITRATE, _SET_MAX_BANDWIDTH, _SET_VBR = 4002, 4004, 4006
_SET_COMPLEXITY, _SET_INBAND_FEC, _SET_DTX = 4010, 4012, 4016
_BANDWIDTHS = {8_000: 1101, 12_000: 1102, 16_000: 1103, 24_000: 1104, 48_000: 1105}
_COMPLEXITY = 9
"""Chromium's on desktops."""
_MAX_PACKET_BYTES = 1275 * 3
_NOT_SENT_BYTES = 2
"""A packet this small says "nothing to send": libopus's DTX."""

Sound = npt.NDArray[np.int16]
"""Mono 48 kHz signed 16-bit samples."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer asks of the sender."""

    ptime_ms: int = 20
    dtx: bool = False
    max_rate_hz: int = 48_000
    fec: bool = False
    bit_rate_bps: int = 0
    """0: what Chromium would take by itself."""

    @property
    def samples(self) -> int:
        """48 kHz samples in one packet."""
        return self.ptime_ms * RTP_RATE_HZ // 1000


def asked_by(sdp: str) -> Asked:
    """Read the Opus wishes out of an answer; what it does not say keeps the standard's default."""
    audio = sdp.partition("m=audio")[2].partition("\nm=")[0]
    payload = re.search(r"a=rtpmap:(\d+) opus/48000", audio, re.IGNORECASE)
    wishes: dict[str, str] = {}
    if payload:
        found = re.search(rf"a=fmtp:{payload[1]} (.+)", audio)
        if found:
            wishes = dict(part.strip().partition("=")[::2] for part in found[1].split(";"))
    line = re.search(r"a=ptime:(\d+)", audio)
    ptime = int(line[1]) if line else int(wishes.get("ptime", "20"))
    return Asked(
        ptime_ms=ptime if ptime in (10, 20, 40, 60) else 20,
        dtx=wishes.get("usedtx") == "1",
        max_rate_hz=int(wishes.get("maxplaybackrate", "48000")),
        fec=wishes.get("useinbandfec") == "1",
        bit_rate_bps=int(wishes.get("maxaveragebitrate", "0")),
    )


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """One packet: ``at`` is the position of its first sample in the lane, in 48 kHz samples."""

    at: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class EncodedLane:
    """A lane ready to be sent. Where DTX was asked for, packets are missing while nobody speaks."""

    asked: Asked
    packets: Sequence[OpusPacket]
    duration_ms: int

    @property
    def kbit_per_s(self) -> float:
        """Mean rate of the Opus payload over the whole lane."""
        return sum(len(p.payload) for p in self.packets) * 8 / max(1, self.duration_ms)

    @property
    def packets_per_s(self) -> float:
        """Mean packet rate over the whole lane."""
        return len(self.packets) * 1000 / max(1, self.duration_ms)


def read_sound(path: Path, *, seconds: float | None = None) -> Sound:
    """Decode the first ``seconds`` of any sound file to 48 kHz mono."""
    limit = None if seconds is None else int(seconds * RTP_RATE_HZ)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RTP_RATE_HZ)
    blocks: list[Sound] = []
    held = 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                blocks.append(out.to_ndarray().reshape(-1).astype(np.int16))
                held += len(blocks[-1])
            if limit is not None and held >= limit:
                break
        else:
            blocks += [out.to_ndarray().reshape(-1).astype(np.int16) for out in resampler.resample(None)]
    sound = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int16)
    return sound[:limit]


def encode(sound: Sound, asked: Asked) -> EncodedLane:
    """Encode a lane as ``asked``; the last packet is filled up with silence."""
    encoder = _Encoder(asked)
    packets: list[OpusPacket] = []
    for at in range(0, len(sound), asked.samples):
        block = sound[at : at + asked.samples]
        if len(block) < asked.samples:
            block = np.pad(block, (0, asked.samples - len(block)))
        payload = encoder.encode(np.ascontiguousarray(block, dtype=np.int16))
        if not (asked.dtx and len(payload) <= _NOT_SENT_BYTES):
            packets.append(OpusPacket(at, payload))
    return EncodedLane(asked, tuple(packets), len(sound) * 1000 // RTP_RATE_HZ)


class _Encoder:
    """libopus, set as Chromium sets it: `tests/e2e/test_senders.py` compares the packets of both."""

    def __init__(self, asked: Asked) -> None:
        self._lib = _libopus()
        error = ctypes.c_int()
        self._state = ctypes.c_void_p(
            self._lib.opus_encoder_create(RTP_RATE_HZ, 1, _APPLICATION_VOIP, ctypes.byref(error))
        )
        if error.value:
            raise RuntimeError(f"libopus: error {error.value}")
        self._asked = asked
        self._out = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        rate = min((r for r in BIT_RATES_BPS if r >= min(asked.max_rate_hz, 48_000)), default=48_000)
        width = min((r for r in _BANDWIDTHS if r >= min(asked.max_rate_hz, 48_000)), default=48_000)
        for request, value in (
            (_SET_BITRATE, asked.bit_rate_bps or BIT_RATES_BPS[rate]),
            (_SET_MAX_BANDWIDTH, _BANDWIDTHS[width]),
            (_SET_COMPLEXITY, _COMPLEXITY),
            (_SET_VBR, 1),
            (_SET_INBAND_FEC, int(asked.fec)),
            (_SET_DTX, int(asked.dtx)),
        ):
            self._lib.opus_encoder_ctl(self._state, ctypes.c_int(request), ctypes.c_int(value))

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._lib.opus_encoder_destroy(self._state)

    def encode(self, block: Sound) -> bytes:
        pointer = block.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        size = self._lib.opus_encode(self._state, pointer, len(block), self._out, _MAX_PACKET_BYTES)
        if size < 0:
            raise RuntimeError(f"libopus: error {size}")
        return self._out.raw[:size]


@cache
def _libopus() -> Any:
    """The libopus that PyAV's wheel brings, else the system's."""
    bundled = sorted((Path(av.__file__).resolve().parent.parent / "av.libs").glob("libopus-*"))
    name = str(bundled[0]) if bundled else ctypes.util.find_library("opus")
    if name is None:
        raise RuntimeError("libopus was found neither beside PyAV nor on this system.")
    lib = ctypes.CDLL(name)
    lib.opus_encoder_create.restype = ctypes.c_void_p
    lib.opus_encoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    lib.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
    lib.opus_encode.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_int16),
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int32,
    ]
    lib.opus_encode.restype = ctypes.c_int32
    return lib


class Recording:
    """One lane's sound, encoded at most once for each way it is asked for. Safe to share between peers."""

    def __init__(self, sound: Sound) -> None:
        self.sound = sound
        self._encoded: dict[Asked, EncodedLane] = {}
        self._lock = Lock()

    @classmethod
    def read(cls, path: Path, *, seconds: float | None = None) -> Recording:
        """The first ``seconds`` of any sound file."""
        return cls(read_sound(path, seconds=seconds))

    @property
    def duration_ms(self) -> int:
        """How long it plays."""
        return len(self.sound) * 1000 // RTP_RATE_HZ

    def as_asked(self, asked: Asked) -> EncodedLane:
        """Encode, or take what was encoded before. Blocks for about 8 ms per second of sound the first time."""
        with self._lock:
            if asked not in self._encoded:
                self._encoded[asked] = encode(self.sound, asked)
            return self._encoded[asked]
