"""Word errors: lower-case, punctuation removed, hyphens split, no other normalisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

_HYPHENS = re.compile(r"[-\u2010-\u2015]")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def normalise(text: str) -> list[str]:
    """The words that are compared: "Twenty-one, I'm sure." is twenty, one, im, sure."""
    return _PUNCTUATION.sub("", _HYPHENS.sub(" ", text.lower())).split()


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts of one comparison; counts of several add up."""

    wrong: int = 0
    missing: int = 0
    added: int = 0
    words: int = 0
    """Words of the reference."""

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.wrong + other.wrong, self.missing + other.missing, self.added + other.added, self.words + other.words
        )

    @property
    def rate(self) -> float:
        """Word error rate; with no reference words, 0 if nothing was added and 1 if something was."""
        errors = self.wrong + self.missing + self.added
        return errors / self.words if self.words else float(errors > 0)


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Compare normalised words."""
    if not reference or not hypothesis:
        return WordErrors(missing=len(reference), added=len(hypothesis), words=len(reference))
    out = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return WordErrors(out.substitutions, out.deletions, out.insertions, len(reference))


def matches(reference: Sequence[str], hypothesis: Sequence[str]) -> dict[int, int]:
    """The hypothesis words that the best alignment sets against an equal word: position to that word's position."""
    if not reference or not hypothesis:
        return {}
    out = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    pairs: dict[int, int] = {}
    for chunk in out.alignments[0]:
        if chunk.type == "equal":
            length = chunk.hyp_end_idx - chunk.hyp_start_idx
            pairs |= {chunk.hyp_start_idx + i: chunk.ref_start_idx + i for i in range(length)}
    return pairs
