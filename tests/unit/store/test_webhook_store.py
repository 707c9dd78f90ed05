from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.errors import NotFound
from bot.events import BotState, SessionEvent
from bot.store.db import Database
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookStore


@pytest.fixture
def webhooks(db: Database, vault: FileVault, clock: ManualClock, store: SessionStore) -> WebhookStore:
    return WebhookStore(db, vault, clock)


async def moved(store: SessionStore, session: SessionRecord) -> SessionEvent:
    await store.change(session.id, "bot.state_changed", data={"state": "requested"}, bot=BotState.REQUESTED)
    return (await store.events(session.id, 0))[-1]


async def test_an_endpoints_secret_is_sealed(webhooks: WebhookStore, tmp_path: Path) -> None:
    made = await webhooks.add("harbour", "https://example.org/hook")
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    assert await webhooks.get(made.id, clinic_id="harbour") == made
    assert await webhooks.endpoints("harbour") == [made]
    content = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("quietnote.db*"))
    assert made.secret[6:].encode() not in content
    for attempt in (webhooks.get(made.id, clinic_id="other"), webhooks.get("whk_x"), webhooks.add("nowhere", "x")):
        with pytest.raises(NotFound):
            await attempt


async def test_an_event_is_queued_once_for_each_endpoint_of_its_clinic(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await webhooks.add("other", "https://other.example/hook")
    assert await webhooks.queue(await moved(store, session)) == 0
    clock.advance(1)
    hooks = [await webhooks.add("harbour", f"https://example.org/{n}") for n in range(2)]
    event = await moved(store, session)
    await asyncio.gather(*(webhooks.queue(event) for _ in range(3)))
    due = await webhooks.due()
    assert sorted(d.webhook_id for d in due) == sorted(h.id for h in hooks)
    assert len({d.id for d in due}) == 2
    assert all(d.event == event and d.attempts == 0 for d in due)
    await store.change(session.id, "call.clock_started")  # ours alone
    assert await webhooks.queue((await store.events(session.id, event.seq))[0]) == 0
    assert await webhooks.catch_up() == 0


async def test_what_a_crash_kept_from_being_queued_is_found(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    clock.advance(1)
    hook = await webhooks.add("harbour", "https://example.org/hook")
    event = await moved(store, session)
    assert await webhooks.due() == []
    assert await webhooks.catch_up() == 1  # and not the events from before there was an endpoint
    assert await webhooks.catch_up() == 0
    assert [(d.webhook_id, d.event) for d in await webhooks.due()] == [(hook.id, event)]


async def test_how_a_delivery_goes(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    await webhooks.queue(await moved(store, session))
    (delivery,) = await webhooks.due()
    await webhooks.failed(delivery.id, 503, next_at=clock.now() + timedelta(seconds=5))
    assert await webhooks.due() == []
    clock.advance(5)
    (again,) = await webhooks.due()
    assert (again.id, again.attempts, again.last_status) == (delivery.id, 1, 503)
    await webhooks.delivered(delivery.id, 204)
    assert await webhooks.due() == []
    (kept,) = await webhooks.deliveries(hook.id)
    assert (kept.attempts, kept.last_status, kept.delivered_at) == (2, 204, clock.now())
    await webhooks.replay(delivery.id)
    assert [d.id for d in await webhooks.due()] == [delivery.id]
    await webhooks.disable(hook.id)
    assert await webhooks.due() == []
    assert await webhooks.queue(await moved(store, session)) == 0
    with pytest.raises(NotFound):
        await webhooks.replay("msg_unknown")
    with pytest.raises(NotFound):
        await webhooks.disable(hook.id, clinic_id="other")
