from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.events import SessionEvent
from bot.notes.webhooks import RETRY_AFTER, message, next_attempt

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def test_a_message_holds_ids_and_states_only() -> None:
    data = {
        "note_id": "note_1",
        "version": 2,
        "by": "dr@clinic.example",
        "text": "I feel sad",
        "reason": "she said she feels sad",
        "state": "draft",
        "pause_reasons": ["clinician"],
        "reasons": ["two words"],
        "segments": {"a": 1},
    }
    assert message("demo", SessionEvent("ses_1", 7, "note.draft_ready", AT, data)) == {
        "type": "note.draft_ready",
        "timestamp": "2026-01-05T09:00:00Z",
        "data": {
            "note_id": "note_1",
            "version": 2,
            "state": "draft",
            "pause_reasons": ["clinician"],
            "session_id": "ses_1",
            "clinic_id": "demo",
            "seq": 7,
        },
    }


def test_the_schedule_is_the_specifications_and_ends() -> None:
    assert [wait.total_seconds() for wait in RETRY_AFTER] == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    for attempts, wait in enumerate(RETRY_AFTER):
        at = next_attempt("msg_1", attempts, AT)
        assert at is not None
        assert wait <= at - AT <= wait * 1.1
        assert at == next_attempt("msg_1", attempts, AT)
    assert next_attempt("msg_1", len(RETRY_AFTER), AT) is None
    assert next_attempt("msg_1", 0, AT, wait_s=600) == AT + timedelta(seconds=600)
