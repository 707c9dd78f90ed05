"""What each seat may read of a message."""

from __future__ import annotations

from typing import Any

import pytest

from bot.control.telling import as_read_by
from bot.events import Role

STATE: dict[str, Any] = {
    "type": "state",
    "session_id": "ses_1",
    "seq": 12,
    "bot": "done",
    "bot_end_reason": "stopped_by_clinician",
    "capture": "finished",
    "pause_reasons": [],
    "since_ms": 9000,
    "now_ms": 9500,
    "audio": "erased",
    "transcript": "ready",
    "note": "draft",
    "note_id": "not_1",
    "words": "Draft ready",
    "attributes": {"scribe.state": "off"},
}
OF_THE_NOTE = {"audio", "transcript", "note", "note_id"}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.CLINICIAN}))
def test_nobody_but_clinicians_reads_what_becomes_of_the_note(role: Role) -> None:
    read = as_read_by(role, STATE | {"a_field_of_tomorrow": "private"})
    assert set(read) == set(STATE) - OF_THE_NOTE
    assert read["words"] == "Not recording"
    for words in ("Processing", "Could not generate"):
        assert as_read_by(role, STATE | {"words": words})["words"] == "Not recording"
    for words in ("Waiting for consent", "Starting", "Recording", "Paused"):
        assert as_read_by(role, STATE | {"words": words})["words"] == words


def test_clinicians_read_it_all_and_other_messages_are_the_same_for_all() -> None:
    assert as_read_by(Role.CLINICIAN, STATE) == STATE
    caption = {"type": "caption", "text": "I slept badly."}
    assert as_read_by(Role.CLIENT, caption) == caption
