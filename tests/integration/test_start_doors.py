"""Start at every door: no bot before it, none after the end, and nothing is captured without a client in the room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from bot.media import builtin
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOORS = ("http", "socket")
OFFER = {"type": "offer", "sdp": "v=0\r\n"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("start")) as made:
        yield made


@dataclass
class Connections:
    """Every peer connection the bot has made."""

    made: list[Any] = field(default_factory=list)

    @property
    def open(self) -> int:
        return sum(pc.connectionState != "closed" for pc in self.made)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    counted = Connections()
    make = builtin.RTCPeerConnection  # type: ignore[attr-defined]

    def connection(*given: Any) -> Any:
        counted.made.append(make(*given))
        return counted.made[-1]

    monkeypatch.setattr(builtin, "RTCPeerConnection", connection)
    return counted


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}


async def ask(place: World, call: Call, door: str, action: str) -> str | None:
    """Ask through a door; the slug of the refusal, or None."""
    if door == "http":
        answer = await place.http.post(f"/v1/sessions/{call.session_id}/capture", json={"action": action})
        return None if answer.status_code == 200 else str(answer.json()["slug"])
    try:
        await call.clinician.control(action, by_channel=door == "channel")
    except CallFailed as refused:
        return str(refused).removesuffix(".").rpartition(" ")[2]
    return None


async def has_no_bot(place: World, call: Call, connections: Connections, *, bot: str) -> None:
    """Neither the list of people, nor the API, nor a peer connection has a bot, and offers to it are refused."""
    for peer in (call.clinician, call.client):
        await peer.until(lambda peer=peer: bool(peer.roster), "a roster")  # type: ignore[misc]
        assert peer.bot is None
        assert not peer.channel_open
        assert "bot" not in {member["participant_id"] for member in peer.roster["members"]}
    assert connections.open == 0
    session = await place.get(f"/v1/sessions/{call.session_id}")
    assert session["bot"] == bot
    made = len(connections.made)
    before = len(problems(call.clinician))
    await call.clinician._send({"type": "signal", "to": "bot", "data": OFFER})
    await call.clinician.until(lambda: len(problems(call.clinician)) > before, "a refusal")
    assert problems(call.clinician)[-1] == "invalid-transition"
    assert len(connections.made) == made


def problems(peer: Peer) -> list[str]:
    return [h.message["problem"]["slug"] for h in peer.heard if h.message["type"] == "problem"]


async def nothing_is_captured(place: World, call: Call, connections: Connections) -> None:
    session = await place.get(f"/v1/sessions/{call.session_id}")
    assert (session["bot"], session["capture"], session["audio"], session["lanes"]) == ("absent", "off", "absent", [])
    assert connections.made == []


@pytest.mark.parametrize("end", ["finish", "discard"])
@pytest.mark.parametrize("door", DOORS)
async def test_the_bot_comes_with_start_and_goes_with_the_end(
    place: World, connections: Connections, door: str, end: str
) -> None:
    async with two_people(place, recordings(place)) as call:
        await has_no_bot(place, call, connections, bot="absent")
        await call.admit()
        await call.client.consent("granted")
        await has_no_bot(place, call, connections, bot="absent")
        assert connections.made == []
        await nothing_is_captured(place, call, connections)

        assert await ask(place, call, door, "start") is None
        await call.connect()
        for peer in (call.clinician, call.client):
            assert peer.bot is not None
            assert peer.bot["display_name"] == "Quietnote (transcription)"
        assert connections.open == len(connections.made) == 2

        assert await ask(place, call, door, end) is None
        for peer in (call.clinician, call.client):
            await peer.until(lambda peer=peer: peer.bot is None, "the bot to leave")  # type: ignore[misc]
            await peer.until(lambda peer=peer: not peer.channel_open, "the connection to be closed")  # type: ignore[misc]
        await has_no_bot(place, call, connections, bot="done")
        assert len(connections.made) == 2
        await place.until(call.session_id, "audio", "erased")


async def test_the_data_channel_begins_nothing_and_takes_up_what_was_paused(
    place: World, connections: Connections
) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        assert not call.clinician.channel_open, "without a bot there is no channel to press Start on"
        await call.clinician.control("start")
        await call.connect()
        for peer in (call.clinician, call.client):
            await peer.until(lambda peer=peer: peer.channel_open, "the control channel")  # type: ignore[misc]
        assert await ask(place, call, "channel", "start") == "invalid-transition"
        assert call.clinician.state["capture"] == "consent_pending"
        with pytest.raises(CallFailed, match="forbidden"):
            await call.client.control("start", by_channel=True)
        await call.client.consent("granted")
        assert await ask(place, call, "channel", "pause") is None
        assert await ask(place, call, "channel", "start") == "invalid-transition", "a Start sent twice lifts no pause"
        assert await ask(place, call, "channel", "resume") is None
        await call.clinician.until(lambda: call.clinician.state["words"] == "Recording", "recording")
        assert len(connections.made) == 2
        assert await ask(place, call, "channel", "discard") is None


@pytest.mark.parametrize("door", DOORS)
async def test_start_is_refused_until_a_client_is_in_the_room(
    place: World, connections: Connections, door: str
) -> None:
    async with two_people(place, recordings(place)) as call:
        # a client in the waiting room is not in the room, even one who has agreed
        assert await ask(place, call, door, "start") == "client-not-present"
        await call.client.consent("granted")
        assert await ask(place, call, door, "start") == "client-not-present"
        await nothing_is_captured(place, call, connections)

        # admitted and gone again: the clinician is alone
        await call.admit()
        await call.client.leave()
        await call.clinician.until(lambda: not _is_present(call, CLIENT), "the client to be gone")
        assert await ask(place, call, door, "start") == "client-not-present"
        await nothing_is_captured(place, call, connections)
        assert call.clinician.bot is None


@pytest.mark.parametrize("door", DOORS)
async def test_a_summary_only_session_is_never_recorded(place: World, connections: Connections, door: str) -> None:
    async with two_people(place, recordings(place), mode="summary_only") as call:
        await call.admit()
        await call.client.consent("granted")
        assert await ask(place, call, door, "start") == "invalid-transition"
        await nothing_is_captured(place, call, connections)
        await has_no_bot(place, call, connections, bot="absent")
        told = await place.get(f"/v1/sessions/{call.session_id}/participants/{CLINICIAN}/consent")
        assert told["answers"] == [], "a Start that is refused is no consent either"


async def test_a_clinician_who_has_left_still_needs_a_client(place: World, connections: Connections) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.clinician.leave()
        assert await ask(place, call, "http", "start") == "client-not-present"
        await nothing_is_captured(place, call, connections)


async def test_an_answer_from_outside_the_room_begins_nothing(place: World, connections: Connections) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        await call.clinician.control("start")
        await call.connect()
        await call.client.leave()
        await call.clinician.until(lambda: not _is_present(call, CLIENT), "the client to be gone")

        answer = await place.http.put(
            f"/v1/sessions/{call.session_id}/participants/{CLIENT}/consent",
            json={"decision": "granted"},
            headers={"Authorization": f"Bearer {call.client._token}"},
        )
        assert (answer.status_code, answer.json()["state"]) == (200, "consent_pending")
        # a pause taken back does not get round it either
        assert await ask(place, call, "socket", "pause") is None
        assert await ask(place, call, "socket", "resume") == "client-not-present"
        session = await place.get(f"/v1/sessions/{call.session_id}")
        reasons = ["clinician", "consent"]
        assert (session["capture"], session["pause_reasons"], session["audio"]) == ("paused", reasons, "absent")

        back = Peer(place.url, call.session_id, call.client._token, recording=call.client._recording)
        try:
            await back.join()
            await call.clinician.until(lambda: _is_present(call, CLIENT), "the client to be back")
            assert await ask(place, call, "socket", "resume") is None
            await call.clinician.until(lambda: call.clinician.state["capture"] == "capturing", "recording to begin")
        finally:
            await back.leave()
        session = await place.get(f"/v1/sessions/{call.session_id}")
        assert all(lane["ledger"]["captured"] == 0 or session["audio"] == "held" for lane in session["lanes"])
        await call.clinician.control("discard")


async def test_recording_is_said_once_everybody_in_the_room_is_heard(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        await call.client.consent("granted")
        await call.clinician.control("start")
        await call.clinician.until(lambda: call.clinician.state["words"] == "Recording", "the word Recording")
        told = [h.message["words"] for h in call.clinician.heard if h.message["type"] == "state"]
        assert list(dict.fromkeys(told)) == ["Not recording", "Starting", "Recording"]
        assert call.clinician.heard_by_bot
        assert call.client.heard_by_bot
        await call.clinician.control("pause")
        await call.clinician.control("resume")
        assert "Starting" not in told[told.index("Recording") :], "who was heard once is not waited for again"
        await call.clinician.control("discard")


async def test_somebody_without_a_microphone_holds_recording_up_for_a_moment_only(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(place, recordings(place)) as call:

        async def no_offer(_: str) -> None:
            await asyncio.sleep(0)

        monkeypatch.setattr(call.client, "_offer_to", no_offer)
        await call.admit()
        await call.client.consent("granted")
        await call.clinician.control("start")
        assert call.clinician.state["words"] in {"Not recording", "Starting"}
        await call.clinician.until(lambda: call.clinician.state["words"] == "Recording", "the word Recording")
        await call.clinician.until(lambda: _absent(call.clinician) == {CLIENT}, "to be told who is not heard")
        await call.clinician.control("finish")
        await place.until(call.session_id, "audio", "erased")
        gaps = (await place.get(f"/v1/sessions/{call.session_id}/transcript"))["gaps"]
        assert [(gap["reason"], gap["participant_id"]) for gap in gaps] == [("absent", CLIENT)]


def _is_present(call: Call, who: str) -> bool:
    return any(m["participant_id"] == who and m["present"] for m in call.clinician.roster["members"])


def _absent(peer: Peer) -> set[str]:
    return {m["participant_id"] for m in peer.roster["members"] if m["absent"]}
