"""The finals of all lanes become one transcript on the call's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from bot.events import Gap, Segment, Transcript


class Attribution(StrEnum):
    """How it is known whose words they are."""

    OWN = "own"
    """They came from a microphone that is one person's."""
    SHARED = "shared"
    """They came from one that several people share: any of them may have said it."""
    SEPARATED = "separated"
    """They came from such a one, and voices were told apart."""


def assemble(
    session_id: str, segments: Iterable[Segment], gaps: Iterable[Gap] = (), language: str = "en"
) -> Transcript:
    """Finals with words, in the order they were spoken, each once; gaps of the same kind that touch are joined."""
    latest: dict[str, Segment] = {}
    for segment in segments:
        known = latest.get(segment.segment_id)
        if segment.final and (known is None or segment.rev >= known.rev):
            latest[segment.segment_id] = segment
    spoken = sorted(
        (segment for segment in latest.values() if segment.text),
        key=lambda s: (s.start_ms, s.end_ms, s.lane_id, s.segment_id),
    )
    return Transcript(session_id, tuple(spoken), joined(gaps), language)


def joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Gaps in order, without empty ones; those alike in all but time are one where they touch or overlap."""
    result: list[Gap] = []
    last: dict[tuple[object, ...], int] = {}
    for gap in sorted(gaps, key=lambda g: (g.start_ms, g.end_ms, g.participant_id or "")):
        if gap.end_ms <= gap.start_ms:
            continue
        kind = (gap.reason, gap.participant_id, gap.pause_reasons)
        at = last.get(kind)
        if at is not None and gap.start_ms <= result[at].end_ms:
            result[at] = replace(result[at], end_ms=max(result[at].end_ms, gap.end_ms))
            continue
        last[kind] = len(result)
        result.append(gap)
    return tuple(result)


def to_json(
    transcript: Transcript, names: Mapping[str, str], shared: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """A transcript with its gaps, as the outside reads it; ``names`` by participant, who else is called by role.

    ``shared`` has the ids of all who sit at a participant's microphone, where that is more than one.
    """
    return {
        "session_id": transcript.session_id,
        "language": transcript.language,
        "segments": [
            {
                "id": s.segment_id,
                **_whose(s, names),
                "start_ms": s.start_ms,
                "end_ms": s.end_ms,
                "text": s.text,
                "confidence": round(s.confidence, 4),
            }
            for s in transcript.segments
        ],
        "gaps": [
            {
                "start_ms": g.start_ms,
                "end_ms": g.end_ms,
                "reason": g.reason.value,
                "participant_id": g.participant_id,
                "display_name": _missed(g, names, shared or {}),
                "pause_reasons": [reason.value for reason in g.pause_reasons],
            }
            for g in transcript.gaps
        ],
    }


def _whose(segment: Segment, names: Mapping[str, str]) -> dict[str, Any]:
    """Who said it. What came from a shared microphone is nobody's alone: it has no one person, only speakers."""
    if not segment.speakers:
        return {
            "participant_id": segment.participant_id,
            "role": segment.role.value,
            "display_name": names.get(segment.participant_id, segment.role.value.capitalize()),
            "speakers": [segment.participant_id],
            "attribution": Attribution.OWN.value,
        }
    roles = {one.role for one in segment.speakers}
    called = [names.get(one.participant_id, one.role.value.capitalize()) for one in segment.speakers]
    return {
        "participant_id": None,
        "role": segment.role.value if len(roles) == 1 else None,
        "display_name": listed(called, "or"),
        "speakers": [one.participant_id for one in segment.speakers],
        "attribution": Attribution.SHARED.value,
    }


def _missed(gap: Gap, names: Mapping[str, str], shared: Mapping[str, Sequence[str]]) -> str | None:
    if gap.participant_id is None:
        return None
    there = shared.get(gap.participant_id, (gap.participant_id,))
    return listed([names[who] for who in there if who in names], "and") or None


def listed(names: Sequence[str], word: str) -> str:
    """``Robin``, ``Robin or Sam``, ``Robin, Sam or Kim``."""
    return f" {word} ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
