"""What a transcript's gaps forbid: nothing is joined over a stretch that nobody wrote down.

A gap ends the sentence, the turn and the open question of everybody it holds for. What was said before it and what was
said after it were not said as one, and whatever lies between them, an answer perhaps, is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bot.events import CLIENT_SIDE, Gap, GapReason, Role, Segment, Transcript

CLOCK_SLACK_MS = 250
"""How far two lanes may stand apart on the call's clock before they are anchored again."""
MISSED_LEAST_MS = 5000
"""A lane that was absent for less, while others spoke, is not worth a word to the reader."""

ASKS_LEAST_MS = 1500
"""A hole in the asker's own sound hides no other question below this: people speak two to four words a second, and a
question that turns to something else takes four or more. What fits into less ("And?", "Really?") stays with the one
before it."""

IN_WORDS = {
    GapReason.PAUSED: "recording was paused",
    GapReason.WITHHELD: "somebody had not agreed to it",
    GapReason.LOST: "sound was lost on its way",
    GapReason.ABSENT: "somebody's sound was missing",
    GapReason.INTERRUPTED: "the service was away",
    GapReason.OFF: "recording had ended and was started again",
}
BREAKS_OFF = "; what followed was not recorded."
"""Stands after a question whose answer may lie in a gap, where nobody was heard to answer."""
PART_MISSING = "; part of what followed was not recorded."
"""Stands after a question, or the beginning of its answer, where something was heard after the gap."""
ASKER_MISSING = "; part of the clinician's sound is missing here."
"""The same, where the answering side was heard all along: another question may have been asked."""
CLAIMS = (BREAKS_OFF, PART_MISSING, ASKER_MISSING)
NOT_DISCUSSED = "Not discussed in what was recorded."
NOTICE = " Part of the session was not recorded ({why}): what was said there is missing, and nothing is joined over it."


class Holes:
    """The gaps of a transcript, asked about."""

    def __init__(self, transcript: Transcript) -> None:
        self._gaps = transcript.gaps
        self._lengths = _lengths(transcript.gaps)
        self._segments = transcript.segments
        spoken = {segment.participant_id: segment.role for segment in transcript.segments}
        self._clinicians = frozenset(who for who, role in spoken.items() if role is Role.CLINICIAN)
        self._next_of_person: dict[str, str] = {}
        for person in spoken:
            said = [segment for segment in _in_order(transcript.segments) if segment.participant_id == person]
            self._next_of_person |= {a.segment_id: b.segment_id for a, b in pairwise(said)}
        listed = {gap.participant_id for gap in transcript.gaps if gap.participant_id is not None}
        # somebody who was never heard may be who would have answered
        self._answering = frozenset(
            who for who in listed | set(spoken) if spoken.get(who, Role.CLIENT) in CLIENT_SIDE | {Role.INTERPRETER}
        )

    def apart(self, a: Segment, b: Segment) -> bool:
        """True when a gap of everybody, or of either speaker, lies between ``a`` and ``b``, which began later.

        A clinician's own lane counts, before what somebody else says, from :data:`ASKS_LEAST_MS`.
        """
        if a.participant_id == b.participant_id:
            return self._any(a.start_ms + _slack(a), b.end_ms - _slack(b), frozenset((a.participant_id,)))
        begin = max(a.start_ms, min(a.end_ms, b.start_ms) - CLOCK_SLACK_MS)
        end = min(b.end_ms, b.start_ms + CLOCK_SLACK_MS)
        least_ms = ASKS_LEAST_MS if a.role is Role.CLINICIAN else 0
        return self._any(begin, end, frozenset((b.participant_id,))) or self._any(
            begin, end, frozenset((a.participant_id,)), least_ms
        )

    def question_missed(self, first: Segment, later: Segment) -> bool:
        """True when a clinician may have asked something else, unheard, since ``first`` and before ``later``."""
        return self._any(first.start_ms, later.start_ms + CLOCK_SLACK_MS, self._clinicians, ASKS_LEAST_MS)

    def answer_missed(self, asked: Segment, later: Segment | None) -> bool:
        """True when what was said to a question may lie in a gap before ``later``, or before the end.

        Before somebody else's words a gap of the asker's own lane counts when another question has room in it; before
        the asker's own it counts at any length, as the question itself may go on in it.
        """
        if self._any(*_after(asked, later), self._answering):
            return True
        cut = later is not None and later.participant_id == asked.participant_id
        own = frozenset((asked.participant_id,))
        return self._any(*_after(asked, later), own, 0 if cut else ASKS_LEAST_MS)

    def missing(self, asked: Segment, later: Segment | None) -> str:
        """What a note says of a gap between a question and ``later``: of the answers, or of the asker alone."""
        return PART_MISSING if self._any(*_after(asked, later), self._answering) else ASKER_MISSING

    def runs(self, segments: Sequence[Segment]) -> tuple[tuple[Segment, ...], ...]:
        """``segments``, in order, by speaker and parted at the gaps: only what stands in one was said as one.

        At a shared microphone each stands alone: the next may be another's.
        """
        runs: list[list[Segment]] = []
        last: dict[str, list[Segment]] = {}
        for segment in segments:
            run = last.get(segment.participant_id)
            if run is None or segment.speakers or self.apart(run[-1], segment):
                run = last[segment.participant_id] = []
                runs.append(run)
            run.append(segment)
        return tuple(map(tuple, runs))

    def spliced(self, segments: Sequence[Segment]) -> bool:
        """True when ``segments``, in order, hold two halves of a sentence from either side of a gap.

        Or a clinician's question and, as the first thing that somebody else said after it, words from beyond one.
        """
        for n, a in enumerate(segments):
            for b in segments[n + 1 :]:
                if a.participant_id != b.participant_id:
                    if a.role is Role.CLINICIAN and _ends(a) == "?" and self.apart(a, b):
                        return True
                    break
                follows = self._next_of_person.get(a.segment_id) == b.segment_id
                if follows and _ends(a) not in ".!?…" and self.apart(a, b):
                    return True
        return False

    def told(self) -> tuple[Gap, ...]:
        """The gaps a reader should know of: all, but for people who had not come yet or had left."""
        if not self._segments:
            return tuple(self._gaps)
        begin = min(segment.start_ms for segment in self._segments)
        end = max(segment.end_ms for segment in self._segments)
        return tuple(
            gap
            for gap in self._gaps
            if gap.reason is not GapReason.ABSENT or min(gap.end_ms, end) - max(gap.start_ms, begin) >= MISSED_LEAST_MS
        )

    def notice(self) -> str:
        """What a note says of the gaps; empty where there are none to speak of."""
        reasons = {gap.reason for gap in self.told()}
        why = ", ".join(words for reason, words in IN_WORDS.items() if reason in reasons)
        return NOTICE.format(why=why) if reasons else ""

    def placeholder(self, usual: str) -> str:
        """What stands in an empty section: what was not recorded may have been discussed all the same."""
        if not self.told():
            return usual
        return NOT_DISCUSSED if usual == "Not discussed." else f"{usual} {NOT_DISCUSSED}"

    def _any(self, begin_ms: int, end_ms: int | None, people: frozenset[str], least_ms: int = 0) -> bool:
        return any(
            (gap.participant_id is None or (gap.participant_id in people and length_ms >= least_ms))
            and gap.start_ms < gap.end_ms
            and gap.end_ms > begin_ms
            and (end_ms is None or gap.start_ms < end_ms)
            for gap, length_ms in zip(self._gaps, self._lengths, strict=True)
        )


def _after(asked: Segment, later: Segment | None) -> tuple[int, int | None]:
    """From when until when an answer may have been given before ``later``; no end where nothing came."""
    begin = asked.end_ms if later is None else min(asked.end_ms, later.start_ms)
    return max(asked.start_ms, begin - CLOCK_SLACK_MS), None if later is None else later.start_ms + CLOCK_SLACK_MS


def _lengths(gaps: Sequence[Gap]) -> list[int]:
    """How long each gap is together with those of the same lane that follow on it."""
    lengths = [0] * len(gaps)
    run: list[int] = []
    end_ms = 0
    for n in sorted(range(len(gaps)), key=lambda n: (gaps[n].participant_id or "", gaps[n].start_ms)):
        goes_on = run and gaps[run[0]].participant_id == gaps[n].participant_id
        if not goes_on or gaps[n].start_ms > end_ms + CLOCK_SLACK_MS:
            run, end_ms = [], gaps[n].start_ms
        run.append(n)
        end_ms = max(end_ms, gaps[n].end_ms)
        for one in run:
            lengths[one] = end_ms - gaps[run[0]].start_ms
    return lengths


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda s: (s.start_ms, s.end_ms, s.segment_id))


def _ends(segment: Segment) -> str:
    return segment.text.rstrip("\"”' ")[-1:] or "."


def _slack(segment: Segment) -> int:
    return min(CLOCK_SLACK_MS, (segment.end_ms - segment.start_ms) // 2)
