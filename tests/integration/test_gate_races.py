"""A gate that was asked to shut stays shut, however slow the database is and whatever comes in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.control.callmedia import CallMedia
from bot.demo.peer import Peer
from bot.events import GateState
from bot.store.sessions import SessionStore
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

SLOW_S = 0.15


class Gates:
    """Every state that any gate is set to, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[Mapping[str, GateState]] = []
        real = CallMedia.set_gates

        def set_gates(media: CallMedia, gates: Mapping[str, GateState], at_sample: int) -> int:
            self.set.append(dict(gates))
            return real(media, gates, at_sample)

        monkeypatch.setattr(CallMedia, "set_gates", set_gates)


def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database takes its time."""
    for name in ("change", "record_consent", "participants", "answer", "keep_answer"):
        real = getattr(SessionStore, name, None)
        if real is None:
            continue

        async def late(self: SessionStore, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            await asyncio.sleep(SLOW_S)
            return await _real(self, *args, **kwargs)

        monkeypatch.setattr(SessionStore, name, late)


@pytest_asyncio.fixture
async def call(tmp_path: Path) -> AsyncIterator[Call]:
    async with world(tmp_path / "data") as place:
        people = {CLINICIAN: place.cut(CLINICIAN, (500, 12_000)), CLIENT: place.cut(CLIENT, (4_000, 16_000))}
        async with two_people(place, people) as made:
            await made.begin()
            made.play()
            yield made
            await made.clinician.control("discard")
            await _gone(place, made)


async def _gone(place: World, call: Call) -> None:
    await place.until(call.session_id, "audio", "erased")


async def chatter(peer: Peer) -> None:
    """Signalling that goes on and on: candidates of a page that connects."""
    while True:
        await peer._send({"type": "signal", "to": "bot", "data": {"type": "candidate", "candidate": None}})
        await asyncio.sleep(0.01)


async def test_a_pause_is_not_undone_by_signalling_before_it_is_recorded(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    slow(monkeypatch)
    noise = asyncio.create_task(chatter(call.client))
    try:
        for _ in range(3):
            gates.set.clear()
            await call.clinician.control("pause")
            shut = next(i for i, states in enumerate(gates.set) if set(states.values()) == {GateState.PAUSED})
            assert all(GateState.OPEN not in states.values() for states in gates.set[shut:])
            await call.clinician.control("resume")
    finally:
        noise.cancel()
        await asyncio.gather(noise, return_exceptions=True)


async def test_a_pause_that_waits_behind_a_resume_never_opens(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    await call.clinician.control("pause")
    gates = Gates(monkeypatch)
    slow(monkeypatch)
    resume = asyncio.create_task(call.clinician.control("resume"))
    await asyncio.sleep(SLOW_S / 3)
    pause = await call.clinician.control("pause", by_channel=True)
    await resume
    assert pause["state"] == "paused"
    asked = [i for i, states in enumerate(gates.set) if GateState.OPEN in states.values()]
    paused = [i for i, states in enumerate(gates.set) if set(states.values()) == {GateState.PAUSED}]
    assert not asked or asked[-1] < paused[-1], "at the end everything is shut"


@pytest.mark.parametrize("decision", ["revoked", "declined"])
async def test_a_withdrawal_shuts_every_gate_before_it_is_recorded(
    call: Call, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    gates = Gates(monkeypatch)
    slow(monkeypatch)
    before_it: list[Mapping[str, GateState]] = []
    recording = asyncio.Event()
    record = SessionStore.record_consent

    async def recorded(self: SessionStore, *args: Any, **kwargs: Any) -> Any:
        before_it.extend(gates.set)
        recording.set()
        return await record(self, *args, **kwargs)

    monkeypatch.setattr(SessionStore, "record_consent", recorded)
    asked = asyncio.create_task(call.client.consent(decision))
    async with asyncio.timeout(20):
        await recording.wait()
    noise = asyncio.create_task(chatter(call.clinician))  # not sooner: it would shut the gates itself
    try:
        ack = await asked
    finally:
        noise.cancel()
        await asyncio.gather(noise, return_exceptions=True)
    assert before_it, "shut before its record began"
    assert before_it[0] == {CLIENT: GateState.WITHHELD, CLINICIAN: GateState.PAUSED}, "a paraphrase is a record too"
    assert all(states[CLIENT] is GateState.WITHHELD for states in gates.set)
    assert all(states[CLINICIAN] is not GateState.OPEN for states in gates.set)
    assert ack["state"] == "paused"
