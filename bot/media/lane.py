"""The gate: the one way in for sound, and the exact account of every sample of a lane.

A lane walks along the call's clock and puts each sample under exactly one heading (:class:`bot.events.Ledger`). Gate
states hold from a sample on; frames are cut there. Time in which no frame came is accounted for later, because sound
spoken before a boundary may still be under way when the boundary is set.

Sound may have been spoken later than where it lies, or earlier (:class:`bot.events.AudioFrame`). The gate then shuts
earlier, or lets in later, by so much: nothing spoken after a pause, or before a resume, is captured.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import asdict
from typing import Protocol

import numpy as np

from bot.events import (
    SAMPLES_PER_MS,
    AudioFrame,
    BoundaryReason,
    CapturedAudio,
    GateState,
    LaneBoundary,
    LaneLevel,
    Ledger,
    Pcm,
)

BRIDGE = 250 * SAMPLES_PER_MS
"""A hole shorter than this (a few lost packets) does not end a captured stretch."""
ABSENT_AFTER = 1000 * SAMPLES_PER_MS
"""While the gate is open, how long a frame may be under way before its time is counted as absent."""
LEVEL_EVERY = 200 * SAMPLES_PER_MS
SILENT_DBFS = -96.0
"""What digital silence reads: the quietest a 16-bit sample can be."""
REMEMBERED_HOLES = 64

_CLOSING = {
    GateState.OFF: BoundaryReason.FINISHED,
    GateState.PAUSED: BoundaryReason.PAUSED,
    GateState.WITHHELD: BoundaryReason.WITHHELD,
}
_HEADING = {GateState.OFF: "off", GateState.PAUSED: "paused", GateState.WITHHELD: "withheld"}


class LaneSink(Protocol):
    """What a lane hands on. Called on the media thread."""

    def captured(self, audio: CapturedAudio) -> None:
        """Samples the gate let through."""
        ...

    def boundary(self, boundary: LaneBoundary) -> None:
        """A captured stretch ended."""
        ...

    def level(self, level: LaneLevel) -> None:
        """How loud the lane was, about five times a second while it is captured."""
        ...

    def rebooked(self, start_sample: int, end_sample: int) -> None:
        """Time that was counted as absent was lost: what was sent for it came too late."""
        ...


class Lane:
    """One participant's lane: gate and ledger. ``set_state`` may be called from any thread, the rest from one."""

    def __init__(
        self,
        lane_id: str,
        sink: LaneSink,
        *,
        ledger: Ledger = Ledger(),  # noqa: B008 -- frozen
        in_flight_ms: int = 400,
    ) -> None:
        self.lane_id = lane_id
        self._sink = sink
        self._in_flight = in_flight_ms * SAMPLES_PER_MS
        self._counts: dict[str, int] = asdict(ledger)
        self._cursor = ledger.elapsed
        """Everything before it is accounted for."""
        self._state = GateState.OFF
        self._changes: deque[tuple[int, GateState]] = deque()
        """States to come, in order of the sample they hold from."""
        self._late = self._early = 0
        """See :class:`bot.events.AudioFrame`; of the latest frame."""
        self._opened_at = 0
        """Where the gate opened last: what was spoken before is not captured, however late it comes."""
        self._before = GateState.OFF
        """What it was until then."""
        self._lock = threading.Lock()
        """Guards ``_changes`` and ``_cursor`` against ``set_state``; never held while the sink is called."""
        self._in_stretch = False
        self._stretch_end = ledger.elapsed
        """End of what was captured last."""
        self._holes: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_HOLES)
        """Spans counted as absent not long ago: what arrives for them after all was lost, not absent."""
        self._level_samples = 0
        self._level_squares = 0.0
        self._level_peak = 0

    @property
    def ledger(self) -> Ledger:
        """The account so far, up to :attr:`cursor`. The lane does not tell speech from silence."""
        return Ledger(**self._counts)

    @property
    def cursor(self) -> int:
        """The sample up to which everything is accounted for."""
        return self._cursor

    # -- in -----------------------------------------------------------------------------------------------------------

    def set_state(self, state: GateState, at_sample: int) -> int:
        """Let ``state`` hold from ``at_sample`` on; the sample from which it does.

        It never reaches back: not before an earlier change (whose moment was promised to somebody), and not before
        what is already accounted for. The room hands on no frame before its time, so "now" is never refused.
        """
        with self._lock:
            at = max(at_sample, self._cursor, self._changes[-1][0] if self._changes else 0)
            self._changes.append((at, state))
        return at

    def gate(self, frame: AudioFrame) -> None:
        """Take a frame. The only function through which sound enters."""
        self._late, self._early = frame.late, frame.early
        pcm = frame.pcm
        late = min(self._cursor - frame.start_sample, len(pcm))
        if late > 0:
            self._too_late(frame.start_sample, frame.start_sample + late)
            pcm = pcm[late:]
        start = max(frame.start_sample, self._cursor)
        lost_from = frame.start_sample - frame.lost_before
        if lost_from < self._cursor and frame.lost_before:
            self._too_late(lost_from, min(frame.start_sample, self._cursor))
        self._account("absent", min(max(lost_from, self._cursor), start))
        self._account("lost", start)
        if len(pcm):
            self._take(pcm, start)

    def elapse(self, now_sample: int) -> None:
        """Account for time in which no frame came, as far as none can come any more."""
        while True:
            change = self._next_change()
            if self._state is GateState.OPEN and (change is None or now_sample < change + self._in_flight):
                self._account("absent", min(now_sample - ABSENT_AFTER, change or now_sample))
                return
            limit = now_sample - self._in_flight
            if change is None or change > limit:
                self._account("absent", limit)
                return
            self._account("absent", change)
            self._switch()

    def finish(self, at_sample: int) -> None:
        """Account for everything up to ``at_sample``, close the gate there and end the last stretch."""
        self._close(at_sample, BoundaryReason.FINISHED)

    def discard(self, at_sample: int) -> None:
        """As :meth:`finish`, but what is open is thrown away instead of ended."""
        self.discard_open()
        self._close(at_sample, BoundaryReason.DISCARDED)

    def discard_open(self) -> None:
        """Throw away what is captured and not yet in words, and go on."""
        self._end_stretch(BoundaryReason.DISCARDED, always=True)

    def resume_at(self, sample: int, captured: int) -> None:
        """After a restart: account for time up to ``sample``: so much was captured, the rest absent."""
        span = sample - self._cursor
        if span < captured:
            raise ValueError("more samples than time")
        self._counts["captured"] += captured
        self._counts["absent"] += span - captured
        with self._lock:
            self._counts["elapsed"] += span
            self._cursor = sample

    # -- the walk -----------------------------------------------------------------------------------------------------

    def _take(self, pcm: Pcm, start: int) -> None:
        """Walk over samples that are there, cutting them where the state changes."""
        end = start + len(pcm)
        while self._cursor < end:
            at, stop = self._step(end)
            if self._state is not GateState.OPEN:
                self._counts[_HEADING[self._state]] += stop - at
                continue
            if self._early and at < self._opened_at + self._early:  # said before the gate opened
                shut_to = min(stop, self._opened_at + self._early)
                self._counts[_HEADING[self._before]] += shut_to - at
                at = shut_to
            piece = pcm[at - start : stop - start]
            if not len(piece):
                continue
            self._counts["captured"] += len(piece)
            self._in_stretch, self._stretch_end = True, stop
            self._sink.captured(CapturedAudio(self.lane_id, at, piece))
            self._measure(piece, stop)
        self._switch_due()

    def _account(self, heading: str, end: int) -> None:
        """Walk over time without samples: ``heading`` where the gate is open, the state's own heading elsewhere."""
        while self._cursor < end:
            at, stop = self._step(end)
            if self._state is not GateState.OPEN:
                self._counts[_HEADING[self._state]] += stop - at
                continue
            self._counts[heading] += stop - at
            if heading == "absent":
                self._remember_hole(at, stop)
            if self._in_stretch and stop - self._stretch_end >= BRIDGE:
                self._end_stretch(BoundaryReason.LOST if heading == "lost" else BoundaryReason.ABSENT)

    def _step(self, end: int) -> tuple[int, int]:
        """Move the cursor to ``end`` or the next change, whichever comes first; the span passed, in today's state."""
        self._switch_due()
        with self._lock:
            at = self._cursor
            self._cursor = min(end, self._due()) if self._changes else end
            self._counts["elapsed"] += self._cursor - at
            return at, self._cursor

    def _next_change(self) -> int | None:
        with self._lock:
            return self._due() if self._changes else None

    def _due(self) -> int:
        """The sample from which the next change holds, given when sound was spoken. With the lock held."""
        at, state = self._changes[0]
        return max(self._cursor, at if state is GateState.OPEN else at - self._late)

    def _switch_due(self) -> None:
        while (change := self._next_change()) is not None and change <= self._cursor:
            self._switch()

    def _switch(self) -> None:
        with self._lock:
            at = self._due()
            _, state = self._changes.popleft()
        if state is not GateState.OPEN and self._state is GateState.OPEN:
            self._end_stretch(_CLOSING[state], at=at)
        if state is GateState.OPEN and self._state is not GateState.OPEN:
            self._opened_at, self._before = at, self._state
        self._state = state

    def _close(self, at_sample: int, reason: BoundaryReason) -> None:
        self._account("absent", at_sample)
        self._end_stretch(reason, at=at_sample, always=True)
        with self._lock:
            self._changes.clear()
        self._state = GateState.OFF

    def _end_stretch(self, reason: BoundaryReason, *, at: int | None = None, always: bool = False) -> None:
        if not self._in_stretch and not always:
            return
        self._in_stretch = False
        # a boundary lies where capture ended, which may be before the change when sound stopped coming earlier
        self._sink.boundary(LaneBoundary(self.lane_id, self._stretch_end if at is None else at, reason))

    # -- what came too late --------------------------------------------------------------------------------------------

    def _remember_hole(self, start: int, end: int) -> None:
        if self._holes and self._holes[-1][1] == start:
            start = self._holes.pop()[0]
        self._holes.append((start, end))

    def _too_late(self, start: int, end: int) -> None:
        """Sound that was sent but cannot be used any more: where its time was counted as absent, it was lost."""
        kept: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_HOLES)
        for hole_start, hole_end in self._holes:
            low, high = max(hole_start, start), min(hole_end, end)
            if low >= high:
                kept.append((hole_start, hole_end))
                continue
            self._counts["absent"] -= high - low
            self._counts["lost"] += high - low
            self._sink.rebooked(low, high)
            kept.extend(part for part in ((hole_start, low), (high, hole_end)) if part[0] < part[1])
        self._holes = kept

    # -- loudness -----------------------------------------------------------------------------------------------------

    def _measure(self, pcm: Pcm, end: int) -> None:
        wide = pcm.astype(np.float32)
        self._level_squares += float(np.dot(wide, wide))
        self._level_peak = max(self._level_peak, abs(int(pcm.max())), abs(int(pcm.min())))
        self._level_samples += len(pcm)
        if self._level_samples < LEVEL_EVERY:
            return
        rms = math.sqrt(self._level_squares / self._level_samples)
        self._sink.level(LaneLevel(self.lane_id, end, _dbfs(rms), _dbfs(self._level_peak)))
        self._level_samples, self._level_squares, self._level_peak = 0, 0.0, 0


def _dbfs(value: float) -> float:
    return max(SILENT_DBFS, 20 * math.log10(value / 32768)) if value > 0 else SILENT_DBFS
