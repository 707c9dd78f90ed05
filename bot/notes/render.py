"""A draft as JSON (stored sealed, sent to the pages)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.events import Evidence, EvidenceSource, NoteDraft, NoteSection, NoteSentence, SentenceStatus

SCHEMA = 1
"""Version of the JSON form; an older one is still read."""


def note_to_json(draft: NoteDraft) -> dict[str, Any]:
    """The draft as JSON values."""
    return {
        "schema": SCHEMA,
        "template": draft.template_id,
        "template_version": draft.template_version,
        "writer": draft.writer,
        "notice": draft.notice,
        "coverage": draft.coverage,
        "sections": [
            {
                "key": section.key,
                "title": section.title,
                "placeholder": section.placeholder,
                "sentences": [_sentence(sentence) for sentence in section.sentences],
            }
            for section in draft.sections
        ],
        "held_back": [_sentence(sentence) for sentence in draft.held_back],
    }


def note_from_json(data: Mapping[str, Any]) -> NoteDraft:
    """The draft that :func:`note_to_json` wrote. Raises ValueError for anything else, without repeating it."""
    try:
        if data["schema"] != SCHEMA:
            raise ValueError("a note in a form this version does not know")
        return NoteDraft(
            template_id=data["template"],
            template_version=data["template_version"],
            writer=data["writer"],
            sections=tuple(
                NoteSection(
                    key=section["key"],
                    title=section["title"],
                    sentences=tuple(map(_sentence_from, section["sentences"])),
                    placeholder=section["placeholder"],
                )
                for section in data["sections"]
            ),
            held_back=tuple(map(_sentence_from, data["held_back"])),
            coverage=data["coverage"],
            notice=data["notice"],
        )
    except (KeyError, TypeError):
        raise ValueError("not a stored note") from None


def encode(draft: NoteDraft) -> bytes:
    """The draft as canonical JSON in UTF-8: the same draft gives the same bytes."""
    return json.dumps(note_to_json(draft), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes) -> NoteDraft:
    """The draft that :func:`encode` wrote. Raises ValueError for anything else, without repeating it."""
    try:
        values = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("not a stored note") from None
    return note_from_json(values)


def _sentence(sentence: NoteSentence) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": sentence.sentence_id,
        "text": sentence.text,
        "status": sentence.status.value,
        "evidence": [
            {
                "source": item.source.value,
                "source_id": item.source_id,
                "start_ms": item.start_ms,
                "end_ms": item.end_ms,
                "sha256": item.sha256,
            }
            for item in sentence.evidence
        ],
    }
    if sentence.reason:
        values["reason"] = sentence.reason
    return values


def _sentence_from(data: Mapping[str, Any]) -> NoteSentence:
    return NoteSentence(
        sentence_id=data["id"],
        text=data["text"],
        status=SentenceStatus(data["status"]),
        evidence=tuple(
            Evidence(
                source=EvidenceSource(item["source"]),
                source_id=item["source_id"],
                start_ms=item["start_ms"],
                end_ms=item["end_ms"],
                sha256=item["sha256"],
            )
            for item in data["evidence"]
        ),
        reason=data.get("reason", ""),
    )
