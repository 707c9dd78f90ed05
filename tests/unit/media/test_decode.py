"""Files of any kind, and Opus packets, become 16 kHz mono."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from bot.errors import AudioFormatUnsupported
from bot.events import Pcm
from bot.media.decode import OpusDecoder, decode
from tests.unit.media.fakes import tone_packets

SECONDS = 2.5


def tone(rate_hz: int, channels: int = 1) -> Pcm:
    t = np.arange(int(rate_hz * SECONDS)) / rate_hz
    mono = (np.sin(2 * np.pi * 440 * t) * 8000).astype(np.int16)
    return np.repeat(mono, channels)


def wav(rate_hz: int, channels: int = 1) -> io.BytesIO:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(tone(rate_hz, channels).tobytes())
    out.seek(0)
    return out


def frequency(pcm: Pcm) -> float:
    middle = pcm[4000:-4000].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(middle))) * 16_000 / len(middle))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav(rate_hz: int, channels: int) -> None:
    blocks = list(decode(wav(rate_hz, channels)))
    assert all(block.dtype == np.int16 and block.ndim == 1 and 0 < len(block) <= 16_000 for block in blocks)
    pcm = np.concatenate(blocks)
    assert abs(len(pcm) - SECONDS * 16_000) <= 2
    assert frequency(pcm) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 44_100),
        ("a.webm", "libopus", 48_000),
        ("a.ogg", "libopus", 48_000),
        ("a.flac", "flac", 44_100),
    ],
)
def test_formats_from_a_path(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(tone(rate_hz)[None, :], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        fifo = av.AudioFifo()
        for ready in resampler.resample(frame):
            fifo.write(ready)
        size = stream.codec_context.frame_size or 4096
        while (block := fifo.read(size, partial=True)) is not None:
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    pcm = np.concatenate(list(decode(path)))
    assert len(pcm) / 16_000 == pytest.approx(SECONDS, abs=0.12)
    assert frequency(pcm) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("content", [b"", b"not audio at all" * 100, b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused(content: bytes) -> None:
    with pytest.raises(AudioFormatUnsupported):
        list(decode(io.BytesIO(content)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatUnsupported):
        list(decode(tmp_path / "none.wav"))


def test_a_file_that_breaks_off_gives_what_it_has() -> None:
    whole = wav(48_000).getvalue()
    pcm = np.concatenate(list(decode(io.BytesIO(whole[: len(whole) // 2]))))
    assert len(pcm) == pytest.approx(SECONDS * 8000, abs=100)


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("ptime_ms", [20, 60])
def test_opus_packets(ptime_ms: int, stereo: bool) -> None:
    decoder = OpusDecoder()
    parts = [decoder.decode(packet) for packet in tone_packets(60, ptime_ms=ptime_ms, stereo=stereo)]
    assert all(part is not None for part in parts)
    pcm = np.concatenate([*(part for part in parts if part is not None), decoder.drain()])
    assert len(pcm) == 60 * ptime_ms * 16
    assert frequency(pcm) == pytest.approx(440, abs=2)
    assert len(decoder.drain()) == 0


def test_a_bad_packet_is_told_and_the_next_is_heard() -> None:
    decoder = OpusDecoder()
    assert decoder.decode(b"\xff\xff\xff") is None
    assert decoder.decode(b"") is None
    assert decoder.decode(tone_packets()[3]) is not None


def test_silence_is_exact() -> None:
    decoder = OpusDecoder()
    silent = np.concatenate([decoder.silence(48_000 * 2 + 300), decoder.drain()])
    assert len(silent) == 32_100
    assert not silent.any()
