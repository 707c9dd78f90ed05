"""Acks that were given: found at once in memory, found for good in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.control.capture import Ack
from bot.control.memory import REMEMBERED, AckMemory
from bot.errors import IdempotencyConflict
from bot.events import CaptureState
from bot.store.sessions import SessionStore

ACK = Ack(CaptureState.PAUSED, 1234, 7)


class Rows:
    """The two calls of the store that acks need."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], dict[str, Any]] = {}

    async def remembered_ack(self, session_id: str, who: str, message_id: str) -> dict[str, Any] | None:
        return self.rows.get((session_id, who, message_id))

    async def remember_ack(self, session_id: str, who: str, message_id: str, ack: Mapping[str, Any]) -> None:
        self.rows[session_id, who, message_id] = dict(ack)


def memory(rows: Rows) -> AckMemory:
    return AckMemory(cast("SessionStore", rows), "ses_1")


async def test_an_ack_is_found_by_its_sender_and_id_after_a_restart_too() -> None:
    rows = Rows()
    acks = memory(rows)
    assert acks.recent("ellis", "m1", "pause") is None
    assert await acks.find("ellis", "m1", "pause") is None
    await acks.keep("ellis", "m1", "pause", ACK)
    assert acks.recent("ellis", "m1", "pause") == ACK
    assert acks.recent("robin", "m1", "pause") is None, "another sender's message of the same id is another message"
    again = memory(rows)
    assert again.recent("ellis", "m1", "pause") is None
    assert await again.find("ellis", "m1", "pause") == ACK


async def test_a_message_without_an_id_is_not_remembered() -> None:
    rows = Rows()
    acks = memory(rows)
    await acks.keep("ellis", None, "pause", ACK)
    assert not rows.rows
    assert acks.recent("ellis", None, "pause") is None
    assert await acks.find("ellis", None, "pause") is None


async def test_memory_is_bounded_and_the_store_has_the_rest() -> None:
    rows = Rows()
    acks = memory(rows)
    for number in range(REMEMBERED + 1):
        await acks.keep("ellis", f"m{number}", "pause", ACK)
    assert acks.recent("ellis", "m0", "pause") is None
    assert acks.recent("ellis", "m1", "pause") == ACK
    assert await acks.find("ellis", "m0", "pause") == ACK


async def test_another_action_under_the_same_id_is_refused_after_a_restart_too() -> None:
    rows = Rows()
    acks = memory(rows)
    await acks.keep("ellis", "m1", "pause", ACK)
    again = memory(rows)
    with pytest.raises(IdempotencyConflict):
        acks.recent("ellis", "m1", "start")
    for one in (acks, again):
        with pytest.raises(IdempotencyConflict):
            await one.find("ellis", "m1", "start")
        assert await one.find("ellis", "m1", "pause") == ACK


async def test_what_an_older_release_stored_is_taken_for_the_same_message() -> None:
    rows = Rows()
    rows.rows["ses_1", "ellis", "m1"] = {"state": "paused", "effective_at_ms": 1234, "seq": 7}
    assert await memory(rows).find("ellis", "m1", "pause") == ACK
