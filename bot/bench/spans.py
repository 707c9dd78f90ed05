"""Stretches of a lane on the call's clock, in samples, and which words of a conversation fell between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from bot.bench.wer import TimedWord, spread
from bot.demo.dialogue import Turn
from bot.demo.wer import matches, normalise

Span = tuple[int, int]
"""First sample, and just after the last."""

REACH_MS = 300
"""How far outside its turn a word of the offline pass may lie and still be taken for one of it."""
WHOLE = 0.9
"""A word of which so much was captured is whole: its times are no better than that."""
SHORTEST_MS = 40
"""A word that has less of its turn than this has no time of its own."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same samples as spans in order that neither overlap nor touch."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        elif end > start:
            out.append((start, end))
    return out


def common(spans: Iterable[Span], others: Iterable[Span]) -> int:
    """How many samples lie in both; each is counted once."""
    ours, theirs = merged(spans), merged(others)
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in ours for b in theirs if b[0] < a[1] and b[1] > a[0])


def between(stretches: Sequence[Span]) -> list[Span]:
    """The pauses between stretches in which the gates were open."""
    return [(before[1], after[0]) for before, after in itertools.pairwise(stretches)]


@dataclass(frozen=True, slots=True)
class Lost:
    """Words whose captured samples reached no final."""

    before_pause: int = 0
    after_resume: int = 0
    words: int = 0
    """Whole words that were looked for."""
    cut: int = 0
    """Words that were cut, and of which half and more was captured."""
    cut_lost: int = 0
    """Of those, the ones whose captured part reached no final."""

    def __add__(self, other: Lost) -> Lost:
        mine, theirs = astuple(self), astuple(other)
        return Lost(*(a + b for a, b in zip(mine, theirs, strict=True)))


def lost_words(words: Sequence[Span], stretches: Sequence[Span], finals: Sequence[Span]) -> Lost:
    """Which words the gates let in and no final has: those of which the finals hold less than half.

    A word is lost before the pause when that is nearer, else after the resume. A word that a pause or a resume cut is
    counted apart, where at least half of it was captured: the first 100 ms of a word after a silence are too little
    for anybody to say what it was going to be, and the windows take so little for a click.
    """
    found = Lost()
    last = len(stretches) - 1
    for number, (low, high) in enumerate(stretches):
        for start, end in words:
            first, until = max(start, low), min(end, high)
            length = until - first
            if length <= 0 or 2 * length < end - start:
                continue
            gone = 2 * common([(first, until)], finals) < length
            if length < WHOLE * (end - start):
                found += Lost(cut=1, cut_lost=int(gone))
                continue
            late = number > 0 and (number == last or (start + end) / 2 - low < high - (start + end) / 2)
            found += Lost(int(gone and not late), int(gone and late), 1)
    return found


def placed(turns: Sequence[Turn], heard: Sequence[TimedWord]) -> list[TimedWord]:
    """The words of one lane's turns with their times.

    What is said and when each turn begins and ends is known from the script. Inside a turn the times are those of the
    offline pass, as far as it heard the same words; the others share the room between their neighbours.
    """
    return [word for turn in turns for word in _in_turn(turn, heard)]


def _in_turn(turn: Turn, heard: Sequence[TimedWord]) -> list[TimedWord]:
    texts = normalise(turn.text)
    near = [
        word
        for word in heard
        if turn.start_ms - REACH_MS <= (word.start_ms + word.end_ms) / 2 <= turn.end_ms + REACH_MS
    ]
    timed: dict[int, TimedWord] = {}
    floor_ms = float(turn.start_ms)
    for mine, theirs in sorted(
        (mine, theirs) for theirs, mine in matches(texts, [word.text for word in near]).items()
    ):
        start_ms, end_ms = max(near[theirs].start_ms, floor_ms), min(near[theirs].end_ms, turn.end_ms)
        if end_ms - start_ms >= SHORTEST_MS:
            timed[mine] = TimedWord(texts[mine], start_ms, end_ms)
            floor_ms = end_ms
    out: list[TimedWord] = []
    at = 0
    while at < len(texts):
        if at in timed:
            out.append(timed[at])
            at += 1
            continue
        until = next((i for i in range(at, len(texts)) if i in timed), len(texts))
        start_ms = out[-1].end_ms if out else turn.start_ms
        end_ms = timed[until].start_ms if until in timed else turn.end_ms
        out += spread(" ".join(texts[at:until]), start_ms, max(end_ms, start_ms + SHORTEST_MS))
        at = until
    return out
