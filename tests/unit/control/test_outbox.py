"""What may be left out for a slow receiver, and what may not."""

from __future__ import annotations

from typing import Any

from bot.control.outbox import Outbox


def state(number: int) -> dict[str, Any]:
    return {"type": "state", "seq": number}


def caption(segment: str, rev: int, *, final: bool = False) -> dict[str, Any]:
    return {"type": "caption", "segment_id": segment, "rev": rev, "final": final}


async def drain(outbox: Outbox) -> list[Any]:
    return [await outbox.get() for _ in range(outbox.depth)]


async def test_messages_come_in_order() -> None:
    outbox = Outbox()
    sent = [state(1), caption("a", 0), state(2), caption("a", 1, final=True), {"type": "ack"}]
    for message in sent:
        assert outbox.put(message)
    assert await drain(outbox) == sent


async def test_a_newer_one_replaces_what_it_makes_worthless() -> None:
    dropped: list[str] = []
    outbox = Outbox(on_drop=dropped.append)
    old, new = {"type": "levels", "n": 1}, {"type": "levels", "n": 2}
    for message in (caption("a", 0), caption("b", 0), old, caption("a", 1), new):
        outbox.put(message)
    assert await drain(outbox) == [caption("b", 0), caption("a", 1), new]
    assert dropped == ["caption", "levels"]


async def test_partials_make_room_for_what_matters() -> None:
    outbox = Outbox(limit=3)
    for message in (caption("a", 0), {"type": "ledger"}, state(1)):
        assert outbox.put(message)
    assert outbox.put(state(2))
    assert outbox.put(caption("a", 9, final=True))
    assert outbox.put(caption("b", 0)), "left out, and no harm done"
    assert await drain(outbox) == [state(1), state(2), caption("a", 9, final=True)]
    assert not outbox.over


async def test_too_far_behind_is_over_and_keeps_nothing() -> None:
    outbox = Outbox(limit=2)
    outbox.put(state(1))
    outbox.put(caption("a", 0, final=True))
    assert not outbox.put({"type": "ack"})
    assert outbox.over
    assert outbox.depth == 0
    assert await outbox.get() is None
    assert not outbox.put(state(2))
