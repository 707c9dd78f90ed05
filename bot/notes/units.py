"""A transcript as the offline writer reads it: turns, and in them units, each a sentence with its segments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bot.events import Evidence, EvidenceSource, Role, Segment, Transcript
from bot.notes.cues import plain
from bot.notes.english import BACKCHANNEL, HESITATIONS, content_stems
from bot.notes.hashes import text_sha256

LONG_UNIT_WORDS = 45
"""A sentence longer than this is read in clauses: spoken sentences may run on for minutes."""
LEAST_CLAUSE_WORDS = 12
HOLDS_FLOOR_MS = 4000
"""A listener's sound does not end a turn that goes on within this time."""

_ENDS = re.compile(r"[.!?…]+[\"”']?(?=\s)")
_SHORTENED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|etc|no|approx)\.$", re.IGNORECASE)
_CLAUSE = re.compile(r"[,;](?=\s+(?:and|but|so|because|'cause|then|or)\b)", re.IGNORECASE)
_ASKS = re.compile(
    r"^(?:(?:so|and|ok|okay|right|well|but|now|then) )*(?:what|how|when|where|why|who|which|do|does|did|are|is|was|"
    r"were|have|has|had|can|could|would|will|any|anything|tell me)\b"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence of a turn."""

    index: int
    """Its place among all units, in the order of speech."""
    turn: int
    place: int
    """Its place in the turn."""
    role: Role
    participant_id: str
    text: str
    """As it stands in the transcript."""
    segments: tuple[Segment, ...]
    plain: str = field(repr=False)
    stems: tuple[str, ...] = field(repr=False)
    asks: bool

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.text.split())

    @property
    def hollow(self) -> bool:
        """True when it says nothing unless it answers something."""
        return all(word in BACKCHANNEL for word in self.plain.split())


@dataclass(slots=True)
class Turn:
    """What one person said until somebody else spoke."""

    index: int
    role: Role
    participant_id: str
    segments: list[Segment]
    units: list[Unit] = field(default_factory=list)
    question: tuple[Unit, ...] = ()
    """What the turn answers: the questions at the end of the clinician's turn before it."""

    @property
    def hollow(self) -> bool:
        """True when it is a listener's sound."""
        return all(unit.hollow for unit in self.units)


def evidence_of(units: Sequence[Unit]) -> tuple[Evidence, ...]:
    """The segments of ``units`` as evidence, each once, in the order of speech."""
    segments = {segment.segment_id: segment for unit in units for segment in unit.segments}
    return tuple(
        Evidence(EvidenceSource.SEGMENT, s.segment_id, s.start_ms, s.end_ms, text_sha256(s.text))
        for s in sorted(segments.values(), key=lambda s: (s.start_ms, s.segment_id))
    )


def read(transcript: Transcript) -> list[Turn]:
    """The transcript's turns, in the order in which they began."""
    turns = _turns(transcript)
    index = 0
    for turn in turns:
        for place, (text, segments) in enumerate(_sentences(turn.segments)):
            words = plain(text)
            asks = text.rstrip("\"”' ").endswith("?") or (
                turn.role is Role.CLINICIAN and not text.endswith((".", "!")) and _ASKS.match(words) is not None
            )
            turn.units.append(
                Unit(
                    index=index,
                    turn=turn.index,
                    place=place,
                    role=turn.role,
                    participant_id=turn.participant_id,
                    text=text,
                    segments=segments,
                    plain=words,
                    stems=tuple(content_stems(text)),
                    asks=asks,
                )
            )
            index += 1
    _join_questions(turns)
    return turns


def _turns(transcript: Transcript) -> list[Turn]:
    turns: list[Turn] = []
    floor: Turn | None = None
    for segment in sorted(transcript.segments, key=lambda s: (s.start_ms, s.end_ms, s.segment_id)):
        if not segment.text.strip():
            continue
        if floor is not None and floor.participant_id == segment.participant_id:
            # it still holds the floor when only a listener's sounds came in between, and not long ago
            silent_ms = segment.start_ms - floor.segments[-1].end_ms
            if turns[-1] is floor or silent_ms <= HOLDS_FLOOR_MS:
                floor.segments.append(segment)
                continue
        turn = Turn(len(turns), segment.role, segment.participant_id, [segment])
        turns.append(turn)
        if floor is None or not _listens(segment.text) or _asked(floor):
            floor = turn
    return turns


def _listens(text: str) -> bool:
    words = plain(text).split()
    return len(words) <= 3 and all(word in BACKCHANNEL for word in words)


def _asked(turn: Turn) -> bool:
    text = turn.segments[-1].text.rstrip("\"”' ")
    return text.endswith("?")


def _sentences(segments: Sequence[Segment]) -> Iterator[tuple[str, tuple[Segment, ...]]]:
    """Sentences of a turn; one that runs over a segment's end is put together again."""
    text, starts = "", []
    for segment in segments:
        text += " " if text else ""
        starts.append(len(text))
        text += " ".join(segment.text.split())
    ends = [*starts[1:], len(text) + 1]
    for begin, end in _spans(text):
        held = tuple(s for s, a, b in zip(segments, starts, ends, strict=True) if a < end and b - 1 > begin)
        if plain(text[begin:end]):
            yield text[begin:end], held


def sentences_of(text: str) -> list[str]:
    """The sentences of a typed text; lines end sentences too."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line[a:b] for line in lines for a, b in _spans(line) if line[a:b].strip()]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for match in _ENDS.finditer(text):
        end = match.end()
        rest = text[end:].lstrip()
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


def _join_questions(turns: Sequence[Turn]) -> None:
    asked: tuple[Unit, ...] = ()
    for turn in turns:
        if turn.role is Role.CLINICIAN:
            closing = [unit for unit in turn.units if not unit.hollow][-3:]
            questions = tuple(unit for unit in closing if unit.asks)
            if questions and closing[-1].asks:
                asked = questions
            elif closing and not turn.hollow:
                asked = ()
        else:
            turn.question = asked
            if not all(word in HESITATIONS for unit in turn.units for word in unit.plain.split()):
                asked = ()
