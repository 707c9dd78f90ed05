"""Everything PyAV does here: Opus packets of a call, and files of any kind, become 16 kHz mono s16."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.resampler import AudioResampler

from bot.errors import AudioFormatUnsupported
from bot.events import SAMPLE_RATE_HZ, Pcm

OPUS_RATE_HZ = 48_000
EMPTY: Pcm = np.zeros(0, np.int16)
FILE_BLOCK = SAMPLE_RATE_HZ
"""Files come out in blocks of one second."""

# RFC 6716 section 3.1: frame lengths by configuration number, in 48 kHz samples
_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)
MAX_PACKET = 5760
"""RFC 6716: no packet holds more than 120 ms."""


def opus_duration(payload: bytes) -> int:
    """Length of an Opus packet in 48 kHz samples, from its first bytes (RFC 6716 section 3). 0: not a valid packet."""
    if not payload:
        return 0
    toc = payload[0]
    config, code = toc >> 3, toc & 3
    if config < 12:
        frame = _SILK[config & 3]
    elif config < 16:
        frame = _HYBRID[config & 1]
    else:
        frame = _CELT[config & 3]
    counted = payload[1] & 0x3F if len(payload) > 1 else 0
    length = frame * (1, 2, 2, counted)[code]
    return length if length <= MAX_PACKET else 0


class OpusDecoder:
    """One lane's stream of Opus packets to 16 kHz mono.

    The resampler holds back 16 samples; :meth:`drain` gives them out. Counted from one drain to the next, the output
    is exactly a third of the input.
    """

    def __init__(self) -> None:
        self._codec = self._new_codec()
        self._resampler: AudioResampler | None = None

    def decode(self, payload: bytes) -> Pcm | None:
        """The samples one packet completes, or None if it cannot be decoded."""
        if not payload:
            return None
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.FFmpegError, EOFError, ValueError):
            self._codec = self._new_codec()
            return None
        return self._resampled(frames) if frames else None

    def silence(self, samples_48k: int) -> Pcm:
        """The samples completed by ``samples_48k`` of digital silence."""
        parts = []
        while samples_48k > 0:
            n = min(samples_48k, OPUS_RATE_HZ)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, n), np.int16), format="s16", layout="mono")
            frame.sample_rate = OPUS_RATE_HZ
            parts.append(self._resampled([frame]))
            samples_48k -= n
        return np.concatenate(parts) if parts else EMPTY

    def drain(self) -> Pcm:
        """What the resampler still holds; it starts afresh after this."""
        resampler, self._resampler = self._resampler, None
        return _joined(resampler.resample(None)) if resampler is not None else EMPTY

    def _resampled(self, frames: list[av.AudioFrame]) -> Pcm:
        if self._resampler is None:
            self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        out: list[av.AudioFrame] = []
        for frame in frames:
            frame.pts = None
            out += self._resampler.resample(frame)
        return _joined(out)

    @staticmethod
    def _new_codec() -> av.AudioCodecContext:
        codec = av.CodecContext.create("libopus", "r")
        assert isinstance(codec, av.AudioCodecContext)
        codec.sample_rate = OPUS_RATE_HZ
        codec.layout = "mono"  # libopus mixes stereo down by itself
        codec.format = "s16"
        return codec


def decode(source: Path | BinaryIO) -> Iterator[Pcm]:
    """Any file PyAV reads, as 16 kHz mono blocks of at most a second. Raises :class:`AudioFormatUnsupported`.

    Damaged packets in the middle of a file are skipped; a file of which nothing can be decoded is refused.
    """
    opened = str(source) if isinstance(source, Path) else source
    try:
        container = av.open(opened, mode="r", metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioFormatUnsupported(f"This is not an audio file that can be read ({type(error).__name__}).") from None
    with container:
        if not container.streams.audio:
            raise AudioFormatUnsupported("This file holds no audio.")
        resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=FILE_BLOCK)
        found = False
        for frame in _file_frames(container):
            found = True
            frame.pts = None
            for out in resampler.resample(frame):
                yield _joined([out])
        if not found:
            raise AudioFormatUnsupported("Nothing in this file could be decoded.")
        for out in resampler.resample(None):
            yield _joined([out])


def _file_frames(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, EOFError):
            return  # a file that breaks off: what came before it counts
        try:
            frames = packet.decode()
        except (av.FFmpegError, EOFError):
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                yield frame


def _joined(frames: list[av.AudioFrame]) -> Pcm:
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    if len(parts) == 1:
        return parts[0].astype(np.int16, copy=False)
    return np.concatenate(parts).astype(np.int16, copy=False) if parts else EMPTY
