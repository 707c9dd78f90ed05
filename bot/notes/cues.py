"""Cue phrases: how a template says in plain words what a sentence must hold.

A phrase is words separated by spaces. ``*`` at a word's end stands for any ending (``hurt*``), ``...`` for up to four
words in between (``end ... life``), and ``^`` at the start ties the phrase to the beginning of the sentence. Case,
punctuation and typographic apostrophes do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

GAP_WORDS = 4
_WORD = re.compile(r"[a-z0-9à-öø-ÿ'’%]+\*?")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|(?:[^\W_]|['%])+")


def plain(text: str) -> str:
    """``text`` as cues see it: lower case, words and apostrophes, single spaces; points stay inside numbers."""
    lowered = text.lower().replace("’", "'").replace("‘", "'")
    return " ".join(word for token in _TOKEN.findall(lowered) if (word := token.strip("'")))


def phrase_error(phrase: str) -> str | None:
    """What is wrong with a phrase, or None."""
    words = phrase.lower().removeprefix("^").split()
    if not words:
        return "a cue may not be empty"
    if words[0] == "..." or words[-1] == "...":
        return "a cue may not begin or end with ..."
    for word in words:
        if word != "..." and not _WORD.fullmatch(word):
            return f"{word!r} is no word: letters, digits, apostrophes, and a * at the end"
    return None


class Cues:
    """Phrases compiled into one search."""

    __slots__ = ("_pattern", "phrases")

    def __init__(self, phrases: Iterable[str] = ()) -> None:
        self.phrases = tuple(phrases)
        alternatives = "|".join(_pattern(phrase) for phrase in self.phrases)
        self._pattern = re.compile(alternatives) if alternatives else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cues) and other.phrases == self.phrases

    def __hash__(self) -> int:
        return hash(self.phrases)

    def __repr__(self) -> str:
        return f"Cues({list(self.phrases)!r})"

    def count(self, text: str) -> int:
        """How many places of ``text``, which :func:`plain` has been through, match."""
        return sum(1 for _ in self._pattern.finditer(text)) if self._pattern else 0

    def found(self, text: str) -> list[str]:
        """The places of ``text``, which :func:`plain` has been through, that match."""
        return [match.group() for match in self._pattern.finditer(text)] if self._pattern else []

    def search(self, text: str) -> bool:
        """True when ``text``, which :func:`plain` has been through, matches anywhere."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def without(self, text: str) -> str:
        """``text`` with what matches taken out."""
        return " ".join(self._pattern.sub(" ", text).split()) if self._pattern else text

    def parts(self, text: str) -> list[str]:
        """What is left of ``text`` before, between and after what matches."""
        return [part.strip() for part in self._pattern.split(text)] if self._pattern else [text]


def _pattern(phrase: str) -> str:
    wrong = phrase_error(phrase)
    if wrong:
        raise ValueError(wrong)
    words = phrase.lower().replace("’", "'")
    anchored, words = words.startswith("^"), words.removeprefix("^")
    pattern = ""
    for word in words.split():
        if word == "...":
            pattern += rf"(?: [\w'.%]+){{0,{GAP_WORDS}}}"
            continue
        if pattern:
            pattern += " "
        stem = word.removesuffix("*")
        pattern += re.escape(stem) + (r"[\w']*" if word.endswith("*") else "")
    start = "^" if anchored else r"(?<![\w'])"
    return rf"{start}{pattern}(?![\w'])"
