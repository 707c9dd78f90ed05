"""What of a call goes into the audit: who did what, by whichever door, and what followed by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store.audit import AuditStore
from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, open_ground

FOR_DOCTOR = f"platform:{DOCTOR}"
"""A platform's key, on the clinician's behalf: not the clinician."""


@pytest.fixture
async def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Call]:
    made = Call(await open_ground(tmp_path, monkeypatch))
    yield made
    await made.close()
    await made.on.close()


async def test_every_step_of_a_call_by_whoever_took_it(call: Call) -> None:
    await call.begin()
    for action in ("pause", "resume", "pause", "finish"):
        await call.act(action)
    found = [entry async for entry in AuditStore(call.on.db, call.on.clock).every()]
    session = [entry for entry in found if entry.session_id == call.session_id]
    assert [(entry.actor, entry.action, entry.target) for entry in session] == [
        ("system", "session.created", call.session_id),
        (FOR_DOCTOR, "participant.admitted", CLIENT),
        (FOR_DOCTOR, "consent.granted", DOCTOR),
        (CLIENT, "consent.granted", CLIENT),
        ("system", "capture.started", call.session_id),  # the last yes began it
        (FOR_DOCTOR, "capture.paused", call.session_id),
        (FOR_DOCTOR, "capture.resumed", call.session_id),
        (FOR_DOCTOR, "capture.paused", call.session_id),
        (FOR_DOCTOR, "capture.finished", call.session_id),
    ]


async def test_a_withdrawal_and_a_discard(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    await call.act("discard")
    found = [entry async for entry in AuditStore(call.on.db, call.on.clock).every()]
    told = [(entry.actor, entry.action) for entry in found if entry.session_id == call.session_id][5:]
    assert told[0] == (CLIENT, "consent.revoked")
    assert (FOR_DOCTOR, "capture.discarded") in told
