"""What the speaker of a turn is called in a note: the role, with a number where several people have it.

What came from a microphone that several people share was said by one of them, and nobody knows which: it is called by
all of their names ("Client or guardian", "Client 1 or client 2"), and nothing in a note gives it to one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from bot.events import Role, Speaker

_ONE = rf"(?:{'|'.join(role.value for role in Role)})(?: \d+)?"
WHO = rf"{_ONE}(?:(?:, {_ONE})* or {_ONE})?"
"""Matches every name that is given here."""
ATTRIBUTED = re.compile(
    rf"(?:(?P<who>{WHO}) (?:said|answered|asked)|(?P<asked>asked))[:,]? “(?P<words>[^”]*)”", re.IGNORECASE
)
"""A quote with who said it."""

_SAYING = re.compile(rf"\b{WHO} (?:said|asked|answered)", re.IGNORECASE)
_MENTION = re.compile(rf"\b{WHO}\b", re.IGNORECASE)
_OTHERS = re.compile(r"clinician|interpreter", re.IGNORECASE)
_ONE_PERSON = re.compile(r"\b(?:she|he|patient)\b", re.IGNORECASE)


class Voice(Protocol):
    """Whatever somebody said: a segment, a turn."""

    @property
    def role(self) -> Role:
        """Of whose microphone it is."""
        ...

    @property
    def participant_id(self) -> str:
        """Whose microphone it is."""
        ...

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """All who share it; empty: it is one person's."""
        ...


class Speakers:
    """The names of all who are heard in a session."""

    def __init__(self, voices: Iterable[Voice]) -> None:
        self._of_role: dict[Role, list[str]] = {}
        for voice in voices:
            for one in voice.speakers or (Speaker(voice.participant_id, voice.role),):
                people = self._of_role.setdefault(one.role, [])
                if one.participant_id not in people:
                    people.append(one.participant_id)

    def name(self, voice: Voice) -> str:
        """``Client``, ``Client 2``, or ``Client or guardian``."""
        names = [self._one(one) for one in voice.speakers or (Speaker(voice.participant_id, voice.role),)]
        called = " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        return called[0].upper() + called[1:]

    def _one(self, speaker: Speaker) -> str:
        people = self._of_role[speaker.role]
        alone = len(people) == 1
        return speaker.role.value if alone else f"{speaker.role.value} {people.index(speaker.participant_id) + 1}"

    def may_give(self, who: str | None, voice: Voice) -> bool:
        """True when a note may give these words to ``who``, or to nobody: by name, or by the role of one person."""
        return who is None or who.lower() == self.name(voice).lower() or self._by_role(who, voice)

    def _by_role(self, who: str, voice: Voice) -> bool:
        return not voice.speakers and who.lower() == voice.role.value

    def singles_out(self, text: str, voices: Sequence[Voice]) -> bool:
        """True when ``text`` gives to one person what several may have said."""
        shared = [voice for voice in voices if voice.speakers]
        if not shared:
            return False
        told = [match[0] for match in _MENTION.finditer(text) if not _OTHERS.match(match[0])]
        one = len(shared) == len(voices) and _ONE_PERSON.search(text)
        return bool(one) or not all(any(self.may_give(who, voice) for voice in voices) for who in told)


def numbers_of_people(text: str) -> frozenset[str]:
    """The numbers that tell people of one role apart: of "Client 1 or client 2 said" both."""
    return frozenset(number for match in _SAYING.finditer(text) for number in re.findall(r"\d+", match[0]))
