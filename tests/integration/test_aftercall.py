"""The after-call workflow on a real store, vault and engine."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import func, select

from bot.bench.forensics import said_in
from bot.clock import ManualClock
from bot.durable import Durable
from bot.errors import ConfigInvalid, NoteGenerationFailed, TranscriptPurged
from bot.events import AudioState, NoteState, TranscriptState
from bot.store.models import IdempotencyRow
from bot.store.receipts import verify_receipt
from bot.store.vault import KeyDestroyed
from bot.store.workflowdb import embedded_database_url, stable_executor_id
from tests.integration.aftercall_world import World

WAIT_S = 30


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, ManualClock())
    await world.open()
    await world.launch()
    yield world
    await world.close()


async def run(world: World, session_id: str) -> None:
    if isinstance(world.clock, ManualClock):
        world.clock.advance(1)  # items of one moment have no order
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)


async def inbox(world: World) -> list[tuple[str, str | None]]:
    items, _ = await world.store.inbox("demo")
    return [(item.kind, item.reason_slug) for item in reversed(items)]


async def kinds(world: World, session_id: str) -> list[str]:
    return [event.kind for event in await world.store.events(session_id, 0)]


async def test_from_finish_to_the_inbox(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(*(world.aftercall.begin(session_id) for _ in range(5)))
        await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
        await run(world, session_id)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "ready", "draft")
    assert (world.written, await inbox(world)) == (1, [("draft_ready", None)])
    assert len(world.recognised) == 4, "what was in words before is not recognised again"
    assert (await kinds(world, session_id))[5:] == [
        "transcript.ready",
        "receipt.issued",
        "audio.erased",
        "note.queued",
        "note.generating",
        "note.draft_ready",
        "inbox.item_created",
    ]
    (receipt,) = await world.store.receipts(session_id)
    verdict = verify_receipt(receipt.body, world.signer.public_key)
    assert verdict.valid
    assert verdict.statement["places"] == [
        {"place": "key store", "removed": 2},
        {"place": "recogniser", "removed": 0},
        {"place": "spool", "removed": 6},
    ]
    assert "Rev. 2" in verdict.statement["method"]
    assert [step for step, _, _ in world.told] == [
        "transcript",
        "transcript",
        "erase",
        "draft",
        "sections",
        "draft",
        "done",
    ]
    assert "needle" not in str(logs)
    with pytest.raises(KeyDestroyed):
        world.vault.audio_key(session_id, (await world.store.lanes(session_id))[0].id, 3)
    assert said_in(world.folder, "needle") == [], "words are only ever sealed"


async def test_nothing_captured_and_nothing_said_make_no_note_and_say_so(world: World) -> None:
    silent = await world.capture(words="")
    await world.finish(silent)
    await run(world, silent)
    record = await world.store.get(silent)
    assert (record.audio, record.transcript, record.note) == ("erased", "ready", "absent")

    empty = await world.capture(seconds=0, committed=0)
    await world.finish(empty)
    await run(world, empty)
    assert (await world.store.get(empty)).note is NoteState.ABSENT
    assert await inbox(world) == [("failed", "audio-too-short"), ("failed", "capture-no-audio")]
    assert world.written == 0
    await world.aftercall.sweep()
    assert len(await inbox(world)) == 2, "settled sessions are left alone"


async def test_a_session_without_words_but_with_a_summary_gets_its_note(world: World) -> None:
    session_id = await world.capture(words="")
    await world.store.add_input(session_id, "clinician_summary", "what was said", "u1")
    await world.finish(session_id)
    await run(world, session_id)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT


async def test_a_failed_transcription_erases_the_audio_after_its_tries_and_says_so(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.recogniser_failures = [RuntimeError("needle words in an exception") for _ in range(99)]
    with structlog.testing.capture_logs() as logs:
        await run(world, session_id)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "failed", "absent")
    assert len(world.recogniser_failures) == 95, "four tries"
    assert await inbox(world) == [("failed", "transcription-failed")]
    assert len(await world.store.receipts(session_id)) == 1
    assert "needle" not in str(logs)
    assert said_in(world.folder, "needle") == []


async def test_recognition_that_fails_twice_is_tried_again(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.recogniser_failures = [RuntimeError("once"), RuntimeError("twice")]
    await run(world, session_id)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert len((await world.store.transcript(session_id)).segments) == 6


async def test_a_failed_note_keeps_its_transcript_and_may_be_tried_again(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed() for _ in range(8)]
    assert isinstance(world.clock, ManualClock)
    await run(world, session_id)
    for attempt in (1, 2):
        record = await world.store.get(session_id)
        assert (record.audio, record.transcript, record.note) == ("erased", "ready", "failed")
        assert await inbox(world) == [("failed", "note-generation-failed")] * attempt
        assert len((await world.store.transcript(session_id)).segments) == 6
        await world.aftercall.sweep()
        assert len(await inbox(world)) == attempt, "a cause that does not pass is not tried again by itself"
        world.clock.advance(1)
        await world.aftercall.write_note(session_id, "u1")
        await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert (await inbox(world))[-1] == ("draft_ready", None)
    assert len(await world.store.receipts(session_id)) == 1


async def test_a_failure_that_stays_is_told_by_its_last_cause(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed(cause="endpoint-busy") for _ in range(8)]
    await run(world, session_id)
    assert await inbox(world) == [("failed", "endpoint-busy")]


async def test_what_cannot_succeed_is_not_tried_again(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [ConfigInvalid("no endpoint")]
    await run(world, session_id)
    assert (world.written, await inbox(world)) == (1, [("failed", "config-invalid")])


async def test_a_copy_that_cannot_be_removed_delays_the_receipt_and_not_the_note(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.sweeper_failures = [OSError("read-only") for _ in range(5)]
    await run(world, session_id)
    record = await world.store.get(session_id)
    assert (record.audio, record.note) == ("held", "draft")
    assert world.vault.audio_lanes(session_id) == [], "the keys went first"
    assert await world.store.receipts(session_id) == []
    await world.aftercall.sweep()
    assert (await world.store.get(session_id)).audio is AudioState.HELD
    await world.aftercall.sweep()
    assert (await world.store.get(session_id)).audio is AudioState.ERASED
    assert len(await world.store.receipts(session_id)) == 1
    assert await inbox(world) == [("draft_ready", None)]


async def test_a_discarded_session_leaves_receipts_only(world: World) -> None:
    session_id = await world.capture(committed=2)
    await world.finish(session_id, discard=True)
    for _ in range(2):
        await world.aftercall.discard(session_id)
    record = await world.store.get(session_id)
    assert (record.audio, record.transcript, record.note) == ("erased", "purged", "absent")
    assert [receipt.kind for receipt in await world.store.receipts(session_id)] == ["audio", "transcript"]
    for receipt in await world.store.receipts(session_id):
        assert verify_receipt(receipt.body, world.signer.public_key).valid
    with pytest.raises(TranscriptPurged):
        await world.store.transcript(session_id)
    assert await inbox(world) == []
    never_started = await world.capture(seconds=0, committed=0)
    await world.finish(never_started, discard=True)
    await world.aftercall.sweep()
    assert (await world.store.get(never_started)).transcript is TranscriptState.PURGED


async def test_the_sweep_forgets_answers_of_the_day_before(world: World) -> None:
    store = world.store
    assert await store.idempotency_begin("demo", "k", "a" * 64) is None
    await store.idempotency_finish("demo", "k", 201, b"{}")
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(24 * 3600 + 1)
    await world.aftercall.sweep()
    async with world.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(IdempotencyRow)) == 0


async def test_the_sweep_destroys_what_is_due(world: World) -> None:
    assert isinstance(world.clock, ManualClock)
    now = world.clock.now()
    overdue = await world.capture()
    await world.finish(overdue)
    await world.store.change(overdue, "capture.finished", erase_by=now + timedelta(hours=24))
    old = await world.capture()
    await world.finish(old)
    await world.store.change(old, "capture.finished", purge_at=now + timedelta(days=7))
    await run(world, old)
    await world.aftercall.sweep()
    assert (await world.store.get(overdue)).audio is AudioState.HELD
    assert (await world.store.get(old)).transcript is TranscriptState.READY
    world.clock.advance(24 * 3600)
    with structlog.testing.capture_logs() as logs:
        await world.aftercall.sweep()
    assert "erase_overdue" in [entry["event"] for entry in logs]
    record = await world.store.get(overdue)
    assert (record.audio, record.transcript) == ("erased", "failed")
    world.clock.advance(6 * 24 * 3600)
    for _ in range(2):
        await world.aftercall.sweep()
    assert (await world.store.get(old)).transcript is TranscriptState.PURGED
    assert [receipt.kind for receipt in await world.store.receipts(old)] == ["audio", "transcript"]


async def test_closing_in_the_middle_leaves_the_rest_to_the_next_start(tmp_path: Path) -> None:
    session_id = ""
    threads = set(threading.enumerate())
    for place in ("drain", "swept", "before-draft", None):
        world = World(tmp_path)
        await world.open()
        there = asyncio.Event()

        async def arrive(name: str, place: str | None = place, there: asyncio.Event = there) -> None:
            if name == place:
                there.set()

        if not session_id:
            session_id = await world.capture()
            await world.finish(session_id)
        world.on_place, world.pause_at = arrive, place
        await world.launch()
        if place is None:
            await run(world, session_id)
        else:
            await world.aftercall.begin(session_id)
            await asyncio.wait_for(there.wait(), WAIT_S)
        await asyncio.wait_for(world.close(), WAIT_S)
    assert not {thread.name for thread in set(threading.enumerate()) - threads if "dbos" in thread.name}
    world = World(tmp_path)
    await world.open()
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert len((await world.store.transcript(session_id)).segments) == 6
    assert len(await world.store.receipts(session_id)) == 1
    await world.db.close()


async def test_another_release_begins_anew_what_the_older_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    await world.open()
    there = asyncio.Event()

    async def arrive(name: str) -> None:
        if name == "before-erase":
            there.set()

    world.on_place, world.pause_at = arrive, "before-erase"
    monkeypatch.setattr("bot.aftercall.VERSION", "0")
    session_id = await world.capture()
    await world.finish(session_id)
    await world.launch()
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(there.wait(), WAIT_S)
    await world.close()

    monkeypatch.setattr("bot.aftercall.VERSION", "1")
    world = World(tmp_path)
    await world.open()
    await world.launch()
    await world.aftercall.sweep()
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    assert (await world.store.get(session_id)).note is NoteState.DRAFT
    assert await inbox(world) == [("draft_ready", None)]
    await world.close()


async def test_the_engine_stores_ids_only_and_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        called.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    world = World(tmp_path)
    await world.open()
    await world.launch()
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [RuntimeError("needle text") for _ in range(4)]
    await run(world, session_id)
    await world.close()
    assert called == []
    allowed = {"state", "count", "sha256"}
    with sqlite3.connect(tmp_path / "workflows.db") as database:
        steps = database.execute(
            "SELECT function_name, output, error FROM operation_outputs ORDER BY function_id"
        ).fetchall()
        inputs = database.execute("SELECT inputs FROM workflow_input").fetchall()
    database.close()
    assert [name for name, _, _ in steps] == ["drain", "commit", "erase", "draft", "fail", "deliver"]
    for _, output, _ in steps:
        assert output is None or set(json.loads(output)) <= allowed
    assert inputs == [(json.dumps({"namedArgs": {}, "positionalArgs": [session_id]}, separators=(",", ":")),)]
    assert b"needle" not in (tmp_path / "workflows.db").read_bytes()
    assert (tmp_path / "workflows.db").stat().st_mode & 0o077 == 0


async def test_one_engine_a_process_and_one_name_a_folder(world: World, tmp_path: Path) -> None:
    second = Durable(
        lambda engine, subject: None,
        name="x",
        version="1",
        database_url=embedded_database_url(tmp_path),
        executor_id="x",
        attempts=1,
        retry_after_s=0,
    )
    with pytest.raises(RuntimeError, match="one a process"):
        await second.launch()
    await second.close()
    assert stable_executor_id(tmp_path) == stable_executor_id(tmp_path)
    assert stable_executor_id(tmp_path / "other") != stable_executor_id(tmp_path)
