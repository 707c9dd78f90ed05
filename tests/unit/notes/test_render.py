from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.events import NoteSentence, SentenceStatus, TextInput
from bot.notes.extractive import compose
from bot.notes.render import decode, encode, note_from_json, note_to_json
from tests.unit.notes.sessions import TEMPLATES, THERAPY, request

DRAFT = replace(
    compose(TEMPLATES["soap"], request(THERAPY, inputs=[TextInput("inp_1", "observation", "Calm.", "u")])),
    held_back=(NoteSentence("plan.9", "Client is 50.", SentenceStatus.UNSUPPORTED, (), "A reason."),),
)


def test_json_and_back_is_the_same_draft() -> None:
    assert note_from_json(json.loads(json.dumps(note_to_json(DRAFT)))) == DRAFT
    assert decode(encode(DRAFT)) == DRAFT
    assert encode(decode(encode(DRAFT))) == encode(DRAFT)


def test_the_json_is_what_pages_read() -> None:
    values = note_to_json(DRAFT)
    assert set(values) >= {"template", "template_version", "writer", "notice", "coverage", "sections", "held_back"}
    sentence = values["sections"][0]["sentences"][0]
    assert set(sentence) == {"id", "text", "status", "evidence"}
    assert set(sentence["evidence"][0]) == {"source", "source_id", "start_ms", "end_ms", "sha256"}
    assert values["held_back"][0]["reason"] == "A reason."


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"3", b"{}", b'{"schema":2}', b'{"schema":1,"template":"x"}'])
def test_what_is_no_note_is_refused_without_being_repeated(data: bytes) -> None:
    with pytest.raises(ValueError, match="note"):
        decode(data)
