"""Who may change what, where several processes share a database; each store here is another process's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.clock import ManualClock
from bot.errors import SessionLocked
from bot.events import AudioState, CaptureState, Ledger, Role
from bot.store.db import Database
from bot.store.serving import Run, TakenOver, run_number, working
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.vault import FileVault

from .conftest import NEW, ON_BOTH, final

HERE, THERE = "proc_here", "proc_there"


@pytest.fixture
def here(db: Database, vault: FileVault, clock: ManualClock, session: SessionRecord) -> SessionStore:
    return SessionStore(db, vault, clock, process=HERE)


@pytest.fixture
async def there(
    db_url: str, vault: FileVault, clock: ManualClock, session: SessionRecord
) -> AsyncIterator[SessionStore]:
    other = Database(db_url)
    await other.open()
    yield SessionStore(other, vault, clock, process=THERE)
    await other.close()


async def recording(store: SessionStore, session_id: str) -> None:
    for state in (CaptureState.CONSENT_PENDING, CaptureState.CAPTURING):
        await store.change(session_id, f"capture.{state.value}", capture=state)


@ON_BOTH
async def test_of_several_that_come_at_once_one_serves(
    here: SessionStore, there: SessionStore, session: SessionRecord
) -> None:
    answers = await asyncio.gather(*(store.take_session(session.id, ()) for store in (here, there) * 3))
    [server] = set((await here.served()).values())
    loser = THERE if server == HERE else HERE
    assert answers == [server if store == loser else None for store in (HERE, THERE) * 3]


@ON_BOTH
async def test_while_it_is_recorded_only_its_process_changes_it(
    here: SessionStore, there: SessionStore, session: SessionRecord
) -> None:
    await here.take_session(session.id, ())
    await recording(here, session.id)
    lane = await here.ensure_lane(session.id, "cl", Role.CLIENT)
    seq = (await here.get(session.id)).seq
    for refused in (
        there.change(session.id, "capture.paused", capture=CaptureState.PAUSED),
        there.ensure_lane(session.id, "cl", Role.CLIENT),
        there.commit_final(session.id, final(lane.id, "never said")),
        there.save_ledger(session.id, lane.id, Ledger(elapsed=1, off=1), {}),
    ):
        with pytest.raises(SessionLocked):
            await refused
    assert (await there.get(session.id)).seq == seq
    await here.change(session.id, "capture.finished", capture=CaptureState.FINISHED)
    await there.change(session.id, "transcript.absent", failure_slug="capture-no-audio")


async def test_what_was_taken_over_from_the_dead_is_closed_to_them(
    here: SessionStore, there: SessionStore, session: SessionRecord
) -> None:
    await here.take_session(session.id, ())
    await recording(here, session.id)
    lane = await here.ensure_lane(session.id, "cl", Role.CLIENT)
    began = (await here.get(session.id)).epoch
    await here.commit_final(session.id, final(lane.id, "said before", n=0), epoch=began)

    assert await there.take_session(session.id, ()) == HERE, "as long as it is not known to be dead"
    assert await there.take_session(session.id, {HERE}) is None
    with pytest.raises(SessionLocked):
        await here.change(session.id, "capture.paused", capture=CaptureState.PAUSED)
    await there.change(session.id, "capture.finished", capture=CaptureState.FINISHED)
    with pytest.raises(SessionLocked):  # its words were taken up there: said again here, they would stand twice
        await here.commit_final(session.id, final(lane.id, "said before", n=1), epoch=began)
    assert [s.text for s in (await there.transcript(session.id)).segments] == ["said before"]


async def test_what_is_given_back_is_anybodys(here: SessionStore, there: SessionStore, session: SessionRecord) -> None:
    await here.take_session(session.id, ())
    await there.give_back([session.id])
    assert await here.served() == {session.id: HERE}, "only one's own"
    await here.give_back()
    assert await here.served() == {}
    assert await there.take_session(session.id, ()) is None
    assert (await there.get(session.id)).epoch == session.epoch


@ON_BOTH
async def test_a_run_that_another_one_goes_on_with_changes_nothing(
    here: SessionStore, there: SessionStore, session: SessionRecord
) -> None:
    first, second = Run(session.id, run_number(1, 0, 1)), Run(session.id, run_number(1, 0, 2))
    lane = await here.ensure_lane(session.id, "cl", NEW.participants[1].role)
    await here.take_work(first)
    await there.take_work(second)
    with working(first):
        for refused in (
            here.change(session.id, "audio.erased", audio=AudioState.HELD),
            here.commit_final(session.id, final(lane.id, "twice")),
            here.inbox_add(session.id, "failed", dedupe="failed:1"),
        ):
            with pytest.raises(TakenOver):
                await refused
    assert first.lost
    with pytest.raises(TakenOver):
        await here.take_work(first)
    with working(second):
        await there.commit_final(session.id, final(lane.id, "once"))
    assert not second.lost
    assert [s.text for s in (await here.transcript(session.id)).segments] == ["once"]


def test_the_numbers_of_runs_grow() -> None:
    order = [(1, 0, 1), (1, 0, 2), (1, 0, 40), (1, 1, 1), (1, 3, 9), (2, 0, 1), (2, 0, 2), (3, 0, 1)]
    assert sorted(order, key=lambda run: run_number(*run)) == order
    assert len({run_number(*run) for run in order}) == len(order)


async def test_a_state_moves_only_from_where_it_was_seen(store: SessionStore, session: SessionRecord) -> None:
    seen = {"capture": CaptureState.OFF}
    await store.change(session.id, "capture.finished", only_from=seen, capture=CaptureState.FINISHED)
    again = await store.change(session.id, "capture.finished", only_from=seen, capture=CaptureState.FINISHED)
    assert again.capture is CaptureState.FINISHED
    assert [event.kind for event in await store.events(session.id)] == ["session.created", "capture.finished"]
