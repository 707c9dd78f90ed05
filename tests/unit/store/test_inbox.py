"""The inbox's numbers: committed in their order, whoever writes; and nobody waits for anybody for good."""

from __future__ import annotations

import asyncio
import dataclasses

from bot.events import CaptureState, NoteState
from bot.store.sessions import SessionStore
from tests.unit.store.conftest import NEW, ON_BOTH

MANY = 12


async def generating(store: SessionStore) -> str:
    """A session whose note is being written."""
    session = await store.create(dataclasses.replace(NEW, participants=()))
    states = (CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.FINISHED)
    for state in states:
        await store.change(session.id, f"capture.{state}", capture=state)
    await store.begin_writing(session.id)
    return session.id


@ON_BOTH
async def test_drafts_of_one_clinic_saved_at_once_all_come_and_nobody_misses_one(store: SessionStore) -> None:
    sessions = [await generating(store) for _ in range(MANY)]
    seen: set[str] = set()
    after = 0

    async def read() -> None:
        nonlocal after
        while len(seen) < MANY:
            news = await store.inbox_since("harbour", after, reader="usr_1")
            seen.update(item.id for item in news.items)
            after = news.seq
            await asyncio.sleep(0)

    writers = [store.save_note(session_id, b"{}", attempt=1) for session_id in sessions]
    async with asyncio.timeout(30):
        await asyncio.gather(read(), *writers)
    assert after == MANY, "a number each"
    assert {(await store.get(one)).note for one in sessions} == {NoteState.DRAFT}
    items, _ = await store.inbox("harbour")
    assert {item.id for item in items} == seen


@ON_BOTH
async def test_whoever_reads_one_item_twice_at_once_has_read_it_once(store: SessionStore) -> None:
    session_id = await generating(store)
    await store.save_note(session_id, b"{}", attempt=1)
    (item,), _ = await store.inbox("harbour")
    who = [f"usr_{number % 3}" for number in range(MANY)]
    await asyncio.gather(*(store.inbox_read(item.id, clinic_id="harbour", reader=one) for one in who))
    for reader in set(who):
        assert await store.inbox_unread("harbour", reader=reader) == 0
    assert await store.inbox_unread("harbour", reader="usr_9") == 1
