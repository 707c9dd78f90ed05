"""How long words and sound are kept: to their day and no longer, whatever the process and the clock do meanwhile."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from bot.app import running
from bot.clock import ManualClock
from bot.errors import StorageUnavailable, TranscriptPurged
from bot.events import AudioState, NoteState, TranscriptState
from bot.settings import Settings
from bot.store.ground import clinic_scope, words_scope
from bot.store.models import Base
from bot.store.note_store import _input_purpose, _note_purpose
from bot.store.vault import KeyDestroyed
from tests.conftest import ROOT
from tests.integration.aftercall_world import World
from tests.integration.api_world import DEV, problem_of

DAY = timedelta(days=1)
DAY_S, HOUR_S = 86_400, 3600


class Kept:
    """A world whose clock a test moves, in which sessions end as calls do."""

    def __init__(self, world: World, clock: ManualClock) -> None:
        self.world, self.clock, self.store = world, clock, world.store

    async def ended(self, *, days: float = 7, noted: bool = True, words: str = "needle") -> str:
        """A session that ended now, with its words and, unless not, a draft."""
        session_id = await self.world.capture(words=words)
        await self.world.finish(session_id)
        now = self.clock.now()
        kept: dict[str, Any] = {"purge_at": now + timedelta(days=days), "erase_by": now + DAY}
        await self.store.change(session_id, "capture.finished", **kept)
        if noted:
            await self.world.aftercall.begin(session_id)
            await self.world.aftercall.wait(session_id)
        return session_id

    async def sweep_for(self, seconds: float, *, every: float = 60.0) -> None:
        """Time passes, and the sweep runs as it does."""
        for _ in range(int(seconds / every)):
            self.clock.advance(every)
            await self.world.aftercall.due.destroy()

    async def states(self, session_id: str) -> tuple[AudioState, TranscriptState, NoteState]:
        record = await self.store.get(session_id)
        return record.audio, record.transcript, record.note

    async def is_purged(self, session_id: str) -> bool:
        return (await self.store.get(session_id)).transcript is TranscriptState.PURGED

    async def warnings(self) -> list[str]:
        items, _ = await self.store.inbox("demo")
        return [item.session_id for item in items if item.kind == "transcript_expiring"]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    clock = ManualClock()
    world = World(tmp_path, clock=clock)
    await world.open()
    await world.launch()
    made = Kept(world, clock)
    yield made
    await made.world.close()


# -- to the day --------------------------------------------------------------------------------------------------------


async def test_words_go_on_their_day_and_not_a_second_sooner(kept: Kept) -> None:
    session_id = await kept.ended()
    kept.clock.advance(7 * DAY_S - 1)
    await kept.world.aftercall.sweep()
    assert len((await kept.store.transcript(session_id)).segments) == 6
    kept.clock.advance(1)
    with pytest.raises(TranscriptPurged):  # before any sweep
        await kept.store.transcript(session_id)
    await kept.world.aftercall.sweep()
    assert await kept.states(session_id) == (AudioState.ERASED, TranscriptState.PURGED, NoteState.DRAFT)
    with pytest.raises(KeyDestroyed):
        kept.world.vault.unseal(words_scope(session_id), "segment:x", b"x" * 64)


async def test_signing_comes_first_and_a_purge_comes_once(kept: Kept) -> None:
    session_id = await kept.ended()
    note = await kept.store.note_of(session_id)
    await kept.store.sign(note.id, "u1")
    signed = await kept.store.get(session_id)
    assert (signed.transcript, signed.purge_at) == (TranscriptState.PURGED, kept.clock.now())
    before = [event.kind for event in await kept.store.events(session_id)]
    await kept.store.purge_transcript(session_id, "retention")  # again, as a sweep beside it would
    kept.clock.advance(8 * DAY_S)
    await kept.world.aftercall.sweep()
    assert [event.kind for event in await kept.store.events(session_id)] == before
    assert [one.kind for one in await kept.store.receipts(session_id)] == ["audio", "transcript"]
    assert await kept.warnings() == []
    assert (await kept.store.note_of(session_id)).content == note.content


# -- a day before ------------------------------------------------------------------------------------------------------


async def test_the_clinician_is_told_a_day_before_once(kept: Kept, tmp_path: Path) -> None:
    session_id = await kept.ended()
    kept.clock.advance(6 * DAY_S - 1)
    await kept.world.aftercall.sweep()
    assert await kept.warnings() == []
    kept.clock.advance(1)
    for _ in range(3):
        await kept.world.aftercall.sweep()
    assert await kept.warnings() == [session_id]
    await kept.world.close()  # and a restart tells nobody again
    world = World(tmp_path, clock=kept.clock)
    await world.open()
    await world.launch()
    kept.world, kept.store = world, world.store
    await kept.world.aftercall.sweep()
    assert await kept.warnings() == [session_id]
    assert [event.kind for event in await kept.store.events(session_id)].count("transcript.purged") == 0


async def test_where_words_are_kept_for_a_day_it_is_half_of_it(kept: Kept) -> None:
    session_id = await kept.ended(days=1)
    await kept.sweep_for(11 * HOUR_S, every=HOUR_S)
    assert await kept.warnings() == []
    await kept.sweep_for(2 * HOUR_S, every=HOUR_S)
    assert await kept.warnings() == [session_id]


async def test_of_a_signed_or_discarded_note_nobody_is_warned(kept: Kept) -> None:
    session_id = await kept.ended()
    await kept.store.change(session_id, "note.discarded", note=NoteState.DISCARDED)
    kept.clock.advance(6.5 * DAY_S)
    await kept.world.aftercall.sweep()
    assert await kept.warnings() == []


# -- what is left ------------------------------------------------------------------------------------------------------


def survivors() -> dict[str, str]:
    """The tables of docs/architecture.md, and what of a session is left in each when its words are gone."""
    section = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("\n## What is left of a session\n")[1]
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", section.split("\n## ")[0], re.MULTILINE)
    return {name: left.strip() for name, left in rows}


async def test_what_is_left_is_what_the_architecture_says_and_nothing_else(kept: Kept) -> None:
    store, vault = kept.store, kept.world.vault
    other = await kept.ended(words="haystack")
    session_id = await kept.ended()
    typed = await store.add_input(session_id, "observation", "typed", "u1")
    note = await store.note_of(session_id)
    await store.edit_note(note.id, b'"in their own words"', by="u1", version=1)
    kept.clock.advance(7 * DAY_S)
    await store.purge_transcript(session_id, "retention")
    found: dict[str, list[dict[str, Any]]] = {}
    async with kept.world.db.read() as db:
        for table in Base.metadata.sorted_tables:
            selected = (await db.execute(text(f'SELECT * FROM "{table.name}"'))).mappings().all()
            found[table.name] = [dict(row) for row in selected]
    said = survivors()
    assert set(said) == set(found), "every table is in the document, and none that there is not"
    own: dict[str, list[dict[str, Any]]] = {}
    for name, rows in found.items():
        mine = [row for row in rows if session_id in {row.get("session_id"), row.get("id"), row.get("target")}]
        own[name] = mine
        assert bool(mine) == (not said[name].startswith("nothing")) or said[name].startswith("if"), name
    assert not own["segments"]
    assert not own["gaps"]
    assert [row for row in found["segments"] if row["session_id"] == other], "of another session nothing was touched"
    for name, rows in own.items():
        for row in rows:
            assert not [value for value in row.values() if "needle" in str(value)], name
    # what is sealed: opened with the key that is left, it is what was typed, the names, and the note
    scope = clinic_scope("demo")
    [sealed] = own["inputs"]
    assert vault.unseal(scope, _input_purpose(typed.input_id), sealed["sealed"]) == b"typed"
    [sealed] = own["notes"]
    opened = vault.unseal(scope, _note_purpose(note.id, 2), sealed["sealed"])
    assert opened == b'"in their own words"'
    with pytest.raises(KeyDestroyed):
        vault.unseal(words_scope(session_id), "segment:x", b"x" * 64)
    assert not any((kept.world.folder / "spool" / session_id).rglob("*.chunk"))


# -- restarts and clocks -----------------------------------------------------------------------------------------------


async def test_a_process_that_was_down_on_the_day_purges_before_it_serves(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = Settings(data_dir=tmp_path, dev=True, host="127.0.0.1", port=0)
    async with running(settings, clock=clock) as service:
        store = service.services.store
        async with await client_of(service.app) as http:
            people = [
                {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
                {"id": "cl-1", "role": "client", "display_name": "Robin Fields"},
            ]
            body = {"clinic_id": "demo", "participants": people}
            made = (await http.post("/v1/sessions", json=body, headers=DEV)).json()
            session_id = made["session"]["id"]
            for state in ("consent_pending", "capturing"):
                await store.change(session_id, f"capture.{state}", capture=state)
            begun: dict[str, Any] = {"audio": "held", "transcript": "live", "captured_from": clock.now()}
            await store.change(session_id, "capture.started", **begun)
            now = clock.now()
            due: dict[str, Any] = {"purge_at": now + 7 * DAY, "erase_by": now + DAY, "ended_at": now}
            await store.change(session_id, "capture.finished", capture="finished", **due)
            await store.change(session_id, "transcript.ready", transcript="ready")
            assert (await http.get(f"/v1/sessions/{session_id}/transcript", headers=DEV)).status_code == 200
    clock.advance(9 * DAY_S)  # it was down on days 7, 8 and 9
    async with running(settings, clock=clock) as service:
        store = service.services.store
        record = await store.get(session_id)  # the first thing that anybody could see of it
        assert (record.audio, record.transcript) == (AudioState.ERASED, TranscriptState.PURGED)
        assert [one.kind for one in await store.receipts(session_id)] == ["audio", "transcript"]
        async with await client_of(service.app) as http:
            answer = await http.get(f"/v1/sessions/{session_id}/transcript", headers=DEV)
            problem_of(answer, 410, "transcript-purged")
            ready = (await http.get("/readyz")).json()
            assert {"audit", "retention"} <= set(ready["checked"])
            assert "quietnote_erase_overdue 0.0" in (await http.get("/metrics")).text
        assert (await service.services.audit.verify()).ok


async def client_of(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8080")  # type: ignore[arg-type]


async def test_a_clock_that_runs_ahead_destroys_nothing_until_it_has_stood(kept: Kept) -> None:
    session_id = await kept.ended()
    await kept.sweep_for(120)
    kept.clock.jump(10 * DAY_S)
    with pytest.raises(TranscriptPurged):  # who asks gets nothing at once
        await kept.store.transcript(session_id)
    await kept.sweep_for(540)
    assert not await kept.is_purged(session_id)
    kept.clock.jump(-10 * DAY_S)  # it is put right
    await kept.sweep_for(1200)
    assert len((await kept.store.transcript(session_id)).segments) == 6
    kept.clock.jump(10 * DAY_S)  # a machine that stood still for ten days
    await kept.sweep_for(720)
    assert await kept.is_purged(session_id)


async def test_a_clock_that_is_put_back_keeps_nothing_longer(kept: Kept) -> None:
    session_id = await kept.ended(days=0.01)
    await kept.sweep_for(120)
    kept.clock.jump(-300 * DAY_S)
    await kept.sweep_for(900)
    assert await kept.is_purged(session_id)


async def test_a_session_that_ended_under_a_clock_that_ran_ahead_is_kept_no_longer(kept: Kept) -> None:
    kept.clock.jump(300 * DAY_S)
    session_id = await kept.ended(days=7)
    before = await kept.store.get(session_id)
    kept.clock.jump(-300 * DAY_S)
    await kept.sweep_for(720)
    record = await kept.store.get(session_id)
    assert before.purge_at is not None
    assert record.purge_at is not None
    assert record.erase_by is not None
    assert record.purge_at - kept.clock.now() <= 7 * DAY
    assert record.erase_by - kept.clock.now() <= DAY
    assert before.purge_at - record.purge_at > 299 * DAY
    kinds = [event.kind for event in await kept.store.events(session_id)]
    await kept.sweep_for(300)
    assert kinds.count("session.times_corrected") == 1
    assert [event.kind for event in await kept.store.events(session_id)] == kinds
    await kept.sweep_for(7 * DAY_S, every=HOUR_S)
    assert await kept.is_purged(session_id)


# -- when it cannot be done --------------------------------------------------------------------------------------------


def refuse_writes(kept: Kept) -> None:
    event.listen(kept.world.db.engine.sync_engine, "begin", _query_only)


def take_writes(kept: Kept) -> None:
    event.remove(kept.world.db.engine.sync_engine, "begin", _query_only)
    event.listen(kept.world.db.engine.sync_engine, "begin", _query_too)


def _query_only(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA query_only=ON")


def _query_too(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA query_only=OFF")


async def test_a_database_that_takes_nothing_delays_the_purge_and_gives_nothing_out(kept: Kept) -> None:
    session_id = await kept.ended()
    note = await kept.store.note_of(session_id)
    kept.clock.advance(7 * DAY_S)
    refuse_writes(kept)
    with structlog.testing.capture_logs() as logs:
        await kept.world.aftercall.due.destroy()
    assert ("purge_overdue", 1) in [(entry["event"], entry.get("count")) for entry in logs]
    assert kept.world.aftercall.due.overdue.transcripts == 1
    assert "words of 1 sessions" in str(await kept.world.aftercall.due.check())
    with pytest.raises(TranscriptPurged):
        await kept.store.transcript(session_id)
    with pytest.raises(KeyDestroyed):  # the key lies elsewhere, and goes first
        kept.world.vault.unseal(words_scope(session_id), "segment:x", b"x" * 64)
    with pytest.raises(StorageUnavailable) as caught:
        await kept.store.sign(note.id, "u1")
    assert caught.value.cause == "read_only"
    take_writes(kept)
    await kept.world.aftercall.due.destroy()
    assert await kept.is_purged(session_id)
    assert await kept.world.aftercall.due.check() is None
    assert [one.kind for one in await kept.store.receipts(session_id)] == ["audio", "transcript"]


async def test_audio_past_its_time_is_tried_again_and_the_alarm_stands_until_it_is_gone(kept: Kept) -> None:
    session_id = await kept.ended(noted=False)
    kept.world.sweeper_failures = [OSError("busy")] * 3
    kept.clock.advance(DAY_S)
    for _ in range(3):
        with structlog.testing.capture_logs() as logs:
            await kept.world.aftercall.due.destroy()
        assert "erase_overdue" in [entry["event"] for entry in logs]
        assert kept.world.aftercall.due.overdue.audio == 1
        assert "audio of 1" in str(await kept.world.aftercall.due.check())
        kept.clock.advance(60)
    await kept.world.aftercall.due.destroy()
    assert (await kept.states(session_id))[0] is AudioState.ERASED
    assert await kept.world.aftercall.due.check() is None


