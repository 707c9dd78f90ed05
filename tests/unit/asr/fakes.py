"""A recogniser that says what its script says, and waits where a test wants it to."""

from __future__ import annotations

import threading

import numpy as np

from bot.asr.captions import LaneVoice
from bot.asr.engine import Recognition
from bot.events import Pcm, Role, SpeechWindow, WindowEnd

SECOND = 16_000


def voice(session: str = "s", lane: str = "l") -> LaneVoice:
    return LaneVoice(session, lane, f"person-{lane}", Role.CLIENT, "en")


def window(
    name: str,
    *,
    seconds: float = 1.0,
    start: int = 0,
    speech: float = 0.8,
    final: bool = True,
    settled: bool = False,
    lane: str = "l",
) -> SpeechWindow:
    """A window of loud noise whose first sample is its name's number, so that an engine can tell windows apart."""
    rng = np.random.default_rng(0)
    pcm = rng.integers(-8000, 8000, int(seconds * SECOND)).astype(np.int16)
    pcm[0] = int("".join(c for c in name if c.isdigit()) or 0)
    end = WindowEnd.SILENCE if final and not settled else None
    return SpeechWindow(name, lane, start, pcm, int(len(pcm) * speech), end, settled)


def heard(text: str, **over: object) -> Recognition:
    values: dict[str, object] = {
        "text": text, "words": (), "confidence": 0.8, "no_speech_prob": 0.05, "compression_ratio": 0.8,
        "language": "en",
    }  # fmt: skip
    return Recognition(**(values | over))  # type: ignore[arg-type]


class FakeEngine:
    """Says "said N" of the window numbered N. ``hold`` makes decodes wait for ``go``."""

    name = "fake"

    def __init__(self) -> None:
        self.order: list[tuple[int, bool]] = []
        self.failures: dict[int, int] = {}
        """How often the decode of a window still fails."""
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.hold = False

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        number = int(pcm[0])
        self.order.append((number, word_times))
        self.started.release()
        if self.hold:
            assert self.go.acquire(timeout=20)
        if self.failures.get(number, 0):
            self.failures[number] -= 1
            raise RuntimeError("what somebody said")
        return heard(f"said {number}")
