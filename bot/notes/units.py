"""A transcript as the offline writer reads it: turns, and in them units, each a sentence with its segments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bot.events import Evidence, EvidenceSource, Role, Segment, Speaker, Transcript
from bot.notes.cues import plain
from bot.notes.english import BACKCHANNEL, HESITATIONS, content_stems
from bot.notes.gaps import ASKER_MISSING, BREAKS_OFF, CLOCK_SLACK_MS, PART_MISSING, Holes
from bot.notes.hashes import text_sha256
from bot.notes.spans import spans

HOLDS_FLOOR_MS = 4000
"""A listener's sound does not end a turn that goes on within this time."""
LONG_SILENCE_MS = 30_000
"""Silence that ends a sentence and a turn. All of it was heard, so it hides nothing; people who weigh their words, or
cry, go on within it, and what comes after half a minute is said anew."""
ANSWER_WITHIN_MS = 60_000
"""Silence after which nothing said counts as an answer. Longer than that of a turn: "Yes." after a hard question may
take its time, and says nothing without it."""
ANSWERED_UNITS = 2
"""How many sentences of an answer still count as answering the question before it."""

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
    open: tuple[Open, ...] = ()
    """The same, with what was heard next."""
    goes_on: tuple[Next, ...] = ()
    """Of an answer that a gap cut short: the rest of its first sentences."""
    after: tuple[Unit, ...] = ()
    """Questions that it is heard next after, over a gap: whether it answers them is not known."""

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """Whose voice it may be, where several people share the microphone."""
        return self.segments[0].speakers

    @property
    def hollow(self) -> bool:
        """True when it is a listener's sound."""
        return all(unit.hollow for unit in self.units)


@dataclass(frozen=True, slots=True)
class Next:
    """What was heard next from beyond a gap, after a question or after the beginning of an answer."""

    turn: Turn
    units: tuple[Unit, ...]
    missing: str
    """What a note says of the gap before it."""
    between: Unit | None = None
    """The last thing a clinician was heard to say before it, after the question."""


@dataclass(frozen=True, slots=True)
class Open:
    """A question whose answer may lie in a gap."""

    unit: Unit
    missing: str
    """What a note says of the gap after it."""
    heard: tuple[Next, ...]
    """What was heard next within the time of an answer, to the end of the sentences that an answer has."""


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
    _hear_on(turns, holes)
    return turns


def opening(turn: Turn) -> list[Unit]:
    """The first sentences of an answer, without the sounds before them."""
    return [unit for unit in turn.units if _says(unit)][:ANSWERED_UNITS]


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
    if last.participant_id != segment.participant_id or last.speakers or holes.apart(last, segment):
        return False  # at a shared microphone the next words may be another's
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
    for begin, end in spans(text, [start - 1 for start in starts]):
        held = tuple(s for s, a, b in zip(segments, starts, ends, strict=True) if a < end and b - 1 > begin)
        if plain(text[begin:end]):
            middle = (begin + end) // 2
            at = next(i for i, stop in enumerate(ends) if middle < stop)
            share = (middle - starts[at]) / max(1, ends[at] - starts[at])
            spoken_ms = segments[at].end_ms - segments[at].start_ms
            yield text[begin:end], held, segments[at].start_ms + round(spoken_ms * share)


def _join_questions(turns: Sequence[Turn], holes: Holes) -> None:
    """Give each answer its questions: only to the very next thing said by somebody else, and over no gap."""
    open_: tuple[Unit, ...] = ()
    unfinished: Turn | None = None  # a clinician's turn that breaks off in a sentence after its questions
    for turn in turns:
        if turn.role is Role.CLINICIAN:
            closing = [unit for unit in turn.units if not unit.hollow][-3:]
            if not closing:
                continue
            if unfinished is not None and _cut(unfinished, turn, holes):
                open_ = tuple(unit for unit in unfinished.units[-3:] if unit.asks)
            _break_off(turns, open_, turn.segments[0], holes)
            open_ = tuple(unit for unit in closing if unit.asks) if closing[-1].asks else ()
            unfinished = None if closing[-1].asks or _whole(closing[-1]) else turn
            continue
        unfinished = unfinished if turn.hollow else None
        turn.question = tuple(unit for unit in open_ if answers(turn, unit, holes))
        if any(map(_says, turn.units)):
            over = tuple(unit for unit in open_ if not _early(turn, unit))
            _break_off(turns, [unit for unit in over if unit not in turn.question], turn.segments[0], holes)
            open_ = tuple(unit for unit in open_ if unit not in over)
    _break_off(turns, open_, None, holes)


def _cut(before: Turn, turn: Turn, holes: Holes) -> bool:
    """True when the same person goes on from beyond a gap."""
    return before.participant_id == turn.participant_id and holes.apart(before.segments[-1], turn.segments[0])


def _break_off(turns: Sequence[Turn], asked: Sequence[Unit], later: Segment | None, holes: Holes) -> None:
    for unit in asked:
        if holes.answer_missed(unit.segments[-1], later):
            turns[unit.turn].unanswered += (unit,)


def _hear_on(turns: Sequence[Turn], holes: Holes) -> None:
    """Note what was heard next, where a gap keeps it from being an answer or parts an answer."""
    for turn in turns:
        turn.open = tuple(_heard_next(turns, unit, holes) for unit in turn.unanswered)
        turn.goes_on = _goes_on_after(turns, turn, holes) if turn.question and opening(turn) else ()
        for one in turn.open:
            _mark(one.heard, (one.unit,))
        _mark(turn.goes_on, turn.question)


def _mark(heard: Sequence[Next], asked: tuple[Unit, ...]) -> None:
    for part in heard:
        if not part.turn.question:
            part.turn.after += asked


def _heard_next(turns: Sequence[Turn], unit: Unit, holes: Holes) -> Open:
    last = unit.segments[-1]
    until_ms = last.end_ms + ANSWER_WITHIN_MS
    between: Unit | None = None
    for turn in turns[unit.turn + 1 :]:
        if not opening(turn) or turn.segments[0].start_ms > until_ms or _early(turn, unit):
            continue
        if turn.role is Role.CLINICIAN:
            between = next((one for one in reversed(turn.units) if not one.hollow), between)
            continue
        missing = holes.missing(last, turn.segments[0])
        first = Next(turn, _beginning(turn), missing, between)
        return Open(unit, missing, (first, *_goes_on_after(turns, turn, holes)))
    heard = [
        segment
        for turn in turns
        if turn.role is not Role.CLINICIAN and turn.units
        for segment in turn.segments
        if segment.end_ms > last.end_ms and segment.start_ms <= until_ms
    ]
    return Open(unit, holes.missing(last, heard[-1]) if heard else BREAKS_OFF, ())


def _goes_on_after(turns: Sequence[Turn], answer: Turn, holes: Holes) -> tuple[Next, ...]:
    """The turns in which the same person goes on from beyond a gap, until as much is told as of a whole answer."""
    heard: list[Next] = []
    before, whole = answer, sum(map(_whole, opening(answer)))
    for turn in turns[answer.index + 1 :]:
        said = opening(turn)
        if not said or (turn.participant_id != answer.participant_id and turn.hollow):
            continue
        last, first = before.segments[-1], turn.segments[0]
        late = first.start_ms - last.end_ms > LONG_SILENCE_MS
        # a small letter goes on with a sentence even where a full stop stands before it
        told = whole >= ANSWERED_UNITS and not (before.units[-1] in opening(before) and said[0].text[:1].islower())
        if told or turn.participant_id != answer.participant_id or turn.question or late:
            break
        cut = holes.apart(last, first)
        if not cut and not holes.question_missed(before.segments[0], first):
            break
        heard.append(Next(turn, _beginning(turn), PART_MISSING if cut else ASKER_MISSING))
        before, whole = turn, whole + sum(map(_whole, said))
    return tuple(heard)


def _beginning(turn: Turn) -> tuple[Unit, ...]:
    """The first sentences, with the sounds before them."""
    first = opening(turn)
    return tuple(unit for unit in turn.units if unit.place < ANSWERED_UNITS or unit in first)


def _says(unit: Unit) -> bool:
    return any(word not in HESITATIONS for word in unit.plain.split())


def _whole(unit: Unit) -> bool:
    return unit.text.rstrip("\"”' ").endswith((".", "!", "?", "…"))
