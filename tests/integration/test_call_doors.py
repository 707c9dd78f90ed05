"""What bad input gets during a call: a clear answer, nothing lost, the state as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from tests.integration.call_world import CLIENT, CLINICIAN, World, two_people, world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("doors")) as made:
        yield made


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}


def finals(peer: Peer) -> int:
    return sum(h.message["type"] == "caption" and h.message["final"] for h in peer.heard)


def problems(peer: Peer) -> int:
    return sum(h.message["type"] == "problem" for h in peer.heard)


async def inbox_of(place: World, session_id: str) -> list[dict[str, Any]]:
    return [item for item in (await place.get("/v1/inbox"))["items"] if item["session_id"] == session_id]


async def refused(place: World, session_id: str, action: str) -> tuple[int, str]:
    """Ask by HTTP; the status and the slug."""
    answer = await place.http.post(f"/v1/sessions/{session_id}/capture", json={"action": action})
    return answer.status_code, answer.json().get("slug", "")


async def test_start_needs_a_client_in_the_room(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        assert await refused(place, call.session_id, "start") == (409, "client-not-present")
        with pytest.raises(CallFailed, match="client-not-present"):
            await call.clinician.control("start")
        session = await place.get(f"/v1/sessions/{call.session_id}")
        assert (session["capture"], session["bot"]) == ("off", "absent")


async def test_actions_out_of_order_change_nothing(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        for action in ("pause", "resume", "finish", "discard"):
            assert await refused(place, call.session_id, action) == (409, "invalid-transition")
        with pytest.raises(CallFailed, match="forbidden"):
            await call.client.control("start")
        await call.clinician.control("start")
        await call.connect()
        assert await refused(place, call.session_id, "start") == (409, "invalid-transition")
        with pytest.raises(CallFailed, match="forbidden"):
            await call.client.control("pause")
        await call.client.consent("granted")
        await call.clinician.until(lambda: call.clinician.state["capture"] == "capturing", "recording")
        assert await refused(place, call.session_id, "start") == (409, "invalid-transition")
        assert await refused(place, call.session_id, "resume") == (409, "invalid-transition")
        first = await call.clinician.control("pause")
        again = await call.clinician.control("pause")
        assert (again["state"], again["effective_at_ms"]) == ("paused", first["effective_at_ms"])
        done = await call.clinician.control("finish")
        twice = await call.clinician.control("finish")
        assert (done["state"], twice["state"]) == ("finished", "finished")
        assert done["effective_at_ms"] == twice["effective_at_ms"]
        assert await refused(place, call.session_id, "start") == (409, "invalid-transition")
        assert await refused(place, call.session_id, "discard") == (409, "invalid-transition")


async def test_a_session_in_which_nobody_speaks_says_so(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        await call.clinician.control("finish")
        session = await place.until(call.session_id, "audio", "erased")
        async with asyncio.timeout(20):
            while not (items := await inbox_of(place, call.session_id)):  # noqa: ASYNC110  asked over HTTP
                await asyncio.sleep(0.1)
        session = await place.get(f"/v1/sessions/{call.session_id}")
        assert session["note"] == "absent"
        assert session["failure_slug"] in {"audio-too-short", "capture-no-audio"}
        assert [item["kind"] for item in items] == ["failed"]


async def test_a_decline_ends_the_bot_and_nothing_is_kept(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        await call.clinician.control("start")
        await call.connect()
        call.play()
        await call.client.consent("declined")
        await call.clinician.until(lambda: call.clinician.state.get("bot") == "done", "the bot to leave")
        assert call.clinician.bot is None
        session = await place.get(f"/v1/sessions/{call.session_id}")
        assert session["bot_end_reason"] == "consent_declined"
        assert (session["capture"], session["audio"], session["transcript"]) == ("off", "absent", "absent")
        assert all(lane["ledger"]["captured"] == 0 for lane in session["lanes"])


async def test_discard_destroys_everything(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        call.play()
        await call.clinician.until(lambda: finals(call.clinician) > 0, "a caption", 20)
        await call.clinician.control("discard")
        session = await place.until(call.session_id, "transcript", "purged")
        assert session["audio"] == "erased"
        assert session["note"] == "absent"
        answer = await place.http.get(f"/v1/sessions/{call.session_id}/transcript")
        assert answer.status_code == 410
        kinds = {r["kind"] for r in (await place.get(f"/v1/sessions/{call.session_id}/receipts"))["items"]}
        assert kinds == {"audio", "transcript"}
        assert not list((place.data_dir / "spool").rglob(f"*{call.session_id}*/*/*.chunk"))


async def test_a_repeated_message_gets_the_same_ack_and_has_no_second_effect(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        body = {"action": "pause", "message_id": "m-1"}
        url = f"/v1/sessions/{call.session_id}/capture"
        first = (await place.http.post(url, json=body)).json()
        await call.clinician.control("resume")
        assert (await place.http.post(url, json=body)).json() == first
        assert (await place.get(f"/v1/sessions/{call.session_id}"))["capture"] == "capturing"
        stale = await place.http.post(url, json={"action": "resume", "seq": 1})
        assert (stale.status_code, stale.json()["slug"]) in {(412, "precondition-failed"), (409, "invalid-transition")}
        await call.clinician.control("discard")


async def test_malformed_signalling_is_answered_and_the_call_goes_on(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        bad: list[dict[str, Any]] = [
            {"type": "signal", "to": "bot", "data": {"type": "offer", "sdp": "nonsense"}},
            {"type": "signal", "to": "bot", "data": {"type": "offer"}},
            {"type": "signal", "to": "nobody", "data": {"type": "offer", "sdp": ""}},
            {"type": "signal"},
            {"type": "dance"},
        ]
        for message in bad:
            before = problems(call.client)
            await call.client._send(message)
            await call.client.until(lambda seen=before: problems(call.client) > seen, json.dumps(message))  # type: ignore[misc]
        assert call.client.state["capture"] == "capturing"
        await call.clinician.control("discard")
