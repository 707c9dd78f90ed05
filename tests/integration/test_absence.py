"""A participant whose packets stop is absent: both people are told, and their return lifts it on the same lane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import BOT, Peer
from bot.events import SAMPLE_RATE_HZ
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DTX_SLOTS = 7
"""Packets of 60 ms of which one is sent: one every 420 ms, as DTX sends silence."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("absence")) as made:
        yield made


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}


def absent(peer: Peer) -> set[str]:
    return {m["participant_id"] for m in peer.roster["members"] if m["absent"]}


async def both_are_told(call: Call, who: set[str]) -> None:
    for peer in (call.clinician, call.client):
        if not peer.closed:
            await peer.until(lambda peer=peer: absent(peer) == who, f"the word of {who or 'nobody'}")  # type: ignore[misc]


async def recorded(place: World, session_id: str) -> list[tuple[str, str]]:
    """The session's events about it, as every stream of events has them."""
    events = await place.service.services.store.events(session_id)
    return [(e.kind, e.data["participant_id"]) for e in events if e.kind in {"capture.absent", "capture.returned"}]


async def until_recorded(place: World, session_id: str, wanted: list[str]) -> None:
    """Wait for the client's events of these kinds."""
    async with asyncio.timeout(10):
        while await recorded(place, session_id) != [(kind, CLIENT) for kind in wanted]:  # noqa: ASYNC110  the database
            await asyncio.sleep(0.05)


async def lanes(place: World, session_id: str) -> dict[str, str]:
    session = await place.get(f"/v1/sessions/{session_id}")
    return {lane["participant_id"]: lane["id"] for lane in session["lanes"]}


def track(peer: Peer) -> Any:
    return peer._links[BOT]._track


def cut_the_line(peer: Peer) -> None:
    """Nothing leaves the machine any more, not even a goodbye."""
    for connection in peer._links[BOT]._pc.getSenders()[0].transport.transport._connection._protocols:
        connection.transport.abort()
    assert peer._socket is not None
    peer._socket.transport.abort()


async def test_packets_that_stop_are_told_and_their_return_lifts_it(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        before = await lanes(place, call.session_id)
        with monkeypatch.context() as locked:
            locked.setattr(track(call.client), "_payload", lambda _: None)
            await both_are_told(call, {CLIENT})
            assert call.clinician.state["capture"] == "capturing", "the others go on being heard"
            assert call.client.heard_by_bot, "the connection stands; only the packets stopped"
            # nothing is on its way any more, so that what follows is one hole
            absent = call.clinician.ledger[CLIENT]["absent_ms"]
            await call.clinician.until(lambda: call.clinician.ledger[CLIENT]["absent_ms"] > absent + 1_500, "a hole")
        await both_are_told(call, set())
        await until_recorded(place, call.session_id, ["capture.absent", "capture.returned"])
        assert await lanes(place, call.session_id) == before
        captured = call.clinician.ledger[CLIENT]["captured_ms"]
        await call.clinician.until(lambda: call.clinician.ledger[CLIENT]["captured_ms"] > captured + 500, "more sound")
        await call.clinician.control("finish")
        session = await place.until(call.session_id, "audio", "erased")
        accounts = {lane["participant_id"]: lane["ledger"] for lane in session["lanes"]}
        assert all(lane["ledger_closes"] for lane in session["lanes"])
        assert accounts[CLIENT]["absent"] > 1.5 * SAMPLE_RATE_HZ
        assert accounts[CLIENT]["lost"] == 0
        assert accounts[CLINICIAN]["absent"] < 0.5 * SAMPLE_RATE_HZ
        gaps = (await place.get(f"/v1/sessions/{call.session_id}/transcript"))["gaps"]
        assert [(gap["reason"], gap["participant_id"]) for gap in gaps] == [("absent", CLIENT)]


async def test_a_connection_that_breaks_off_is_told_and_taken_up_on_the_same_lane(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        before = await lanes(place, call.session_id)
        cut_the_line(call.client)
        await both_are_told(call, {CLIENT})
        back = Peer(place.url, call.session_id, call.client._token, recording=call.client._recording)
        try:
            await back.join()
            await back.until_connected()
            await both_are_told(call, set())
            assert await lanes(place, call.session_id) == before
        finally:
            await back.leave()
        await until_recorded(place, call.session_id, ["capture.absent", "capture.returned"])
        await call.clinician.control("discard")


async def test_a_silent_lane_is_not_absent_however_few_its_packets(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        every = track(call.client)._payload
        sparse = lambda slot: every(slot) if slot % DTX_SLOTS == 0 else None  # noqa: E731
        monkeypatch.setattr(track(call.client), "_payload", sparse)
        start_ms = call.clinician.ledger.get(CLIENT, {"captured_ms": 0})["captured_ms"]
        await call.clinician.until(
            lambda: call.clinician.ledger.get(CLIENT, {"captured_ms": 0})["captured_ms"] > start_ms + 6_000,
            "six seconds of silence to be captured",
        )
        assert not any(
            member["absent"]
            for heard in call.clinician.heard
            if heard.message["type"] == "roster"
            for member in heard.message["members"]
        )
        assert await recorded(place, call.session_id) == []
        await call.clinician.control("discard")


async def test_when_the_bot_has_left_nobody_is_absent(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        monkeypatch.setattr(track(call.client), "_payload", lambda _: None)
        await both_are_told(call, {CLIENT})
        await call.clinician.control("finish")
        await call.clinician.until(lambda: call.clinician.bot is None, "the bot to leave")
        await both_are_told(call, set())
