"""Endpoints over their life: secrets replaced, switched off and on, deleted; and the log of deliveries."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from bot.clock import ManualClock
from bot.errors import ConfigInvalid, InvalidTransition, NotFound
from bot.events import BotState, SessionEvent
from bot.store import migrate
from bot.store.db import Database
from bot.store.endpoints import MOST_ENDPOINTS
from bot.store.models import WebhookRow
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.vault import FileVault
from bot.store.webhook_store import KEPT, LOOK_BACK, PUBLIC_KINDS, WebhookStore, message_id

DAY = timedelta(days=1)
HOLD = timedelta(seconds=60)


@pytest.fixture
def webhooks(db: Database, vault: FileVault, clock: ManualClock, store: SessionStore) -> WebhookStore:
    return WebhookStore(db, vault, clock)


async def moved(store: SessionStore, session: SessionRecord) -> SessionEvent:
    await store.change(session.id, "bot.state_changed", data={"state": "requested"}, bot=BotState.REQUESTED)
    return (await store.events(session.id, 0))[-1]


async def test_a_secret_is_replaced_and_the_old_one_signs_until_its_end(
    webhooks: WebhookStore, db: Database, clock: ManualClock, tmp_path: Path
) -> None:
    made = await webhooks.add("harbour", "https://example.org/hook")
    new = await webhooks.rotate(made.id, clinic_id="harbour", overlap=timedelta(hours=24))
    assert new.secret != made.secret
    assert new.signs_with(clock.now()) == (new.secret, made.secret)
    assert await webhooks.get(made.id) == new
    clock.advance(3600)
    newer = await webhooks.rotate(made.id, clinic_id="harbour", overlap=timedelta(hours=1))
    assert newer.signs_with(clock.now()) == (newer.secret, new.secret, made.secret)
    with pytest.raises(InvalidTransition):
        await webhooks.rotate(made.id, clinic_id="harbour", overlap=timedelta(hours=1))
    content = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("quietnote.db*"))
    for secret in (made.secret, new.secret, newer.secret):
        assert secret[6:].encode() not in content
    clock.advance(3600)
    assert (await webhooks.get(made.id)).signs_with(clock.now()) == (newer.secret, made.secret)
    clock.advance(23 * 3600)
    await webhooks.sweep()
    async with db.read() as reading:
        row = (await reading.scalars(select(WebhookRow))).one()
    assert (row.sealed_retired, row.retired_until) == (None, None), "a secret past its time is not kept"
    assert (await webhooks.get(made.id)).signs_with(clock.now()) == (newer.secret,)


async def test_a_secret_that_leaked_ends_at_once(webhooks: WebhookStore, clock: ManualClock) -> None:
    made = await webhooks.add("harbour", "https://example.org/hook")
    await webhooks.rotate(made.id, clinic_id="harbour", overlap=DAY)
    last = await webhooks.rotate(made.id, clinic_id="harbour", overlap=timedelta(0))
    assert last.signs_with(clock.now()) == (last.secret,)
    with pytest.raises(NotFound):
        await webhooks.rotate(made.id, clinic_id="other", overlap=DAY)


async def test_two_who_replace_a_secret_at_one_moment_do_not_lose_one(webhooks: WebhookStore) -> None:
    made = await webhooks.add("harbour", "https://example.org/hook")
    turns = [webhooks.rotate(made.id, clinic_id="harbour", overlap=DAY) for _ in range(2)]
    done = await asyncio.gather(*turns, return_exceptions=True)
    kept = await webhooks.get(made.id)
    for one in done:
        assert isinstance(one, InvalidTransition) or one.secret in {kept.secret, *(r.secret for r in kept.retired)}  # type: ignore[union-attr]


async def test_a_clinic_has_ten_at_most(webhooks: WebhookStore) -> None:
    for n in range(MOST_ENDPOINTS):
        await webhooks.add("harbour", f"https://example.org/{n}")
    with pytest.raises(InvalidTransition):
        await webhooks.add("harbour", "https://example.org/more")
    await webhooks.add("other", "https://example.org/more")


async def test_one_that_is_on_again_is_told_of_what_happens_then(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    before = await moved(store, session)
    await webhooks.queue(before)
    await webhooks.disable(hook.id)
    await webhooks.disable(hook.id, reason="later")
    assert (await webhooks.get(hook.id)).disabled_reason == "gone"
    clock.advance(1)
    missed = await moved(store, session)
    assert await webhooks.queue(missed) == 0
    for attempt in (webhooks.replay(message_id(hook.id, before.session_id, before.seq)),
                    webhooks.add_test(hook.id, clinic_id="harbour")):  # fmt: skip
        with pytest.raises(InvalidTransition):
            await attempt
    clock.advance(1)
    on = await webhooks.enable(hook.id, clinic_id="harbour")
    assert (on.disabled_at, on.disabled_reason) == (None, None)
    assert await webhooks.catch_up() == 0, "what happened while it was off is not sent"
    assert await webhooks.due() == []
    await webhooks.queue(await moved(store, session))
    await webhooks.replay(message_id(hook.id, before.session_id, before.seq))
    assert len(await webhooks.due()) == 2
    with pytest.raises(NotFound):
        await webhooks.enable(hook.id, clinic_id="other")


async def test_what_is_deleted_leaves_nothing_and_an_attempt_under_way_does_no_harm(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    await webhooks.queue(await moved(store, session))
    [taken] = await webhooks.claim(limit=5, hold=HOLD)
    with pytest.raises(NotFound):
        await webhooks.remove(hook.id, clinic_id="other")
    await webhooks.remove(hook.id, clinic_id="harbour")
    await webhooks.delivered(taken.id, 200)
    await webhooks.failed(taken.id, 500, next_at=clock.now())
    await webhooks.give_up(taken.id)
    with pytest.raises(NotFound):
        await webhooks.delivery(taken.id)
    assert await webhooks.endpoints("harbour") == []
    assert await webhooks.catch_up() == 0


async def test_the_log_has_pages_and_ends(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    other = await webhooks.add("harbour", "https://example.org/other")
    for _ in range(5):
        await webhooks.queue(await moved(store, session))
    clock.advance(1)
    test = await webhooks.add_test(hook.id, clinic_id="harbour")
    assert (test.event, test.session_id, test.kind) == (None, None, "webhook.test")
    ids: list[str] = []
    cursor = None
    while True:
        page, cursor = await webhooks.log(hook.id, limit=2, cursor=cursor)
        ids += [one.id for one in page]
        if cursor is None:
            break
    assert len(ids) == len(set(ids)) == 6
    assert ids[0] == test.id
    assert len(await webhooks.deliveries(other.id)) == 5
    with pytest.raises(ConfigInvalid):
        await webhooks.log(hook.id, cursor="nonsense")


async def test_the_log_forgets_what_is_done_and_nothing_is_sent_for_that(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    for _ in range(3):
        await webhooks.queue(await moved(store, session))
    done, waiting, given_up = await webhooks.claim(limit=3, hold=timedelta(0))
    await webhooks.delivered(done.id, 200)
    await webhooks.failed(given_up.id, 500, next_at=None)
    clock.advance(KEPT.total_seconds() - 1)
    assert await webhooks.sweep() == 0
    clock.advance(2)
    assert await webhooks.sweep() == 2
    assert await webhooks.sweep() == 0
    assert [one.id for one in await webhooks.deliveries(hook.id)] == [waiting.id]
    assert await webhooks.catch_up() == 0, "what the log has forgotten is not queued anew"


async def test_what_was_never_queued_is_found_for_as_long_as_the_log_goes_back(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    clock.advance(1)
    await webhooks.add("harbour", "https://example.org/hook")
    await moved(store, session)
    clock.advance(LOOK_BACK.total_seconds())
    now = clock.now()
    await moved(store, session)
    assert await webhooks.catch_up(since=now) == 1
    assert await webhooks.catch_up() == 1
    assert LOOK_BACK < KEPT


async def test_one_endpoint_gets_its_share_and_a_busy_one_nothing(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord
) -> None:
    hooks = [await webhooks.add("harbour", f"https://example.org/{n}") for n in range(2)]
    for _ in range(5):
        await webhooks.queue(await moved(store, session))
    first = await webhooks.claim(limit=16, each=2, hold=HOLD)
    assert sorted(one.webhook_id for one in first) == sorted([hooks[0].id] * 2 + [hooks[1].id] * 2)
    second = await webhooks.claim(limit=16, each=2, but={hooks[0].id}, hold=HOLD)
    assert [one.webhook_id for one in second] == [hooks[1].id] * 2
    assert await webhooks.claim(limit=16, but={hook.id for hook in hooks}, hold=HOLD) == []


async def test_what_is_replayed_goes_by_the_whole_schedule_again(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    hook = await webhooks.add("harbour", "https://example.org/hook")
    await webhooks.queue(await moved(store, session))
    [one] = await webhooks.claim(limit=1, hold=HOLD)
    await webhooks.failed(one.id, None, error="timeout", next_at=None)
    failed = await webhooks.delivery(one.id)
    assert (failed.attempts, failed.tries, failed.last_error, failed.tried_at) == (1, 1, "timeout", clock.now())
    again = await webhooks.replay(one.id, webhook_id=hook.id, clinic_id="harbour")
    assert (again.attempts, again.tries, again.next_at) == (1, 0, clock.now())
    for wrong in ({"webhook_id": "whk_x"}, {"clinic_id": "other"}):
        with pytest.raises(NotFound):
            await webhooks.replay(one.id, **wrong)


async def test_many_who_queue_the_same_event_make_it_once(
    webhooks: WebhookStore, store: SessionStore, session: SessionRecord, db: Database, vault: FileVault,
    clock: ManualClock,
) -> None:  # fmt: skip
    clock.advance(1)
    await webhooks.add("harbour", "https://example.org/hook")
    event = await moved(store, session)
    others = [WebhookStore(db, vault, clock) for _ in range(3)]
    made = await asyncio.gather(*(one.queue(event) for one in others), *(one.catch_up() for one in others))
    assert sum(made) == 1
    assert len(PUBLIC_KINDS) == 21


def test_what_earlier_releases_stored_is_kept(tmp_path: Path) -> None:
    url = make_url(f"sqlite+aiosqlite:///{tmp_path / 'old.db'}")
    migrate.upgrade(url, "0005")
    at = "2026-01-05 09:00:00.000000"
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute("INSERT INTO clinics VALUES ('harbour', 1)")
        columns = "id, clinic_id, url, sealed_secret, created_at, disabled_at"
        old.execute(f"INSERT INTO webhooks ({columns}) VALUES ('whk_1', 'harbour', 'https://x/', x'', ?, ?)", (at, at))
        old.execute("PRAGMA foreign_keys=OFF")
        old.execute("INSERT INTO session_events VALUES ('ses_1', 3, 'note.signed', ?, '{}')", (at,))
        columns = "id, webhook_id, session_id, event_seq, attempts"
        old.execute(f"INSERT INTO deliveries ({columns}) VALUES ('msg_1', 'whk_1', 'ses_1', 3, 4)")
    old.close()
    migrate.upgrade(url, "0006")
    with sqlite3.connect(tmp_path / "old.db") as new:
        assert new.execute("SELECT kind, at, attempts, tries FROM deliveries").fetchall() == [("note.signed", at, 4, 4)]
        assert new.execute("SELECT enabled_at, disabled_reason FROM webhooks").fetchall() == [(at, "gone")]
    new.close()
