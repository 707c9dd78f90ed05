"""What one lane costs on the media thread, in CPU-seconds per lane-second, printed as JSON.

Packets of the bundled dialogue's client lane go through the whole path (order, decode, resample, gate, seal, VAD,
windows) on a virtual clock, as fast as they can; recognition is not in it.
"""

# ruff: noqa: INP001 -- a script, not a package

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from bot.demo import dialogue
from bot.events import GateState, LaneLevel, SpeechWindow
from bot.media.decode import OPUS_RATE_HZ, decode
from bot.media.pipeline import LanePipeline
from bot.media.rtp import RtpIn
from bot.media.spool import Spool
from bot.media.stream import LaneStream
from bot.media.vad import SileroVad
from bot.media.windows import BATCH, FRAME
from bot.store.vault import FileVault

PTIME_MS = 60
BLOCK = OPUS_RATE_HZ * PTIME_MS // 1000


def encoded(path: Path) -> list[bytes]:
    """The lane as Opus packets of 60 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE_HZ, "mono", "s16"
    encoder.options = {"application": "voip", "frame_duration": str(PTIME_MS)}
    encoder.bit_rate = 20_000
    encoder.open()
    sound = np.repeat(np.concatenate(list(decode(path))), 3)
    packets: list[bytes] = []
    for at in range(0, len(sound) - BLOCK, BLOCK):
        frame = av.AudioFrame.from_ndarray(sound[None, at : at + BLOCK], format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE_HZ, at
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def main() -> None:
    """Measure and print."""
    vad = SileroVad()
    state, frames = vad.new_state(), np.zeros(BATCH * FRAME, np.int16)
    vad.probabilities(frames, state)
    began = time.process_time()
    runs = 2000
    for _ in range(runs):
        vad.probabilities(frames, state)
    vad_ms = (time.process_time() - began) * 1000 / runs / BATCH

    packets = encoded(dialogue.load().path("client"))
    windows: list[SpeechWindow] = []
    levels: list[LaneLevel] = []
    now = [0]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = LanePipeline(
            lane_id="lane",
            vad=vad,
            spool=Spool(Path(folder) / "spool", FileVault(Path(folder) / "vault", bytes(32)), "ses", "lane"),
            on_window=windows.append,
            on_level=levels.append,
        )
        pipeline.set_state(GateState.OPEN, 0)
        stream = LaneStream("lane", pipeline.gate, now_sample=lambda: now[0], later=lambda _delay, _fn: None)
        began, wall = time.process_time(), time.monotonic()
        for number, payload in enumerate(packets):
            now[0] = 16_000 + number * 960
            stream.packet(RtpIn(1, 1, number % 2**16, number * BLOCK % 2**32, payload, now[0]))
            while windows:
                if (window := windows.pop()).final:
                    pipeline.committed(window.end_sample)
        cpu, wall = time.process_time() - began, time.monotonic() - wall
        pipeline.finish(now[0])
        assert pipeline.ledger().closes
    seconds = len(packets) * PTIME_MS / 1000
    figures = {
        "vad_ms_per_32ms_frame": round(vad_ms, 4),
        "lane_cpu_s_per_s": round(cpu / seconds, 5),
        "lane_wall_s_per_s": round(wall / seconds, 5),
        "seconds": seconds,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
