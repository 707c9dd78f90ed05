"""Scoring a live call: word errors per role, and how late its captions were.

Times are milliseconds into the source lanes, which start together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.demo.wer import WordErrors, matches, normalise, word_errors

ROLES = ("doctor", "patient")
MAX_TRAILING = 2
"""Words at the end of a caption that may have no counterpart in the offline pass; past that it has no latency."""

STRAY_MS = 2000
"""How far an aligned word's end may lie outside its caption."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a person really said. Some recordings lack the times of some turns."""

    role: str
    text: str
    start_ms: int | None
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word as it is compared, with its place in the lane."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Caption:
    """A segment as it reached a participant: when its first partial came, if any, and when its final."""

    role: str
    start_ms: float
    end_ms: float
    text: str
    final_at_ms: float
    """Arrival of the final, on the lanes' clock."""
    first_at_ms: float | None = None
    """Arrival of the first partial."""


def read_turns(path: Path) -> list[Turn]:
    """The turns of a recording's JSON; both spellings of the field names are known."""
    turns = []
    for turn in json.loads(path.read_text("utf-8"))["turns"]:
        start, end = _ms(turn, "start"), _ms(turn, "end")
        turns.append(Turn(turn.get("speaker") or turn["role"], turn["text"], start, end))
    return turns


def _ms(turn: Mapping[str, Any], name: str) -> int | None:
    if f"{name}_ms" in turn:
        return int(turn[f"{name}_ms"])
    return round(turn[name] * 1000) if name in turn else None


def turns_within(turns: Sequence[Turn], limit_ms: float) -> list[Turn]:
    """The turns that end before ``limit_ms``. One without times counts when a later one does."""
    last = max((i for i, turn in enumerate(turns) if turn.end_ms is not None and turn.end_ms <= limit_ms), default=-1)
    return [t for t in turns[: last + 1] if t.end_ms is None or t.end_ms <= limit_ms]


def cut_of(turns: Sequence[Turn], role: str, limit_ms: float) -> float:
    """Where the scored part of a lane ends: halfway between its last whole turn within the limit and its next turn.

    Words after it belong to a turn that is not scored, because the recording was stopped inside it.
    """
    own = [t for t in turns if t.role == role]
    end = max((t.end_ms for t in own if t.end_ms is not None and t.end_ms <= limit_ms), default=0)
    following = min((t.start_ms for t in own if t.start_ms is not None and t.start_ms >= end), default=None)
    return limit_ms if following is None or following > limit_ms else (end + following) / 2


def spread(text: str, start_ms: float, end_ms: float) -> list[TimedWord]:
    """Give a segment's words times, in proportion to their length: captions carry no times of words."""
    words = normalise(text)
    letters = sum(len(word) + 1 for word in words)
    timed, at = [], start_ms
    for word in words:
        until = at + (end_ms - start_ms) * (len(word) + 1) / letters
        timed.append(TimedWord(word, at, until))
        at = until
    return timed


def up_to(words: Iterable[TimedWord], cut_ms: float) -> list[str]:
    """The words whose middle lies before the cut."""
    return [w.text for w in words if (w.start_ms + w.end_ms) / 2 <= cut_ms]


def score_all(
    turns: Sequence[Turn], calls: Sequence[Mapping[str, Sequence[TimedWord]]], limit_ms: float
) -> dict[str, float]:
    """Word error rate of each role and of all, over the turns that end within the limit and over all calls."""
    whole = turns_within(turns, limit_ms)
    by_role: dict[str, WordErrors] = {}
    for role in ROLES:
        reference = [word for turn in whole if turn.role == role for word in normalise(turn.text)]
        cut_ms = cut_of(turns, role, limit_ms)
        errors = [word_errors(reference, up_to(heard.get(role, ()), cut_ms)) for heard in calls]
        by_role[role] = sum(errors, WordErrors())
    total = sum(by_role.values(), WordErrors())
    return {role: round(errors.rate, 4) for role, errors in by_role.items()} | {"all": round(total.rate, 4)}


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds, one for each caption that could be set against the offline words."""

    final: tuple[float, ...]
    first_partial: tuple[float, ...]
    unaligned: int
    """Captions whose last words the offline pass did not hear."""


def latencies(captions: Sequence[Caption], offline: Mapping[str, Sequence[TimedWord]]) -> Latencies:
    """How late each caption came: its final after its last word's end, its first partial after its first word's start.

    The words of a role's captions are aligned, all together, to the offline words of that role's source lane; those
    give the times.
    """
    final: list[float] = []
    partial: list[float] = []
    unaligned = 0
    for role in ROLES:
        said = list(offline.get(role, ()))
        own = sorted((c for c in captions if c.role == role), key=lambda c: c.start_ms)
        texts = [normalise(c.text) for c in own]
        pairs = matches([w.text for w in said], [word for words in texts for word in words])
        first = 0
        for caption, words in zip(own, texts, strict=True):
            found = [pairs[i] for i in range(first, first + len(words)) if i in pairs]
            tail = range(max(first, first + len(words) - 1 - MAX_TRAILING), first + len(words))
            first += len(words)
            last = max((pairs[i] for i in tail if i in pairs), default=None)
            if last is None or not _near(said[last], caption):
                unaligned += bool(words)
                continue
            final.append(caption.final_at_ms - said[last].end_ms)
            if caption.first_at_ms is not None and _near(said[found[0]], caption):
                partial.append(caption.first_at_ms - said[found[0]].start_ms)
    return Latencies(tuple(final), tuple(partial), unaligned)


def _near(word: TimedWord, caption: Caption) -> bool:
    """False when the alignment took an equal word from elsewhere in the lane ("okay" and "okay")."""
    return caption.start_ms - STRAY_MS <= word.end_ms <= caption.end_ms + STRAY_MS


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which ``share`` of them lie (nearest rank), rounded to a millisecond; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    rank = math.ceil(len(ranked) * share)
    return round(ranked[max(0, rank - 1)])
