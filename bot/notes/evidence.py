"""Every sentence of a draft, held against what it says it rests on. Nothing is taken on a writer's word.

What does not hold is moved out of the draft into ``held_back``, with the reason; the clinician accepts or drops it.
The checks are plain comparisons, the same for every writer: they find sentences to doubt, not all that could be wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.events import (
    CLIENT_SIDE,
    Evidence,
    EvidenceSource,
    NoteDraft,
    NoteRequest,
    NoteSentence,
    Role,
    Segment,
    SentenceStatus,
)
from bot.notes.cues import Cues, plain
from bot.notes.english import (
    TO_THE_SCRIBE,
    UNSEEN,
    content_stems,
    listed,
    negated,
    numbers,
    smooth,
    stem,
    without_numbers,
)
from bot.notes.frames import MOMENT, QUOTE, moment
from bot.notes.gaps import CLAIMS, PART_MISSING, Holes
from bot.notes.hashes import text_sha256
from bot.notes.spans import sentences_of
from bot.notes.speakers import ATTRIBUTED, Speakers, numbers_of_people
from bot.notes.tails import Tails
from bot.notes.units import ANSWER_WITHIN_MS, read

SUPPORTED_SHARE = 0.6
"""Share of a sentence's words of content that its evidence holds, from which it counts as supported."""
INFERRED_SHARE = 0.3
"""Below this it is not supported at all; in between it is marked as inferred."""

NO_EVIDENCE = "It names nothing it rests on."
UNKNOWN_EVIDENCE = "It rests on something that is not part of this session."
CHANGED_EVIDENCE = "What it rests on is not what it was when the sentence was written."
NOT_TYPED = "It is marked as typed by the clinician, who did not type it."
QUOTE_NOT_SAID = "A quote in it was not said that way in what it rests on."
OVER_A_GAP = "It joins what was said on either side of a part that was not recorded."
NOT_ANSWERED = "It rests on a question alone whose answer was not recorded."
NOTHING_MISSING = "It says that something was not recorded that was, or where nothing is missing."
WRONG_SPEAKER = "What it rests on was said by somebody else."
WRONG_MOMENT = "The moment it gives is not that of what it rests on."
NUMBER_MISSING = "A number in it stands nowhere in what it rests on."
NEGATION_DIFFERS = "It says yes where what it rests on says no, or the other way round."
NOT_AUDIBLE = "It tells of something that sound cannot show and nobody put into words."
SCORED_RISK = "It scores or sums up a risk, which is left to the clinician."
SPOKEN_TO_SCRIBE = "It rests on words addressed to the note writer."
LITTLE_SUPPORT = "What it rests on says little of this."

REASONS = (
    NO_EVIDENCE,
    UNKNOWN_EVIDENCE,
    CHANGED_EVIDENCE,
    NOT_TYPED,
    QUOTE_NOT_SAID,
    OVER_A_GAP,
    NOT_ANSWERED,
    NOTHING_MISSING,
    WRONG_SPEAKER,
    WRONG_MOMENT,
    NUMBER_MISSING,
    NEGATION_DIFFERS,
    NOT_AUDIBLE,
    SCORED_RISK,
    SPOKEN_TO_SCRIBE,
    LITTLE_SUPPORT,
)

RISK_LEVEL = Cues(
    [
        *("low risk", "high risk", "moderate risk", "medium risk", "no risk", "minimal risk", "elevated risk"),
        *("risk level", "risk is", "risk was", "at risk", "imminent", "acute risk", "no safety concerns"),
        *("not a danger", "risk factor*"),
    ]
)
_SAYS = "said says saying state states stated report reports reported describe describes described deny denies denied"
_SAYS += " endorse endorses endorsed mention mentions mentioned note notes noted share shares shared express expressed"
_SAYS += " expresses discuss discussed discusses ask asked answer answered talk talked explain explained agree agreed"
_PEOPLE = "client clinician therapist patient guardian interpreter guest session today they their"
FRAME = frozenset(stem(word) for word in listed(f"{_SAYS} {_PEOPLE}"))
"""Words of reporting: a note has them, the evidence need not."""
_CLIENT_SAYS = re.compile(
    rf"\b(?:client|patient|she|he|they)\b(?: \w+)? (?:{'|'.join(listed(_SAYS)[:18])})\b", re.IGNORECASE
)
_CLAUSES = re.compile(r"[,;:.!?]|\b(?:but|although|though|however|because|while|and then)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What one sentence rests on, as text."""

    segments: tuple[Segment, ...]
    texts: tuple[str, ...]
    """Inputs and facts."""
    replies: Mapping[str, Segment]
    """What was said right after each segment that asks something, by its id: the answer makes it a yes or a no."""
    runs: tuple[tuple[Segment, ...], ...]
    """The segments by speaker, parted at the gaps: only what stands in one may be quoted as one."""
    spliced: bool
    """It holds two halves of a sentence, or a question and other words, from either side of a gap."""
    unanswered: frozenset[str]
    """What may be said of the questions in it whose answer may lie in a gap; empty where it holds none."""
    speakers: Speakers

    @property
    def all_texts(self) -> tuple[str, ...]:
        """Everything it rests on."""
        return (*(segment.text for segment in self.segments), *self.texts)


def check(draft: NoteDraft, request: NoteRequest) -> NoteDraft:
    """The draft with each sentence's status settled, and with what does not hold moved to ``held_back``.

    Held-back sentences keep their place in that list; checking twice changes nothing.
    """
    checker = _Checker(request)
    held = list(draft.held_back)
    sections = []
    for section in draft.sections:
        kept = []
        for sentence in section.sentences:
            status, reason = checker.judge(sentence)
            if reason:
                held.append(replace(sentence, status=SentenceStatus.UNSUPPORTED, reason=reason))
            else:
                kept.append(replace(sentence, status=status))
        sections.append(replace(section, sentences=tuple(kept)))
    return replace(draft, sections=tuple(sections), held_back=tuple(held))


class _Checker:
    def __init__(self, request: NoteRequest) -> None:
        ordered = sorted(request.transcript.segments, key=lambda s: (s.start_ms, s.end_ms, s.segment_id))
        self._segments = {segment.segment_id: segment for segment in ordered}
        self._holes = Holes(request.transcript)
        self._next = {
            a.segment_id: b
            for a, b in itertools.pairwise(ordered)
            if b.start_ms - a.end_ms <= ANSWER_WITHIN_MS and not self._holes.apart(a, b)
        }
        turns = read(request.transcript)
        self._tails = Tails(turns)
        self._speakers = Speakers(ordered)
        self._open = [
            (frozenset(s.segment_id for s in one.unit.segments), one.missing) for turn in turns for one in turn.open
        ]
        self._inputs = {item.input_id: item.text for item in request.inputs}
        self._facts = dict(request.facts)

    def judge(self, sentence: NoteSentence) -> tuple[SentenceStatus, str]:
        """The sentence's status, and why it is held back ("" when it is not)."""
        if not sentence.evidence:
            return SentenceStatus.UNSUPPORTED, NO_EVIDENCE
        reason = next(filter(None, map(self._exists, sentence.evidence)), "")
        if reason:
            return SentenceStatus.UNSUPPORTED, reason
        if sentence.status is SentenceStatus.CLINICIAN_ENTERED:
            typed = [self._inputs[e.source_id] for e in sentence.evidence if e.source is EvidenceSource.INPUT]
            entered = any(plain(sentence.text) in plain(text) for text in typed)
            return sentence.status, "" if entered else NOT_TYPED
        spoken = {e.source_id: e for e in sentence.evidence if e.source is EvidenceSource.SEGMENT}
        text, of_tail = self._tails.taken_off(sentence.text, frozenset(spoken))
        if of_tail:  # what is left is judged like any other
            left = tuple(e for e in sentence.evidence if e not in {spoken[i] for i in of_tail})
            sentence = replace(sentence, text=text, evidence=left)
        ground = self._ground(sentence.evidence)
        checks: tuple[Callable[[NoteSentence, _Ground], str], ...] = (
            _moment, _quotes, _missing, _speaker, _numbers, _unseen, _risk, _to_scribe, _polarity,
        )  # fmt: skip
        reason = next(filter(None, (one(sentence, ground) for one in checks)), "")
        if reason:
            return SentenceStatus.UNSUPPORTED, reason
        share = _share(sentence, ground)
        if share < INFERRED_SHARE:
            return SentenceStatus.UNSUPPORTED, LITTLE_SUPPORT
        return (SentenceStatus.SUPPORTED if share >= SUPPORTED_SHARE else SentenceStatus.INFERRED), ""

    def _exists(self, evidence: Evidence) -> str:
        text: str | None = None
        if evidence.source is EvidenceSource.SEGMENT:
            segment = self._segments.get(evidence.source_id)
            text = segment.text if segment is not None else None
        elif evidence.source is EvidenceSource.INPUT:
            text = self._inputs.get(evidence.source_id)
        elif evidence.source is EvidenceSource.RECORD:
            text = self._facts.get(evidence.source_id)
        if text is None:
            return UNKNOWN_EVIDENCE
        return "" if text_sha256(text) == evidence.sha256 else CHANGED_EVIDENCE

    def _ground(self, evidence: Sequence[Evidence]) -> _Ground:
        segments, texts = [], []
        for item in evidence:
            if item.source is EvidenceSource.SEGMENT:
                segments.append(self._segments[item.source_id])
            elif item.source is EvidenceSource.INPUT:
                texts.append(self._inputs[item.source_id])
            else:
                texts.append(self._facts[item.source_id])
        segments.sort(key=lambda s: (s.start_ms, s.segment_id))
        replies = {
            segment.segment_id: reply
            for segment in segments
            if _asks(segment) and (reply := self._next.get(segment.segment_id)) is not None
        }
        return _Ground(
            tuple(segments),
            tuple(texts),
            replies,
            runs=self._holes.runs(segments),
            spliced=self._holes.spliced(segments),
            unanswered=frozenset(
                words
                for ids, missing in self._open
                if not ids.isdisjoint(segment.segment_id for segment in segments)
                for words in (missing, PART_MISSING)
            ),
            speakers=self._speakers,
        )


# -- the checks, each "" or the reason ---------------------------------------------------------------------------------


def _outside(text: str) -> str:
    """The sentence without its quotes and its moment: what the writer itself says."""
    outside = QUOTE.sub(" ", MOMENT.sub("", _curly(text)))
    for claim in CLAIMS:
        outside = outside.replace(claim, " ")
    return outside


def _curly(text: str) -> str:
    return re.sub(r'"([^"]*)"', r"“\1”", text)


def _moment(sentence: NoteSentence, ground: _Ground) -> str:
    given = MOMENT.match(sentence.text)
    if given is None or given["moment"] in {moment(segment.start_ms) for segment in ground.segments}:
        return ""
    return WRONG_MOMENT


def _quotes(sentence: NoteSentence, ground: _Ground) -> str:
    text = _curly(sentence.text)
    spoken = [(run[0], _smoothed(" ".join(segment.text for segment in run))) for run in ground.runs]
    attributed = {match.span("words"): match for match in ATTRIBUTED.finditer(text)}
    for quote in QUOTE.finditer(text):
        match = attributed.get(quote.span(1))
        who = None if match is None else Role.CLINICIAN.value if match["asked"] else match["who"]
        if any(_holds(words, quote[1]) for voice, words in spoken if ground.speakers.may_give(who, voice)):
            continue
        if who is None and any(_holds(_smoothed(typed), quote[1]) for typed in ground.texts):
            continue
        return WRONG_SPEAKER if any(_holds(words, quote[1]) for _, words in spoken) else QUOTE_NOT_SAID
    return ""


def _missing(sentence: NoteSentence, ground: _Ground) -> str:
    if ground.spliced:
        return OVER_A_GAP
    outside = plain(_outside(sentence.text)).split()
    if ground.unanswered and "asked" not in outside and not ground.texts and all(map(_only_asks, ground.segments)):
        return NOT_ANSWERED
    words = QUOTE.sub(" ", _curly(sentence.text))
    claims = {claim for claim in CLAIMS if claim in words}
    return "" if claims <= ground.unanswered else NOTHING_MISSING


def _smoothed(text: str) -> str:
    return f" {plain(smooth(text))} "


def _holds(words: str, quote: str) -> bool:
    """True when every piece of the quote (pieces are parted by an ellipsis) stands in the words, in this order."""
    at = 0
    for piece in quote.split("…"):
        wanted = _smoothed(piece)
        if not wanted.strip():
            continue
        found = words.find(wanted, at)
        if found < 0:
            return False
        at = found + len(wanted) - 1
    return True


def _speaker(sentence: NoteSentence, ground: _Ground) -> str:
    if ground.speakers.singles_out(_outside(sentence.text), ground.segments):
        return WRONG_SPEAKER
    said = _CLIENT_SAYS.search(_outside(sentence.text))
    if said is None or ground.texts or QUOTE.search(_curly(sentence.text)):
        return ""
    heard = {segment.role for segment in ground.segments}
    return "" if heard & (CLIENT_SIDE | {Role.INTERPRETER}) else WRONG_SPEAKER


def _numbers(sentence: NoteSentence, ground: _Ground) -> str:
    there = frozenset[str]().union(*(numbers(text) for text in ground.all_texts))
    return "" if numbers(MOMENT.sub("", sentence.text)) - numbers_of_people(sentence.text) <= there else NUMBER_MISSING


def _unseen(sentence: NoteSentence, ground: _Ground) -> str:
    there = set(content_stems(" ".join(ground.all_texts)))
    for term in UNSEEN.found(plain(_outside(sentence.text))):
        if not set(content_stems(term)) <= there:
            return NOT_AUDIBLE
    return ""


def _risk(sentence: NoteSentence, _ground: _Ground) -> str:
    return SCORED_RISK if RISK_LEVEL.search(plain(_outside(sentence.text))) else ""


def _to_scribe(sentence: NoteSentence, ground: _Ground) -> str:
    if not any(TO_THE_SCRIBE.search(plain(segment.text)) for segment in ground.segments):
        return ""
    return SPOKEN_TO_SCRIBE if _share(sentence, ground) < SUPPORTED_SHARE else ""


def _polarity(sentence: NoteSentence, ground: _Ground) -> str:
    clauses = _evidence_clauses(ground)
    for part in re.split(r"[;]|\b(?:but|although|though|however)\b", _outside(sentence.text), flags=re.IGNORECASE):
        stems = _content(part)
        overlaps = [(len(stems & words), denies) for words, denies in clauses]
        most = max((count for count, _ in overlaps), default=0)
        if not stems or not most:
            continue
        said = {denies for count, denies in overlaps if count == most}
        if None not in said and negated(part) not in said:
            return NEGATION_DIFFERS
    return ""


def _evidence_clauses(ground: _Ground) -> list[tuple[set[str], bool | None]]:
    """Clauses with their words of content, and whether each denies; None where a question is left open."""
    clauses: list[tuple[set[str], bool | None]] = []
    for segment in ground.segments:
        answer = ground.replies.get(segment.segment_id)
        for text in sentences_of(segment.text):
            if text.rstrip().endswith("?"):
                clauses.append((_content(text), _yes_no(answer.text) if answer is not None else None))
            else:
                clauses += [(_content(part), negated(part)) for part in _CLAUSES.split(text) if part.strip()]
    for text in ground.texts:
        clauses += [(_content(part), negated(part)) for part in _CLAUSES.split(text) if part.strip()]
    return clauses


def _asks(segment: Segment) -> bool:
    return segment.text.rstrip().endswith("?")


def _only_asks(segment: Segment) -> bool:
    return all(text.rstrip("\"”' ").endswith("?") for text in sentences_of(segment.text))


def _yes_no(answer: str) -> bool | None:
    """True when an answer denies, False when it affirms, None when it does neither in its first words."""
    for word in plain(smooth(answer)).split()[:4]:
        if word in {"no", "nope", "nah", "not", "never", "none", "nothing", "don't", "didn't", "haven't", "wouldn't"}:
            return True
        if word in {"yes", "yeah", "yep", "sometimes", "often", "always"}:
            return False
    return None


def _content(text: str) -> set[str]:
    return set(content_stems(without_numbers(text))) - FRAME


def _share(sentence: NoteSentence, ground: _Ground) -> float:
    """How much of what the writer itself says stands in the evidence; words to the scribe are no evidence."""
    stems = _content(_outside(sentence.text))
    if not stems:
        return 1.0
    heard = [segment.text for segment in ground.segments if not TO_THE_SCRIBE.search(plain(segment.text))]
    there = set(content_stems(" ".join([*heard, *ground.texts])))
    return len(stems & there) / len(stems)
