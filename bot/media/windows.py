"""The captured lane is cut into speech windows.

Two windows of a lane never share a sample, and every sample that the VAD calls speech lies in exactly one window
(but for blips of less than :data:`MIN_SPEECH_FRAMES`). A window takes in up to half a second before the first speech,
because onsets are quiet, and most of the silence that ended it, because endings are quiet too. No window reaches
across a boundary: not with its sound, not with its pre-roll, not with the model's memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bot.events import (
    SAMPLES_PER_MS,
    BoundaryReason,
    CapturedAudio,
    LaneBoundary,
    Pcm,
    SpeechWindow,
    WindowEnd,
)

FRAME = 512
"""The VAD's own step: 32 ms."""
BATCH = 3
"""Frames per run of the model: a run of three costs 0.065 ms a frame, single runs 0.089."""
START_PROBABILITY = 0.35
END_PROBABILITY = 0.2
"""Between the two what was goes on: hysteresis. The model's usual 0.5 leaves out short answers on real calls (a plain
"No." at full loudness reached 0.44); at 0.35 every timed turn of three calls (269) is in a window, for 2 % more sound,
and seventeen minutes of noise and music make no window."""
PRE_ROLL = 16 * FRAME
"""512 ms."""
END_SILENCE = 900 * SAMPLES_PER_MS
"""Silence that ends a window. People stop that long within a sentence, and Whisper hears whole sentences better: 900 ms
cost 1.2 points fewer word errors than 550 ms on 30 lane-minutes of real calls, and a sixth less work."""
LONG = 12_000 * SAMPLES_PER_MS
LONG_END_SILENCE = 300 * SAMPLES_PER_MS
"""A window longer than :data:`LONG` takes the first shorter silence, so that few are split by force."""
TRAIL = 14 * FRAME
"""Silence kept at a window's end: 448 ms. In whole frames, so that a lane that is read again from a window's end on is
cut into the same windows again."""
SETTLED = 19 * FRAME
"""Silence after which a window is taken to be over, though it is not ended yet: 608 ms. On the same calls a third of
these silences went on as speech; after 448 ms, more than half."""
MAX_WINDOW = 20_000 * SAMPLES_PER_MS
"""Windows this long are split at their quietest point."""
SPLIT_FROM = 8_000 * SAMPLES_PER_MS
SPLIT_MARGIN = 500 * SAMPLES_PER_MS
"""The split lies between these: not before the one, not within the other of the end."""
SPLIT_SPAN = 5
"""Frames over which quiet is judged."""
FIRST = 1_000 * SAMPLES_PER_MS
"""A growing window is sent when it is this long, half a second of it pre-roll ..."""
GROWTH = 1_500 * SAMPLES_PER_MS
"""... and again after this much more."""
BREATH = 4 * FRAME
"""A growing window is not sent in a silence of 128 ms and more."""
MIN_SPEECH_FRAMES = 4
"""Fewer are a click. Single spoken digits hold nine and more, the shortest answer of a real call five."""
MAX_BRIDGE = 500 * SAMPLES_PER_MS
"""A hole that came without a boundary is filled with silence up to this length."""


class FrameModel(Protocol):
    """What rates frames: :class:`bot.media.vad.SileroVad`, or a scripted one in tests."""

    def probabilities(self, pcm: Pcm, state: Any, /) -> npt.NDArray[np.float32]:
        """One probability of speech per 512 samples, moving ``state`` on."""
        ...

    def new_state(self) -> Any:
        """The state at the beginning of a stretch."""
        ...


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int
    speech: bool
    prominence: float
    """Loudness in dB with the probability of speech added: what a split avoids."""


@dataclass(slots=True)
class _Open:
    window_id: str
    start: int
    speech_end: int
    """Just after the last frame of speech."""
    sent: int = 0
    """Length when it was last sent."""
    settled_at: int = 0
    """The end of speech for which it was sent as settled."""


class Windower:
    """Cuts one lane. Runs on the media thread.

    ``make_id`` names a window by its first sample. ``count_from`` is the sample from which speech and silence are
    counted: after a restart, what was counted before is heard again but not counted again.
    """

    def __init__(
        self,
        lane_id: str,
        model: FrameModel,
        on_window: Callable[[SpeechWindow], None],
        make_id: Callable[[int], str] | None = None,
        *,
        speech: int = 0,
        silence: int = 0,
        count_from: int = 0,
    ) -> None:
        self._lane_id = lane_id
        self._model = model
        self._on_window = on_window
        self._make_id = make_id or (lambda start: f"{lane_id}-{start}")
        self.speech, self.silence = speech, silence
        self._count_from = count_from
        self._reset(0)

    def _reset(self, at: int) -> None:
        """Begin afresh: nothing that was heard before ``at`` is known any more."""
        self._state = self._model.new_state()
        self._tape: Pcm = np.zeros(0, np.int16)
        self._tape_start = self._rated = self._floor = at
        """First sample kept; just after the last rated; no window may begin before."""
        self._frames: deque[_Frame] = deque()
        self._bridges: deque[tuple[int, int]] = deque()
        self._open: _Open | None = None
        self._talking = False
        self._fresh = True

    @property
    def needed_from(self) -> int:
        """Sound before this sample can be in no window any more, but for those already ended."""
        return self._open.start if self._open else max(self._floor, self._rated - PRE_ROLL)

    @property
    def open_from(self) -> int | None:
        """Where the window begins that is open; None: nobody is speaking."""
        return self._open.start if self._open else None

    # -- in ------------------------------------------------------------------------------------------------------------

    def captured(self, audio: CapturedAudio) -> None:
        """Take in the next samples of the lane."""
        hole = 0 if self._fresh else audio.start_sample - self._tape_end
        if hole < 0 or hole > MAX_BRIDGE:
            self.boundary(LaneBoundary(self._lane_id, self._tape_end, BoundaryReason.LOST))
        if self._fresh:
            self._reset(audio.start_sample)
            self._fresh = False
        elif hole:
            self._bridges.append((self._tape_end, audio.start_sample))
            self._tape = np.concatenate((self._tape, np.zeros(hole, np.int16)))
        self._tape = np.concatenate((self._tape, audio.pcm))
        ready = (self._tape_end - self._rated) // FRAME
        if ready >= BATCH:
            self._rate(ready)
            self._send_growing()
            self._forget()

    def in_words(self, audio: CapturedAudio) -> None:
        """The next samples are in words already: counted as speech, and in no window again."""
        self.boundary(LaneBoundary(self._lane_id, self._tape_end, BoundaryReason.LOST))
        self.speech += max(0, audio.end_sample - max(audio.start_sample, self._count_from))
        self._reset(audio.end_sample)

    def boundary(self, boundary: LaneBoundary) -> None:
        """The stretch ended: what is open becomes final, or goes without a trace when it was discarded."""
        left = self._tape_end - self._rated
        if left:
            keep = self._tape
            self._tape = np.concatenate((keep, np.zeros(-left % FRAME, np.int16)))
            self._rate(-(-left // FRAME), real_end=self._tape_end - (-left % FRAME), cut=boundary.reason)
            self._tape = keep
        if self._open and boundary.reason is not BoundaryReason.DISCARDED:
            self._end(min(self._tape_end, self._open.speech_end + TRAIL), WindowEnd.BOUNDARY)
        self._reset(max(boundary.at_sample, self._tape_end))

    # -- rating --------------------------------------------------------------------------------------------------------

    @property
    def _tape_end(self) -> int:
        return self._tape_start + len(self._tape)

    def _rate(self, count: int, *, real_end: int | None = None, cut: BoundaryReason | None = None) -> None:
        """Have the next ``count`` frames rated and act on each. ``real_end``: beyond it there is only padding."""
        begin = self._rated - self._tape_start
        pcm = self._tape[begin : begin + count * FRAME]
        silent_ending = cut is BoundaryReason.DISCARDED
        wide = pcm.reshape(-1, FRAME).astype(np.float32)
        loudness = 10 * np.log10(np.mean(wide * wide, axis=1) + 1.0)
        for probability, loud in zip(self._model.probabilities(pcm, self._state), loudness, strict=True):
            start, end = self._rated, self._rated + FRAME
            self._rated = end if real_end is None else min(end, real_end)
            self._talking = probability >= START_PROBABILITY or (self._talking and probability >= END_PROBABILITY)
            self._count(start, self._rated)
            self._frames.append(_Frame(start, self._talking, float(loud + 20 * probability)))
            if not silent_ending:
                self._step(start, self._rated)

    def _count(self, start: int, end: int) -> None:
        real = end - max(start, min(self._count_from, end))
        for low, high in self._bridges:
            real -= max(0, min(high, end) - max(low, start, self._count_from))
        if self._talking:
            self.speech += real
        else:
            self.silence += real

    def _step(self, start: int, end: int) -> None:
        if self._open is None:
            if not self._talking:
                return
            first = max(self._floor, start - PRE_ROLL, self._tape_start)
            self._open = _Open(self._make_id(first), first, end)
        elif self._talking:
            self._open.speech_end = end
        length, quiet = end - self._open.start, end - self._open.speech_end
        if quiet >= (END_SILENCE if length < LONG else LONG_END_SILENCE):
            self._end(min(end, self._open.speech_end + TRAIL), WindowEnd.SILENCE)
        elif length >= MAX_WINDOW:
            self._split()
        elif quiet >= SETTLED and self._open.settled_at != self._open.speech_end:
            self._send_settled(self._open)

    # -- out -----------------------------------------------------------------------------------------------------------

    def _split(self) -> None:
        """End the open window at its quietest point and go on with the rest, sharing no sample."""
        assert self._open is not None
        low, high = self._open.start + SPLIT_FROM, self._rated - SPLIT_MARGIN
        frames = [frame for frame in self._frames if low <= frame.start < high]
        prominence = np.convolve([frame.prominence for frame in frames], np.ones(SPLIT_SPAN), mode="valid")
        at = frames[int(np.argmin(prominence)) + SPLIT_SPAN // 2].start
        speech_end = self._open.speech_end
        self._end(at, WindowEnd.FORCED)
        if any(frame.speech and frame.start >= at for frame in self._frames):
            self._open = _Open(self._make_id(at), at, speech_end)

    def _end(self, end: int, why: WindowEnd) -> None:
        assert self._open is not None
        window, self._open = self._open, None
        if self._speech_frames(window.start, end) < MIN_SPEECH_FRAMES and not window.sent:
            return
        self._floor = end
        self._send(window, end, why)

    def _send_growing(self) -> None:
        window = self._open
        if window is None or self._rated - window.start - window.sent < (GROWTH if window.sent else FIRST):
            return
        if self._rated - window.speech_end >= BREATH:
            return  # it goes on with the next word, or is sent as settled
        if self._speech_frames(window.start, self._rated) >= MIN_SPEECH_FRAMES:
            self._send(window, self._rated, None)
            window.sent = self._rated - window.start

    def _send_settled(self, window: _Open) -> None:
        """The speaker fell silent: send just what the window will be if nothing more is said."""
        window.settled_at = window.speech_end
        end = window.speech_end + TRAIL
        if self._speech_frames(window.start, end) >= MIN_SPEECH_FRAMES:
            self._send(window, end, None, settled=True)
            window.sent = end - window.start

    def _send(self, window: _Open, end: int, why: WindowEnd | None, *, settled: bool = False) -> None:
        pcm = self._tape[window.start - self._tape_start : end - self._tape_start].copy()
        speech = min(len(pcm), self._speech_frames(window.start, end) * FRAME)
        spans = self._speech_spans(window.start, end)
        self._on_window(SpeechWindow(window.window_id, self._lane_id, window.start, pcm, speech, why, settled, spans))

    def _speech_frames(self, start: int, end: int) -> int:
        return sum(1 for frame in self._frames if frame.speech and start <= frame.start < end)

    def _speech_spans(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """Where frames of speech are, counted from ``start``, neighbours as one."""
        spans: list[tuple[int, int]] = []
        for frame in self._frames:
            if frame.speech and start <= frame.start < end:
                low, high = frame.start - start, min(frame.start + FRAME, end) - start
                spans[-1:] = [(spans[-1][0], high)] if spans and spans[-1][1] == low else [*spans[-1:], (low, high)]
        return tuple(spans)

    def _forget(self) -> None:
        """Drop the sound that no window can need any more."""
        keep = self.needed_from
        if keep - self._tape_start >= PRE_ROLL:
            self._tape = self._tape[keep - self._tape_start :].copy()
            self._tape_start = keep
        while self._frames and self._frames[0].start < keep:
            self._frames.popleft()
        while self._bridges and self._bridges[0][1] <= self._rated:
            self._bridges.popleft()
