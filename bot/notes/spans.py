"""Where a text's sentences end, and where a long one is cut into clauses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

LONG_UNIT_WORDS = 45
"""A sentence longer than this is read in clauses: spoken sentences may run on for minutes."""
LEAST_CLAUSE_WORDS = 12

_ENDS = re.compile(r"[.!?…]+[\"”']?(?=\s)")
_SHORTENED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|etc|approx)\.$", re.IGNORECASE)
_NO = re.compile(r"\bno\.$", re.IGNORECASE)
"""Number, or the answer that goes with the sentence after it; an answer by itself where the speaker stopped there."""
_CLAUSE = re.compile(r"[,;](?=\s+(?:and|but|so|because|'cause|then|or)\b)", re.IGNORECASE)


def sentences_of(text: str) -> list[str]:
    """The sentences of a typed text; lines end sentences too."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line[a:b] for line in lines for a, b in spans(line) if line[a:b].strip()]


def spans(text: str, stops: Collection[int] = ()) -> Iterator[tuple[int, int]]:
    """Where the sentences of a text begin and end; ``stops`` are places where its speaker stopped for certain."""
    begin = 0
    for match in _ENDS.finditer(text):
        end = match.end()
        rest = text[end:].lstrip()
        if _NO.search(text[begin:end]) and end not in stops:
            continue
        if match.group()[0] in ".…" and (rest[:1].islower() or _SHORTENED.search(text[begin:end])):
            continue
        yield from _clauses(text, begin, end)
        begin = end + len(text[end:]) - len(rest)
    if begin < len(text):
        yield from _clauses(text, begin, len(text))


def _clauses(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    while len(text[begin:end].split()) > LONG_UNIT_WORDS:
        ends = (match.end() for match in _CLAUSE.finditer(text, begin, end))
        cuts = [cut for cut in ends if LEAST_CLAUSE_WORDS <= len(text[begin:cut].split()) <= LONG_UNIT_WORDS]
        if not cuts:
            break
        yield begin, cuts[-1]
        begin = cuts[-1] + 1
    if begin < end:
        yield begin, end
