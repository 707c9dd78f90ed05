"""Segments and ledgers as JSON: what is sealed, and what lies in a JSON column.

The form is versioned by its first key, so that a later release can read what an earlier one sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bot.events import Ledger, Role, Segment, Word

SEGMENT_VERSION = 1


def segment_to_json(segment: Segment) -> bytes:
    """The whole segment as UTF-8 JSON; :func:`segment_from_json` gives an equal one back."""
    return json.dumps(
        {
            "v": SEGMENT_VERSION,
            "id": segment.segment_id,
            "rev": segment.rev,
            "final": segment.final,
            "lane_id": segment.lane_id,
            "participant_id": segment.participant_id,
            "role": segment.role.value,
            "start_ms": segment.start_ms,
            "end_ms": segment.end_ms,
            "text": segment.text,
            "words": [[w.text, w.start_ms, w.end_ms, w.probability] for w in segment.words],
            "confidence": segment.confidence,
            "language": segment.language,
            "committed_through_sample": segment.committed_through_sample,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode("utf-8", "surrogatepass")


def segment_from_json(raw: bytes) -> Segment:
    """The segment that was written. Raises ValueError for a form this release does not know."""
    data = json.loads(raw.decode("utf-8", "surrogatepass"))
    if not isinstance(data, dict) or data.get("v") != SEGMENT_VERSION:
        raise ValueError("a segment of an unknown form")
    return Segment(
        segment_id=data["id"],
        rev=data["rev"],
        final=data["final"],
        lane_id=data["lane_id"],
        participant_id=data["participant_id"],
        role=Role(data["role"]),
        start_ms=data["start_ms"],
        end_ms=data["end_ms"],
        text=data["text"],
        words=tuple(Word(text, start, end, probability) for text, start, end, probability in data["words"]),
        confidence=data["confidence"],
        language=data["language"],
        committed_through_sample=data["committed_through_sample"],
    )


def ledger_to_json(ledger: Ledger) -> dict[str, int]:
    """The counters by name."""
    return asdict(ledger)


def ledger_from_json(data: Mapping[str, Any]) -> Ledger:
    """The ledger of a JSON column; counters it does not name are zero."""
    known = Ledger.__dataclass_fields__
    return Ledger(**{name: int(count) for name, count in data.items() if name in known})
