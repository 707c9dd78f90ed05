"""When words and sound must go is fixed at the end of a call, by the configuration the session was made with."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.clinics import ClinicConfig, Retention
from bot.store.clinic_store import ClinicStore
from bot.store.models import SessionRow
from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import open_ground

KEPT = Retention(transcript_days=3, erase_audio_within_h=12)
CLINIC = ClinicConfig(id="kept", name="Kept", retention=KEPT)


@pytest.fixture
async def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Call]:
    on = await open_ground(tmp_path, monkeypatch)
    await ClinicStore(on.db, on.clock).seed({CLINIC.id: CLINIC})
    made = Call(on)
    yield made
    await made.close()
    await on.close()


async def test_a_change_of_policy_changes_no_session_that_is_there(call: Call) -> None:
    await call.begin(CLINIC.id)
    shorter = CLINIC.model_copy(update={"retention": Retention(transcript_days=1, erase_audio_within_h=1)})
    await ClinicStore(call.on.db, call.on.clock).save(shorter, author="usr_1")
    await call.act("finish")
    record = await call.on.store.get(call.session_id)
    assert record.ended_at is not None
    assert record.purge_at == record.ended_at + timedelta(days=3)
    assert record.erase_by == record.ended_at + timedelta(hours=12)


async def test_the_zone_of_the_machine_means_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("TZ", "Pacific/Auckland")
        time.tzset()
        await call.begin(CLINIC.id)
        await call.act("finish")
        store, record = call.on.store, await call.on.store.get(call.session_id)
        monkeypatch.setenv("TZ", "America/Los_Angeles")
        time.tzset()
        again = await store.get(call.session_id)
        assert (again.ended_at, again.purge_at, again.erase_by) == (record.ended_at, record.purge_at, record.erase_by)
        assert record.purge_at is not None
        assert record.purge_at.utcoffset() == timedelta(0)
        assert await store.due_purges(record.purge_at - timedelta(seconds=1)) == []
        assert await store.due_purges(record.purge_at) == [call.session_id]
        async with call.on.db.read() as db:
            row = await db.get_one(SessionRow, call.session_id)
            assert row.purge_at == record.purge_at
    finally:
        monkeypatch.undo()
        time.tzset()
