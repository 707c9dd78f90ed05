"""Where sound goes behind the gate, watched from outside: nothing of what is watched is changed.

While :func:`watching`, every sample handed to the windows (their pre-roll and the VAD see nothing else), to the VAD,
to the spool, to the recogniser's queue and to the engine is noted with its place on the call's clock. The place is what
the code says it is; so that nobody has to take its word for it, whoever drives the sound may mark it: of a marked
sample the lowest bit says whether it was said while recording was paused.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Any

import numpy as np

from bot.asr.captions import LaneVoice
from bot.asr.engine import AsrEngine, Recognition
from bot.asr.scheduler import Scheduler
from bot.bench.spans import Span
from bot.events import CapturedAudio, Pcm, Segment, SpeechWindow
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.media.windows import Windower

REMEMBERED = 256
"""Windows of a lane that the engine may still be given."""


class Place(StrEnum):
    """Where a sample was seen."""

    WINDOWS = "windows"
    """The growing window and its pre-roll."""
    VAD = "vad"
    SPOOL = "spool"
    DISK = "disk"
    """What the spool held when it was opened and read."""
    QUEUE = "queue"
    ENGINE = "engine"


class Watch:
    """What was seen. With ``marked``, samples carry the mark described above."""

    def __init__(self, *, marked: bool = False) -> None:
        self._marked = marked
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.seen: defaultdict[tuple[str, Place], list[Span]] = defaultdict(list)
        """Spans by lane and place; of the VAD there are none, it is not told where its sound lies."""
        self.off_record: Counter[Place] = Counter()
        """Samples marked as said while recording was paused."""
        self.voices: dict[str, LaneVoice] = {}
        """Whose lanes they are."""
        self.windows: dict[str, tuple[str, Span]] = {}
        """Lane and span of every window that ended, by its id."""
        self.worded: set[str] = set()
        """Windows whose final has words."""
        self.heard: list[str] = []
        """All that the engine made of anything, drafts too."""
        self._given: defaultdict[str, deque[SpeechWindow]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def audio(self, place: Place, audio: CapturedAudio) -> None:
        """Samples of a lane came somewhere."""
        spans = self.seen[audio.lane_id, place]
        if spans and spans[-1][1] == audio.start_sample:
            spans[-1] = (spans[-1][0], audio.end_sample)
        else:
            spans.append((audio.start_sample, audio.end_sample))
        self.content(place, audio.pcm)

    def content(self, place: Place, pcm: Pcm) -> None:
        """Count what is marked."""
        if self._marked and (said := int(np.count_nonzero(pcm & 1))):
            self.off_record[place] += said

    def window(self, window: SpeechWindow, voice: LaneVoice) -> None:
        """A window was given to the recogniser."""
        self.voices[window.lane_id] = voice
        self._given[window.lane_id].append(window)
        self.audio(Place.QUEUE, CapturedAudio(window.lane_id, window.start_sample, window.pcm))
        if window.final:
            self.windows[window.window_id] = (window.lane_id, (window.start_sample, window.end_sample))

    def segment(self, segment: Segment) -> None:
        """The recogniser answered."""
        if segment.final and segment.text:
            self.worded.add(segment.segment_id)

    def engine(self, pcm: Pcm) -> None:
        """The engine is given a sound: one of the windows or a part of one, or it is a fault of this watch."""
        for windows in list(self._given.values()):
            for window in list(windows):
                if window.pcm is pcm or window.pcm is pcm.base:
                    skipped = (pcm.ctypes.data - window.pcm.ctypes.data) // pcm.itemsize
                    self.audio(Place.ENGINE, CapturedAudio(window.lane_id, window.start_sample + skipped, pcm))
                    return
        raise LookupError("the engine was given a sound that is no window")

    def first_after(self, lane_id: str, sample: int) -> int | None:
        """The first sample of a lane, from this one on, that was captured."""
        return min((max(a, sample) for a, b in self.seen[lane_id, Place.WINDOWS] if b > sample), default=None)

    def finals(self, lane_id: str, ids: set[str] | None = None) -> list[Span]:
        """The windows of a lane whose finals have words; ``ids``: only these."""
        kept = self.worded if ids is None else ids
        return [span for window_id, (lane, span) in self.windows.items() if lane == lane_id and window_id in kept]


@contextmanager
def watching(watch: Watch, engine: type[AsrEngine]) -> Iterator[None]:
    """Note everything in ``watch``; ``engine`` is the class whose input is looked at."""

    def windows(real: Callable[..., Any]) -> Callable[..., Any]:
        def captured(self: Windower, audio: CapturedAudio) -> None:
            watch.audio(Place.WINDOWS, audio)
            real(self, audio)

        return captured

    def vad(real: Callable[..., Any]) -> Callable[..., Any]:
        def probabilities(self: SileroVad, pcm: Pcm, state: Any) -> Any:
            watch.content(Place.VAD, pcm)
            return real(self, pcm, state)

        return probabilities

    def spool(real: Callable[..., Any]) -> Callable[..., Any]:
        def append(self: Spool, audio: CapturedAudio) -> None:
            watch.audio(Place.SPOOL, audio)
            real(self, audio)

        return append

    def queue(real: Callable[..., Any]) -> Callable[..., Any]:
        def submit(
            self: Scheduler,
            window: SpeechWindow,
            voice: LaneVoice,
            deliver: Callable[[Segment], None],
            on_set_aside: Any = None,
        ) -> Any:
            def noted(segment: Segment) -> None:
                watch.segment(segment)
                deliver(segment)

            watch.window(window, voice)
            return real(self, window, voice, noted, on_set_aside)

        return submit

    def decode(real: Callable[..., Any]) -> Callable[..., Any]:
        def recognise(self: AsrEngine, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
            watch.engine(pcm)
            heard: Recognition = real(self, pcm, language=language, word_times=word_times)
            watch.heard.append(heard.text)
            return heard

        return recognise

    with ExitStack() as stack:
        for owner, name, around in (
            (Windower, "captured", windows),
            (SileroVad, "probabilities", vad),
            (Spool, "append", spool),
            (Scheduler, "submit", queue),
            (engine, "recognise", decode),
        ):
            stack.enter_context(_wrapped(owner, name, around))
        yield


@contextmanager
def _wrapped(owner: type, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    real = getattr(owner, name)
    setattr(owner, name, around(real))
    try:
        yield
    finally:
        setattr(owner, name, real)
