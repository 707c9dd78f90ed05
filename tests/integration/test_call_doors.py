"""What bad input gets during a call: a clear answer, nothing lost, the state as it was.

Everything goes through the real doors: HTTP, the page's WebSocket and the bot's data channel of a running service.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCRtpSender
from websockets.asyncio.client import connect

from bot.control import channel
from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from bot.events import Role
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

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


async def standing(place: World, session_id: str) -> dict[str, Any]:
    """What a refused input must leave as it was: states, sequence, people, and what the ledgers hold."""
    session: dict[str, Any] = await place.get(f"/v1/sessions/{session_id}")
    lanes = {
        lane["participant_id"]: (lane["id"], *(lane["ledger"][part] for part in ("captured", "lost", "withheld")))
        for lane in session.pop("lanes")
    }
    return session | {"lanes": lanes}


@asynccontextmanager
async def nothing_changes(place: World, session_id: str) -> AsyncIterator[None]:
    """Fail when what is done inside changes the session."""
    before = await standing(place, session_id)
    yield
    assert await standing(place, session_id) == before


@asynccontextmanager
async def paused(place: World, *, stay: bool = True) -> AsyncIterator[Call]:
    """A call in which recording is paused, both people connected to the bot; afterwards it goes on if they ``stay``."""
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        await call.clinician.control("pause")
        for peer in (call.clinician, call.client):
            await peer.until(lambda peer=peer: peer.channel_open, "the control channel")  # type: ignore[misc]
        await call.clinician.until(lambda: bool(call.clinician.ledger), "ledgers")
        yield call
        if stay:
            await call.clinician.control("resume")
        else:
            with pytest.raises(CallFailed, match="client-not-present"):
                await call.clinician.control("resume")
        await call.clinician.control("discard")


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
        async with nothing_changes(place, call.session_id):
            for action in ("pause", "resume", "finish", "discard"):
                assert await refused(place, call.session_id, action) == (409, "invalid-transition")
                with pytest.raises(CallFailed, match="invalid-transition"):
                    await call.clinician.control(action)
            with pytest.raises(CallFailed, match="forbidden"):
                await call.client.control("start")
        await call.clinician.control("start")
        await call.connect()
        assert await refused(place, call.session_id, "start") == (409, "invalid-transition")
        with pytest.raises(CallFailed, match="forbidden"):
            await call.client.control("pause")
        await call.client.consent("granted")
        await call.clinician.until(lambda: call.clinician.state["capture"] == "capturing", "recording")
        seq = call.clinician.state["seq"]
        for door in ("http", "socket", "channel"):
            for action in ("start", "resume"):
                if door == "http":
                    assert await refused(place, call.session_id, action) == (409, "invalid-transition")
                    continue
                with pytest.raises(CallFailed, match="invalid-transition"):
                    await call.clinician.control(action, by_channel=door == "channel")
        assert (await place.get(f"/v1/sessions/{call.session_id}"))["seq"] == seq
        first = await call.clinician.control("pause")
        refusal = await refused(place, call.session_id, "start")
        assert refusal == (409, "invalid-transition"), "only Resume lifts a pause"
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
        async with asyncio.timeout(10):  # the transcript's receipt is signed right after it is gone
            while True:
                items = (await place.get(f"/v1/sessions/{call.session_id}/receipts"))["items"]
                if {r["kind"] for r in items} == {"audio", "transcript"}:
                    break
                await asyncio.sleep(0.05)
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


def raw_channel(peer: Peer) -> Any:
    """The data channel itself, to say what no well-behaved page says."""
    return peer._links["bot"]._channel


async def answers(peer: Peer, kind: str, send: Any, what: object = "") -> dict[str, Any]:
    """Send, and the next answer of a kind that refuses."""

    def told() -> list[Any]:
        return [h.message for h in peer.heard if h.message["type"] == kind and not h.message.get("ok")]

    before = len(told())
    sent = send()
    if sent is not None:
        await sent
    await peer.until(lambda: len(told()) > before, f"a {kind} after {what}")
    return dict(told()[before]["problem"])


@pytest.mark.parametrize("who", [CLINICIAN, CLIENT])
async def test_what_is_no_message_is_answered_and_the_call_goes_on(place: World, who: str) -> None:
    async with paused(place) as call:
        peer = call.clinician if who == CLINICIAN else call.client
        socket, by_channel = peer._socket, raw_channel(peer)
        assert socket is not None
        async with nothing_changes(place, call.session_id):
            for sent, slug in (
                ("{", "config-invalid"),
                ("", "config-invalid"),
                ("[1]", "config-invalid"),
                ("7", "config-invalid"),
                (b"\x00\xff", "config-invalid"),
                ("{}", "config-invalid"),
                ('{"type": "dance"}', "config-invalid"),
                ('{"type": ["finish"]}', "config-invalid"),
                ('{"type": "finish"}', "config-invalid"),
                ('{"type": "mute", "muted": "yes"}', "config-invalid"),
                ('{"type": "mute"}', "config-invalid"),
                ('{"type": "signal", "to": "bot", "data": {"type": "offer", "sdp": "\\ud800"}}', "config-invalid"),
                ('{"type": "finish", "message_id": "m", "pad": "' + "x" * 1_000_000 + '"}', "payload-too-large"),
            ):
                problem = await answers(peer, "problem", lambda sent=sent: socket.send(sent))
                assert problem["slug"] == slug, sent[:60]
                if slug == "config-invalid" and "signal" not in str(sent):
                    problem = await answers(peer, "problem", lambda sent=sent: by_channel.send(sent), sent)
                    assert problem["slug"] == slug, sent[:60]
            large = '{"type": "finish", "message_id": "m", "pad": "' + "x" * channel.MAX_CHANNEL_BYTES + '"}'
            peer._links["bot"]._pc.sctp._remote_max_message_size = 0  # type: ignore[union-attr]  # a page that ignores ours
            problem = await answers(peer, "ack", lambda: by_channel.send(large))
            assert (problem["slug"], problem["status"]) == ("payload-too-large", 413)
        assert call.clinician.state["capture"] == "paused"


async def test_a_message_over_two_megabytes_closes_the_page_and_nothing_else(place: World) -> None:
    async with paused(place, stay=False) as call, nothing_changes(place, call.session_id):
        socket = call.client._socket
        assert socket is not None
        await socket.send("x" * 2_100_000)
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert socket.close_code == 1009


async def offers() -> dict[str, str]:
    """Real offers that cannot be used: without sound, and with sound that is not Opus."""
    made = {}
    for kind in ("nothing but data", "PCMU"):
        pc = RTCPeerConnection()
        pc.createDataChannel("scribe.control.v1")
        if kind == "PCMU":
            transceiver = pc.addTransceiver("audio", direction="sendonly")
            codecs = RTCRtpSender.getCapabilities("audio").codecs
            transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/PCMU"])
        await pc.setLocalDescription(await pc.createOffer())
        made[kind] = str(pc.localDescription.sdp)
        await pc.close()
    return made


async def test_malformed_signalling_is_answered_and_the_call_goes_on(place: World) -> None:
    unusable = await offers()
    async with paused(place) as call:
        offer = {"type": "signal", "to": "bot", "data": {"type": "offer"}}
        bad: list[tuple[dict[str, Any], str]] = [
            (offer | {"data": {"type": "offer", "sdp": "nonsense"}}, "not a session description"),
            (offer | {"data": {"type": "offer", "sdp": unusable["nothing but data"]}}, "holds no audio"),
            (offer | {"data": {"type": "offer", "sdp": unusable["PCMU"]}}, "is not Opus"),
            (offer | {"data": {"type": "offer", "sdp": "v=0\r\n" * 20_000}}, "too long"),
            (offer | {"data": {"type": "offer", "sdp": 7}}, "needs `sdp`"),
            (offer, "needs `sdp`"),
            (offer | {"data": {"type": "answer", "sdp": "v=0"}}, "data.type"),
            (offer | {"data": {"type": "candidate", "candidate": "x"}}, "object or null"),
            (offer | {"data": {"type": "candidate", "candidate": {"candidate": "x"}}}, "not an ICE candidate"),
            (offer | {"data": "offer"}, "needs `to`"),
            ({"type": "signal", "to": "nobody", "data": {"type": "offer", "sdp": ""}}, "nobody of that id"),
            ({"type": "signal", "to": {"bot": 1}, "data": {}}, "needs `to`"),
            ({"type": "signal"}, "needs `to`"),
        ]
        async with nothing_changes(place, call.session_id):
            for message, detail in bad:
                for peer in (call.client, call.clinician):
                    problem = await answers(peer, "problem", lambda p=peer, m=message: p._send(m))
                    wanted = "audio-format-unsupported" if "Opus" in detail else "config-invalid"
                    assert (problem["slug"], detail in problem["detail"]) == (wanted, True), message
            for peer in (call.client, call.clinician):
                assert peer.heard_by_bot, "the connection that stood goes on"
        await call.clinician.control("resume")
        call.play()
        await call.clinician.until(lambda: finals(call.clinician) > 0, "a caption", 20)
        await call.clinician.control("pause")


async def test_a_clinic_whose_own_language_the_model_does_not_know(place: World) -> None:
    clinics = place.service.services.clinics
    _, config = await clinics.current("demo")
    french = config.model_copy(update={"asr": config.asr.model_copy(update={"language": "fr"})})
    body = {"clinic_id": "demo", "participants": [{"role": "clinician", "display_name": "Dr. Ada Stone"}]}
    await clinics.save(french, author="somebody")
    try:
        answer = await place.http.post("/v1/sessions", json=body)
        assert (answer.status_code, answer.json()["slug"]) == (422, "config-invalid")
        assert answer.json()["detail"].startswith("language: ")
        assert (await place.http.post("/v1/sessions", json=body | {"language": "en"})).status_code == 201
    finally:
        await clinics.save(config, author="somebody")


async def test_who_has_no_business_here(place: World) -> None:
    async with paused(place) as call:
        path = f"/v1/sessions/{call.session_id}"
        issue = place.service.services.tokens.issue
        given: dict[str, Any] = {"session_id": call.session_id, "clinic_id": "demo"}
        client = issue(participant_id=CLIENT, role=Role.CLIENT, **given)
        stale = issue(participant_id=CLINICIAN, role=Role.CLINICIAN, lifetime=timedelta(seconds=-1), **given)
        unknown = {"clinic_id": "nowhere", "participants": [{"role": "clinician", "display_name": "Dr. Ada Stone"}]}
        french = unknown | {"clinic_id": "demo", "language": "fr"}
        cases: list[tuple[str, str, str, dict[str, Any] | None, int, str]] = [
            ("POST", "/v1/sessions", "dev", unknown, 404, "not-found"),
            ("POST", "/v1/sessions", "dev", french, 422, "config-invalid"),
            ("POST", f"{path}/capture", "qn_wrong", {"action": "finish"}, 401, "unauthorized"),
            ("POST", f"{path}/capture", stale, {"action": "finish"}, 401, "unauthorized"),
            ("POST", f"{path}/capture", client, {"action": "finish"}, 403, "forbidden"),
            ("PUT", f"{path}/participants/{CLINICIAN}/consent", client, {"decision": "revoked"}, 403, "forbidden"),
            ("PUT", f"{path}/participants/{CLIENT}/consent", "dev", {"decision": "revoked"}, 403, "forbidden"),
            ("GET", f"{path}/transcript", client, None, 403, "forbidden"),
            ("POST", "/v1/sessions/ses_nothing/capture", "dev", {"action": "finish"}, 404, "not-found"),
        ]
        async with nothing_changes(place, call.session_id), httpx.AsyncClient(base_url=place.url) as http:
            made = (await place.get("/v1/sessions"))["items"]
            for method, address, key, body, status, slug in cases:
                answer = await http.request(method, address, json=body, headers={"Authorization": f"Bearer {key}"})
                assert (answer.status_code, answer.json()["slug"]) == (status, slug), (method, address)
                assert answer.headers["content-type"] == "application/problem+json"
            assert [one["id"] for one in (await place.get("/v1/sessions"))["items"]] == [one["id"] for one in made]
            room = f"ws{place.url.removeprefix('http')}/v1/rooms/{call.session_id}"
            for token in (stale, "dev", client[:-3] + "xxx"):
                async with connect(room, proxy=None) as socket, asyncio.timeout(20):
                    await socket.send(json.dumps({"type": "hello", "token": token}))
                    assert json.loads(await socket.recv())["problem"]["slug"] == "unauthorized"
                    await socket.wait_closed()
                    assert socket.close_code == 4401
            for action in ("pause", "resume", "finish", "discard", "start"):
                with pytest.raises(CallFailed, match="forbidden"):
                    await call.client.control(action, by_channel=True)
