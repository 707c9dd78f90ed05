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

IN_WORDS = {
    GapReason.PAUSED: "recording was paused",
    GapReason.WITHHELD: "somebody had not agreed to it",
    GapReason.LOST: "sound was lost on its way",
    GapReason.ABSENT: "somebody's sound was missing",
    GapReason.INTERRUPTED: "the service was away",
}
BREAKS_OFF = "; what followed was not recorded."
"""Stands after a question whose answer may lie in a gap."""
NOT_DISCUSSED = "Not discussed in what was recorded."
NOTICE = " Part of the session was not recorded ({why}): what was said there is missing, and nothing is joined over it."


class Holes:
    """The gaps of a transcript, asked about."""

    def __init__(self, transcript: Transcript) -> None:
        self._gaps = transcript.gaps
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
        """True when a gap of everybody, or of either speaker, lies between ``a`` and ``b``, which began later."""
        if a.participant_id == b.participant_id:
            return self._any(a.start_ms + _slack(a), b.end_ms - _slack(b), frozenset((a.participant_id,)))
        begin = max(a.start_ms, min(a.end_ms, b.start_ms) - CLOCK_SLACK_MS)
        end = min(b.end_ms, b.start_ms + CLOCK_SLACK_MS)
        return self._any(begin, end, frozenset((a.participant_id, b.participant_id)))

    def question_missed(self, first: Segment, later: Segment) -> bool:
        """True when a clinician may have asked something else, unheard, since ``first`` and before ``later``."""
        return self._any(first.start_ms, later.start_ms + CLOCK_SLACK_MS, self._clinicians)

    def answer_missed(self, asked: Segment, later: Segment | None) -> bool:
        """True when what was said to a question may lie in a gap before ``later``, or before the end."""
        begin = asked.end_ms if later is None else min(asked.end_ms, later.start_ms)
        begin = max(asked.start_ms, begin - CLOCK_SLACK_MS)
        end = None if later is None else later.start_ms + CLOCK_SLACK_MS
        return self._any(begin, end, self._answering | {asked.participant_id})

    def runs(self, segments: Sequence[Segment]) -> tuple[tuple[Segment, ...], ...]:
        """``segments``, in order, by speaker and parted at the gaps: only what stands in one was said as one."""
        runs: list[list[Segment]] = []
        last: dict[str, list[Segment]] = {}
        for segment in segments:
            run = last.get(segment.participant_id)
            if run is None or self.apart(run[-1], segment):
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

    def _any(self, begin_ms: int, end_ms: int | None, people: frozenset[str]) -> bool:
        return any(
            (gap.participant_id is None or gap.participant_id in people)
            and gap.start_ms < gap.end_ms
            and gap.end_ms > begin_ms
            and (end_ms is None or gap.start_ms < end_ms)
            for gap in self._gaps
        )


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda s: (s.start_ms, s.end_ms, s.segment_id))


def _ends(segment: Segment) -> str:
    return segment.text.rstrip("\"”' ")[-1:] or "."


def _slack(segment: Segment) -> int:
    return min(CLOCK_SLACK_MS, (segment.end_ms - segment.start_ms) // 2)
