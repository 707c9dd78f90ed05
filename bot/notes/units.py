"""A transcript as the offline writer reads it: turns, and in them units, each a sentence with its segments."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bot.events import Evidence, EvidenceSource, Role, Segment, Transcript
from bot.notes.cues import plain
from bot.notes.english import BACKCHANNEL, HESITATIONS, content_stems
from bot.notes.gaps import CLOCK_SLACK_MS, Holes
from bot.notes.hashes import text_sha256

LONG_UNIT_WORDS = 45
"""A sentence longer than this is read in clauses: spoken sentences may run on for minutes."""
LEAST_CLAUSE_WORDS = 12
HOLDS_FLOOR_MS = 4000
"""A listener's sound does not end a turn that goes on within this time."""
LONG_SILENCE_MS = 30_000
"""Silence that ends a sentence and a turn. All of it was heard, so it hides nothing; people who weigh their words, or
cry, go on within it, and what comes after half a minute is said anew."""
ANSWER_WITHIN_MS = 60_000
"""Silence after which nothing said counts as an answer. Longer than that of a turn: "Yes." after a hard question may
take its time, and says nothing without it."""

_ENDS = re.compile(r"[.!?…]+[\"”']?(?=\s)")
_SHORTENED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|etc|approx)\.$", re.IGNORECASE)
_NO = re.compile(r"\bno\.$", re.IGNORECASE)
"""Number, or the answer that goes with the sentence after it; an answer by itself where the speaker stopped there."""
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
    middle_ms: int = field(repr=False)
    """About when half of it was said."""

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
    unanswered: tuple[Unit, ...] = ()
    """Of its own questions those whose answer may lie in a gap."""

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


@dataclass(frozen=True, slots=True)
class _Said:
    """A sentence that has no place yet."""

    text: str
    segments: tuple[Segment, ...]
    middle_ms: int
    asks: bool


def read(transcript: Transcript) -> list[Turn]:
    """The transcript's turns, in the order in which they began."""
    holes = Holes(transcript)
    parts = [part for turn in _turns(transcript, holes) for part in _parts(turn, holes)]
    parts.sort(key=lambda part: (part[0].segments[0].start_ms, part[0].segments[0].end_ms, part[0].index))
    turns = []
    index = 0
    for place_of_turn, (turn, sentences) in enumerate(parts):
        turn.index = place_of_turn
        turns.append(turn)
        for place, said in enumerate(sentences):
            turn.units.append(
                Unit(
                    index=index,
                    turn=turn.index,
                    place=place,
                    role=turn.role,
                    participant_id=turn.participant_id,
                    text=said.text,
                    segments=said.segments,
                    plain=plain(said.text),
                    stems=tuple(content_stems(said.text)),
                    asks=said.asks,
                    middle_ms=said.middle_ms,
                )
            )
            index += 1
    _join_questions(turns, holes)
    return turns


def answers(turn: Turn, unit: Unit, holes: Holes) -> bool:
    """True when ``turn`` may be what was said to ``unit``: nothing missing in between, and neither early nor late."""
    last, first = unit.segments[-1], turn.segments[0]
    late = first.start_ms - last.end_ms > ANSWER_WITHIN_MS
    return not late and not _early(turn, unit) and not holes.apart(last, first)


def _early(turn: Turn, unit: Unit) -> bool:
    """True for words begun before half of the question was out: they are about something else."""
    return turn.segments[0].start_ms < unit.middle_ms - CLOCK_SLACK_MS


def _turns(transcript: Transcript, holes: Holes) -> list[Turn]:
    turns: list[Turn] = []
    floor: Turn | None = None
    asking: Segment | None = None
    for segment in sorted(transcript.segments, key=lambda s: (s.start_ms, s.end_ms, s.segment_id)):
        if not segment.text.strip():
            continue
        goes_on = floor is not None and _goes_on(floor, segment, asking, holes, near=turns[-1] is floor)
        if segment.role is Role.CLINICIAN and _asks(segment.text) and not _listens(segment.text):
            asking = segment
        if floor is not None and goes_on:
            floor.segments.append(segment)
            continue
        turn = Turn(len(turns), segment.role, segment.participant_id, [segment])
        turns.append(turn)
        same = floor is not None and floor.participant_id == segment.participant_id
        if floor is None or same or not _listens(segment.text) or _asks(floor.segments[-1].text):
            floor = turn
    return turns


def _goes_on(floor: Turn, segment: Segment, asking: Segment | None, holes: Holes, *, near: bool) -> bool:
    """True when who holds the floor goes on: only a listener's sounds came in between, and nothing is missing."""
    last = floor.segments[-1]
    if last.participant_id != segment.participant_id or holes.apart(last, segment):
        return False
    asked = asking is not None and asking.participant_id != segment.participant_id
    if asking is not None and asked and last.end_ms < asking.end_ms <= segment.start_ms + CLOCK_SLACK_MS:
        return False  # a sound made while a question was being asked is no part of its answer
    return segment.start_ms - last.end_ms <= (LONG_SILENCE_MS if near else HOLDS_FLOOR_MS)


def _parts(turn: Turn, holes: Holes) -> Iterator[tuple[Turn, list[_Said]]]:
    """The turn, parted between sentences where the other side may have said something that nobody heard."""
    sentences = [
        _Said(text, segments, middle_ms, _question(turn.role, text))
        for text, segments, middle_ms in _sentences(turn.segments)
    ]
    begin = 0
    for n, (before, after) in enumerate(pairwise(sentences), start=1):
        last, first = before.segments[-1], after.segments[0]
        if last is first:
            continue
        if turn.role is Role.CLINICIAN:
            missed = before.asks and holes.answer_missed(last, first)
        else:
            missed = holes.question_missed(sentences[begin].segments[0], first)
        if missed:
            yield _part(turn, sentences[begin:n])
            begin = n
    yield _part(turn, sentences[begin:])


def _part(turn: Turn, sentences: list[_Said]) -> tuple[Turn, list[_Said]]:
    segments = list({s.segment_id: s for said in sentences for s in said.segments}.values())
    return Turn(turn.index, turn.role, turn.participant_id, segments or turn.segments), sentences


def _question(role: Role, text: str) -> bool:
    unmarked = role is Role.CLINICIAN and not text.endswith((".", "!"))
    return _asks(text) or (unmarked and _ASKS.match(plain(text)) is not None)


def _listens(text: str) -> bool:
    words = plain(text).split()
    return len(words) <= 3 and all(word in BACKCHANNEL for word in words)


def _asks(text: str) -> bool:
    return text.rstrip("\"”' ").endswith("?")


def _sentences(segments: Sequence[Segment]) -> Iterator[tuple[str, tuple[Segment, ...], int]]:
    """Sentences of a turn, with their middle; one that runs over a segment's end is put together again."""
    text, starts = "", []
    for segment in segments:
        text += " " if text else ""
        starts.append(len(text))
        text += " ".join(segment.text.split())
    ends = [*starts[1:], len(text) + 1]
    for begin, end in _spans(text, [start - 1 for start in starts]):
        held = tuple(s for s, a, b in zip(segments, starts, ends, strict=True) if a < end and b - 1 > begin)
        if plain(text[begin:end]):
            middle = (begin + end) // 2
            at = next(i for i, stop in enumerate(ends) if middle < stop)
            share = (middle - starts[at]) / max(1, ends[at] - starts[at])
            spoken_ms = segments[at].end_ms - segments[at].start_ms
            yield text[begin:end], held, segments[at].start_ms + round(spoken_ms * share)


def sentences_of(text: str) -> list[str]:
    """The sentences of a typed text; lines end sentences too."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line[a:b] for line in lines for a, b in _spans(line) if line[a:b].strip()]


def _spans(text: str, stops: Collection[int] = ()) -> Iterator[tuple[int, int]]:
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


def _join_questions(turns: Sequence[Turn], holes: Holes) -> None:
    """Give each answer its questions: only to the very next thing said by somebody else, and over no gap."""
    open_: tuple[Unit, ...] = ()
    for turn in turns:
        if turn.role is Role.CLINICIAN:
            closing = [unit for unit in turn.units if not unit.hollow][-3:]
            if not closing:
                continue
            _break_off(turns, open_, turn.segments[0], holes)
            open_ = tuple(unit for unit in closing if unit.asks) if closing[-1].asks else ()
            continue
        turn.question = tuple(unit for unit in open_ if answers(turn, unit, holes))
        if not all(word in HESITATIONS for unit in turn.units for word in unit.plain.split()):
            over = tuple(unit for unit in open_ if not _early(turn, unit))
            _break_off(turns, [unit for unit in over if unit not in turn.question], turn.segments[0], holes)
            open_ = tuple(unit for unit in open_ if unit not in over)
    _break_off(turns, open_, None, holes)


def _break_off(turns: Sequence[Turn], asked: Sequence[Unit], later: Segment | None, holes: Holes) -> None:
    for unit in asked:
        if holes.answer_missed(unit.segments[-1], later):
            turns[unit.turn].unanswered += (unit,)
