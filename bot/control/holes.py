"""Stretches in which somebody might have been captured and was not: what the transcript says of them.

A hole is stated when it ends, and while it goes on (:meth:`Absence.so_far`, :meth:`Withheld.so_far`): what is stated
again from the same moment is the same entry, longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from bot.events import AudioFrame, Gap, GapReason, GateState, ms_of

GAP_SAMPLES = 16_000
"""Shortest hole in a lane that the transcript states: one second."""
REMEMBERED = 16
"""Holes that ended and may yet prove to be lost, by what arrives for them."""
LATE_SPANS = 64

Span = tuple[int, int]
"""First sample, and the one after the last."""


class Absence:
    """One lane's holes: nobody sent, or what was sent never came. On the media thread.

    Which of the two is known when the hole ends, or later still, when what was held up arrives: what is stated again
    takes the place of what was stated before.
    """

    def __init__(self, participant_id: str, put: Callable[[Gap], object]) -> None:
        self._participant_id, self._put = participant_id, put
        self._from: int | None = None
        """Where frames stopped coming, or the gate opened without one, until a frame comes."""
        self._open = False
        self._turned_at = 0
        """Where the gate last opened or shut."""
        self._lost: deque[Span] = deque(maxlen=LATE_SPANS)
        """What of the holes was sent and lost."""
        self._ended: deque[Span] = deque(maxlen=REMEMBERED)
        self._untrue: set[Span] = set()
        """Holes that ended, of which more was lost than was stated."""

    def frame(self, frame: AudioFrame, known: int) -> None:
        """A frame was taken by a lane that was accounted for up to ``known``; one that came too late ends no hole."""
        if frame.end_sample <= known:
            return
        start = max(frame.start_sample, known)
        before = max(frame.start_sample - frame.lost_before, known, self._turned_at)
        if before < start and self._open:
            self._note_lost(before, start)
        if self._from is not None:
            self._end(self._from, start)
            self._from = None
        elif self._open:
            self._end(before, start)

    def rebooked(self, start: int, end: int) -> None:
        """What was counted as absent was lost."""
        self._note_lost(start, end)
        if self._from is None or start < self._from:
            self._untrue |= {hole for hole in self._ended if hole[0] < end and start < hole[1]}

    def began(self, at_sample: int) -> None:
        """A captured stretch ended because nothing came any more."""
        if self._open:
            self._from = max(at_sample, self._turned_at)
        else:  # it is told of later than of the gate that shut meanwhile
            self._end(at_sample, self._turned_at)

    def turned(self, state: GateState, at_sample: int) -> None:
        """The gate opened: absent until a frame comes. It shut: absent up to here."""
        self._open, self._turned_at = state is GateState.OPEN, at_sample
        if self._open:
            self._from = at_sample if self._from is None else self._from
        elif self._from is not None:
            self._end(self._from, at_sample)
            self._from = None

    def so_far(self, known: int) -> None:
        """State a hole that goes on, up to where the lane is accounted for, and what has become known of others."""
        for hole in sorted(self._untrue):
            self._state(*hole)
        self._untrue.clear()
        if self._open and self._from is not None:
            self._state(self._from, known)

    def _note_lost(self, start: int, end: int) -> None:
        if self._lost and self._lost[-1][0] <= start <= self._lost[-1][1]:
            first, last = self._lost.pop()
            start, end = first, max(last, end)
        self._lost.append((start, end))

    def _end(self, start: int, end: int) -> None:
        if end - start >= GAP_SAMPLES:
            self._ended.append((start, end))
            self._state(start, end)

    def _state(self, start: int, end: int) -> None:
        if end - start < GAP_SAMPLES:
            return
        for first, last, reason in pieces((start, end), self._lost):
            self._put(Gap(ms_of(first), ms_of(last), reason, self._participant_id))


def pieces(hole: Span, lost: Iterable[Span]) -> list[tuple[int, int, GapReason]]:
    """A hole as a reader is told of it: what was lost of it and what was absent, nothing shorter than a second."""
    at, end = hole
    found: list[tuple[int, int, GapReason]] = []
    for low, high in sorted(lost):
        first, last = max(low, at), min(high, end)
        if first >= last:
            continue
        if first > at:
            found.append((at, first, GapReason.ABSENT))
        elif found:  # goes on where the last one ended
            first = found.pop()[0]
        found.append((first, last, GapReason.LOST))
        at = last
    if at < end:
        found.append((at, end, GapReason.ABSENT))
    while len(found) > 1:
        shortest = min(range(len(found)), key=lambda n: found[n][1] - found[n][0])
        if found[shortest][1] - found[shortest][0] >= GAP_SAMPLES:
            break
        first, last = max(shortest - 1, 0), min(shortest + 1, len(found) - 1)
        reason = found[first if first != shortest else last][2]
        found[first : last + 1] = [(found[first][0], found[last][1], reason)]
    return found


class Withheld:
    """Whose lane is shut for want of their consent while others are captured. On the event loop."""

    def __init__(self, put: Callable[[Gap], object]) -> None:
        self._put = put
        self._from: dict[str, int] = {}

    def note(self, gates: Mapping[str, GateState], at_sample: int) -> None:
        """The gates are so from now on."""
        anybody = GateState.OPEN in gates.values()
        held = {who for who, state in gates.items() if anybody and state is GateState.WITHHELD}
        for who in self._from.keys() - held:
            self._state(who, self._from.pop(who), at_sample)
        for who in held - self._from.keys():
            self._from[who] = at_sample

    def so_far(self, now_sample: int) -> None:
        """State what goes on, up to now."""
        for who, start in self._from.items():
            self._state(who, start, now_sample)

    def _state(self, who: str, start: int, end: int) -> None:
        if end - start >= GAP_SAMPLES:
            self._put(Gap(ms_of(start), ms_of(end), GapReason.WITHHELD, who))
