"""What the offline writer adds where a gap parts a question from what was heard next, and how the checker knows it.

The words heard next are quoted, never as an answer: between stands what is missing, and at which moment it goes on.
Both sides make the words here, so that the checker lets pass exactly these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.notes.frames import joined, moment, quoted, short
from bot.notes.speakers import WHO, Speakers
from bot.notes.units import Next, Turn, Unit, opening

_HEAD = re.compile(
    rf"At [\d:]+, (?:clinician(?: \d+)? (?:asked|said): “[^”]*”|asked “[^”]*”, {WHO} said: “[^”]*”)"
)
"""What a tail may end: quotes, and who said them."""


def tail(heard: Sequence[Next], speakers: Speakers) -> str:
    """The words that end a sentence whose last word is in quotes."""
    text = ""
    for part in heard:
        at = moment(part.units[0].segments[0].start_ms)
        after = f", after {quoted(short(joined([part.between])))}" if part.between is not None else ""
        said = quoted(joined(part.units, verbatim=True))
        text += f"{part.missing} {speakers.name(part.turn)}'s next recorded words, at {at}{after}: {said}"
    return text


def told(heard: Sequence[Next]) -> list[Unit]:
    """What a tail rests on."""
    return [unit for part in heard for unit in ((part.between,) if part.between is not None else ()) + part.units]


class Tails:
    """All tails that the sentences of a session may have."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        speakers = Speakers(turns)
        self._all = [(_ids(head), _ids(told(heard)), tail(heard, speakers)) for head, heard in _chains(turns)]

    def taken_off(self, text: str, rests_on: frozenset[str]) -> tuple[str, frozenset[str]]:
        """The sentence without its tail, and the segments of the tail; as it is where it has no tail that holds."""
        fits = [
            (words, ids)
            for head, ids, words in self._all
            if head | ids <= rests_on and text.endswith(words) and _HEAD.fullmatch(text.removesuffix(words))
        ]
        words, ids = max(fits, key=lambda fit: len(fit[0]), default=("", frozenset()))
        return text.removesuffix(words), ids


def _chains(turns: Sequence[Turn]) -> Iterator[tuple[Sequence[Unit], Sequence[Next]]]:
    for turn in turns:
        for one in turn.open:
            if one.heard:
                yield (one.unit,), one.heard
        if turn.goes_on:
            yield opening(turn)[:1], turn.goes_on


def _ids(units: Sequence[Unit]) -> frozenset[str]:
    return frozenset(segment.segment_id for unit in units for segment in unit.segments)
