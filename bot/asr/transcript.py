"""The finals of all lanes become one transcript on the call's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bot.events import Gap, Segment, Transcript


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


def to_json(transcript: Transcript, names: Mapping[str, str]) -> dict[str, Any]:
    """A transcript with its gaps, as the outside reads it; ``names`` by participant, who else is called by role."""
    return {
        "session_id": transcript.session_id,
        "language": transcript.language,
        "segments": [
            {
                "id": s.segment_id,
                "participant_id": s.participant_id,
                "role": s.role.value,
                "display_name": names.get(s.participant_id, s.role.value.capitalize()),
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
                "pause_reasons": [reason.value for reason in g.pause_reasons],
            }
            for g in transcript.gaps
        ],
    }
