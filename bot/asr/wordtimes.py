"""Aligned pieces of text become words with believable times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.events import Word

OPENING = frozenset("\"'“¿([{-")
LONGEST_S = 1.2
"""A word aligned longer than this has swallowed the silence beside it."""
LONGEST_FIRST_S = 0.6
"""Before a window's first word there is half a second of pre-roll, which the alignment gives to the word."""
SENTENCE_ENDS = (".", "?", "!", "。", "？", "！")


@dataclass(slots=True)
class TimedToken:
    """A piece of text as the model's attention places it, in seconds from the window's start."""

    text: str
    start_s: float
    end_s: float
    probability: float


def words_of(pieces: Sequence[TimedToken], window_s: float) -> tuple[Word, ...]:
    """Words in order, inside the window, none before the one it follows. Punctuation belongs to its word."""
    merged: list[TimedToken] = []
    opening = ""
    for piece in pieces:
        bare = piece.text.strip()
        if not bare:
            continue
        if any(character.isalnum() for character in bare):
            merged.append(TimedToken(opening + bare, piece.start_s, piece.end_s, piece.probability))
            opening = ""
        elif bare in OPENING and piece.text.startswith(" "):
            opening += bare
        elif merged:
            merged[-1].text += bare
    words: list[Word] = []
    floor_s, sentence_ended = 0.0, True
    for piece in merged:
        start_s = min(max(piece.start_s, floor_s), window_s)
        end_s = min(max(piece.end_s, start_s), window_s)
        if end_s - start_s > (LONGEST_S if words else LONGEST_FIRST_S):
            # silence before the first word of a sentence, silence after any other
            if sentence_ended:
                start_s = end_s - (LONGEST_S if words else LONGEST_FIRST_S)
            else:
                end_s = start_s + LONGEST_S
        words.append(
            Word(piece.text, round(start_s * 1000), round(end_s * 1000), min(1.0, max(0.0, piece.probability)))
        )
        floor_s, sentence_ended = end_s, piece.text.endswith(SENTENCE_ENDS)
    return tuple(words)


def sure_end_ms(words: Sequence[Word]) -> int:
    """Where the last word ends at the earliest: at its start, when :func:`words_of` had to guess how long it is."""
    word = words[-1]
    guessed = word.end_ms - word.start_ms >= round(LONGEST_S * 1000)
    from_its_end = len(words) == 1 or words[-2].text.endswith(SENTENCE_ENDS)
    return word.start_ms if guessed and not from_its_end else word.end_ms
