from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from bot.events import SessionEvent
from bot.notes.webhooks import RETRY_AFTER, body_of, message, next_attempt, signatures
from bot.store.webhook_store import PUBLIC_KINDS, DeliveryRecord, RetiredSecret, WebhookRecord
from tests.conftest import ROOT

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


VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The test vector of Standard Webhooks."""


def test_signatures_are_the_published_ones() -> None:
    said = ("msg_p5jXN8AQM9LWM0D4loKWxJek", VECTOR_AT, '{"test": 2432232314}')
    assert signatures((VECTOR_SECRET,), *said) == VECTOR
    elsewhere = (said[0], VECTOR_AT.astimezone(timezone(timedelta(hours=5, minutes=30))), said[2])
    assert signatures((VECTOR_SECRET,), *elsewhere) == VECTOR
    first, second = signatures(("whsec_" + "QUJD" * 8, VECTOR_SECRET), *said).split(" ")
    assert second == VECTOR
    assert first.startswith("v1,")
    assert first != VECTOR


def hook(**more: Any) -> WebhookRecord:
    return WebhookRecord("whk_1", "demo", "https://x.example/", "whsec_new", AT, None, **more)


def delivery(event: SessionEvent | None, session_id: str | None) -> DeliveryRecord:
    kind = event.kind if event else "webhook.test"
    return DeliveryRecord("msg_1", "whk_1", kind, AT, session_id, event, 0, 0, AT, None, None, None, None)


def test_a_replaced_secret_signs_until_its_time_is_up() -> None:
    old = hook(retired=(RetiredSecret("whsec_b", AT + timedelta(hours=2)), RetiredSecret("whsec_a", AT)))
    assert old.signs_with(AT) == ("whsec_new", "whsec_b")
    assert old.overlap_until(AT) == AT + timedelta(hours=2)
    assert old.signs_with(AT + timedelta(hours=2)) == ("whsec_new",)
    assert old.overlap_until(AT + timedelta(hours=2)) is None
    assert "whsec_" not in repr(old)


def test_a_body_is_the_same_at_each_attempt() -> None:
    event = SessionEvent("ses_1", 7, "note.draft_ready", AT, {"version": 2, "note_id": "note_1"})
    again = SessionEvent("ses_1", 7, "note.draft_ready", AT, {"note_id": "note_1", "version": 2})
    assert body_of(hook(), delivery(event, "ses_1")) == body_of(hook(), delivery(again, "ses_1"))
    test = json.loads(body_of(hook(), delivery(None, None)) or "")
    assert test == {
        "type": "webhook.test",
        "timestamp": "2026-01-05T09:00:00Z",
        "data": {"clinic_id": "demo", "webhook_id": "whk_1"},
    }
    assert body_of(hook(), delivery(None, "ses_1")) is None, "an event that is there no more has nothing to say"


def test_the_document_names_every_kind_and_the_schedule() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    named = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE))
    assert named == PUBLIC_KINDS
    waits = re.findall(r"^\| \d+ \| (\d+) (s|min|h) after", text, re.MULTILINE)
    seconds = {"s": 1, "min": 60, "h": 3600}
    assert [int(n) * seconds[unit] for n, unit in waits] == [wait.total_seconds() for wait in RETRY_AFTER]
