"""A third person in the room: their no ends the asking, and a link opened once more waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import Peer
from tests.integration.call_world import CLIENT, CLINICIAN, World, world

INTERPRETER = "kim"
PEOPLE = {CLINICIAN: "clinician", CLIENT: "client", INTERPRETER: "interpreter"}


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


async def made(place: World) -> dict[str, Any]:
    participants = [{"id": who, "role": role, "display_name": who.title()} for who, role in PEOPLE.items()]
    body = {"clinic_id": "demo", "room": {"transport": "builtin"}, "participants": participants}
    answer = await place.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def until_capture(peer: Peer, wanted: str) -> None:
    await peer.until(lambda: peer.state.get("capture") == wanted, wanted)


async def test_a_third_persons_no_ends_the_asking_and_start_asks_again(place: World) -> None:
    session = await made(place)
    session_id = session["session"]["id"]
    tokens = {one["participant_id"]: one["token"] for one in session["join"]}
    silent: Recording = place.cut(CLIENT, (0, 400))
    peers = {
        who: Peer(place.url, session_id, tokens[who], recording=silent, origin_s=time.monotonic()) for who in PEOPLE
    }
    clinician, client, interpreter = peers.values()
    try:
        for peer in peers.values():
            await peer.join()
        for who in (CLIENT, INTERPRETER):
            await clinician.admit(who)
            await peers[who].until(lambda who=who: peers[who].admitted, "admission")  # type: ignore[misc]
        await clinician.control("start")
        await until_capture(clinician, "consent_pending")
        await client.consent("granted")
        await interpreter.consent("declined")
        await until_capture(clinician, "off")
        standing = await place.get(f"/v1/sessions/{session_id}")
        assert (standing["bot"], standing["bot_end_reason"]) == ("done", "consent_declined")
        assert (standing["audio"], standing["lanes"][0]["ledger"]["captured"]) == ("absent", 0)

        # they may be asked again, and their no still stands until they say otherwise
        await clinician.control("start")
        await until_capture(clinician, "consent_pending")
        await interpreter.consent("granted")
        await until_capture(clinician, "capturing")
        await clinician.control("discard")
        await place.until(session_id, "audio", "erased")
    finally:
        await asyncio.gather(*(peer.leave() for peer in peers.values()))


async def test_a_link_opened_once_more_waits_for_the_clinician(place: World) -> None:
    session = await made(place)
    session_id = session["session"]["id"]
    link = next(one for one in session["join"] if one["participant_id"] == CLIENT)["invite_url"]
    code = link.rpartition("#")[2]

    async def opened() -> Peer:
        answer = await place.http.post("/v1/join", json={"session_id": session_id, "code": code})
        recording = place.cut(CLIENT, (0, 400))
        return Peer(place.url, session_id, answer.json()["token"], recording=recording, origin_s=time.monotonic())

    token = next(one for one in session["join"] if one["participant_id"] == CLINICIAN)["token"]
    recording = place.cut(CLINICIAN, (0, 400))
    clinician = Peer(place.url, session_id, token, recording=recording, origin_s=time.monotonic())
    first, again = await opened(), await opened()
    try:
        await clinician.join()
        await first.join()
        await clinician.admit(CLIENT)
        await first.until(lambda: first.admitted, "admission")

        def waits() -> bool:
            rows = {one["participant_id"]: one for one in clinician.roster["members"]}
            return rows[CLIENT]["present"] and not rows[CLIENT]["admitted"]

        await again.join()
        await clinician.until(waits, "the link's other opening to wait")
        assert not again.admitted
        await clinician.admit(CLIENT)
        await again.until(lambda: again.admitted, "admission")
    finally:
        await asyncio.gather(*(peer.leave() for peer in (clinician, first, again)))
