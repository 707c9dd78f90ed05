"""Webhooks of a whole service: every kind of event, Redis away, and a process that is killed between two attempts."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook
from websockets.asyncio.client import ClientConnection, connect

from bot.events import Role, Segment
from bot.store.webhook_store import PUBLIC_KINDS, message_id
from tests.conftest import ROOT
from tests.integration.call_world import World, world
from tests.integration.test_cli import environment
from tests.integration.test_stopping import Process
from tests.integration.webhook_world import Receiver, local, served

DOCUMENT = ROOT / "docs" / "webhooks.md"
HOOKS = "/v1/clinics/demo/webhooks"
NOT_YET = {"note.amended"}
"""Kinds that nothing gives yet."""
PEOPLE = [
    {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
    {"id": "cl-1", "role": "client", "display_name": "Robin Fields"},
]
SAID = "I slept badly and the dog kept me company."


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served() as made:
        yield made


async def endpoint(http: httpx.AsyncClient, receiver: Receiver) -> dict[str, Any]:
    answer = await http.post(HOOKS, json={"url": local(receiver)})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


class Meeting:
    """A session with both people's pages in the room, and no sound."""

    def __init__(self, place: World, made: dict[str, Any]) -> None:
        self.place = place
        self.id: str = made["session"]["id"]
        self.tokens = {join["role"]: join["token"] for join in made["join"]}
        self.codes = {join["role"]: join.get("consent_url", "").rpartition("#")[2] for join in made["join"]}

    def who(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    async def capture(self, action: str) -> None:
        answer = await self.place.http.post(f"/v1/sessions/{self.id}/capture", json={"action": action})
        assert answer.status_code == 200, answer.text

    async def consent(self, decision: str) -> None:
        path = f"/v1/sessions/{self.id}/participants/cl-1/consent"
        answer = await self.place.http.put(path, json={"decision": decision}, headers=self.who("client"))
        assert answer.status_code == 200, answer.text

    async def says(self) -> None:
        """Words of the client, as the recogniser commits them."""
        store = self.place.service.services.store
        lane = await store.ensure_lane(self.id, "cl-1", Role.CLIENT)
        said = Segment(f"seg-{self.id}", 1, True, lane.id, "cl-1", Role.CLIENT, 0, 1000, SAID, confidence=0.9)
        await store.commit_final(self.id, said)

    async def note(self, wanted: str) -> str:
        return str((await self.place.until(self.id, "note", wanted))["note_id"])


@asynccontextmanager
async def page(place: World, session_id: str, token: str) -> AsyncIterator[ClientConnection]:
    address = f"ws{place.url.removeprefix('http')}/v1/rooms/{session_id}"
    async with connect(address, proxy=None, origin=place.url, max_queue=None) as socket:  # type: ignore[arg-type]
        await socket.send(json.dumps({"type": "hello", "token": token}))
        async for message in socket:
            if json.loads(message)["type"] == "welcome":
                break
        yield socket


@asynccontextmanager
async def meeting(place: World) -> AsyncIterator[Meeting]:
    made = (await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": PEOPLE})).json()
    met = Meeting(place, made)
    async with page(place, met.id, met.tokens["clinician"]), page(place, met.id, met.tokens["client"]):
        path = f"/v1/sessions/{met.id}/participants/cl-1/admit"
        assert (await place.http.post(path, headers=met.who("clinician"))).status_code == 200
        yield met


async def to_a_signed_note(place: World) -> str:
    async with meeting(place) as met:
        await met.capture("start")
        await met.consent("granted")
        await met.says()
        await met.capture("pause")
        await met.capture("resume")
        await met.capture("finish")
        note_id = await met.note("draft")
        answer = await place.http.post(f"/v1/notes/{note_id}/sign", headers=met.who("clinician"))
        assert answer.status_code == 200, answer.text
        return met.id


async def taken_back_with_a_draft(place: World) -> None:
    async with meeting(place) as met:
        await met.capture("start")
        await met.consent("granted")
        await met.says()
        await met.capture("finish")
        await met.note("draft")
        path = f"/v1/sessions/{met.id}/participants/cl-1/consent"
        body = {"decision": "revoked", "destroy": True}
        assert (await place.http.put(path, json=body, headers=met.who("client"))).status_code == 200


async def declined(place: World) -> None:
    async with meeting(place) as met:
        await met.capture("start")
        await met.consent("declined")


async def discarded(place: World) -> None:
    async with meeting(place) as met:
        await met.capture("start")
        await met.consent("granted")
        await met.capture("discard")


async def without_its_writer(place: World) -> None:
    """A clinic whose note-writing endpoint lost its key."""
    clinics = place.service.services.clinics
    _, clinic = await clinics.current("demo")
    lost = {"writer": "openai", "base_url": "https://writer.example/v1", "model": "m", "api_key_env": "NOT_SET_HERE"}
    await clinics.save(clinic.model_copy(update={"note": clinic.note.model_copy(update=lost)}), author="test")
    async with meeting(place) as met:
        await met.capture("start")
        await met.consent("granted")
        await met.says()
        await met.capture("finish")
        await met.note("failed")


async def test_every_kind_of_event_arrives_and_verifies(tmp_path: Path, receiver: Receiver) -> None:
    async with world(tmp_path, webhooks_private=True) as place:
        hook = await endpoint(place.http, receiver)
        signed = await to_a_signed_note(place)
        for story in (taken_back_with_a_draft, declined, discarded, without_its_writer):
            await story(place)
        wanted = PUBLIC_KINDS - NOT_YET
        await receiver.until(lambda: wanted <= set(receiver.types()), f"{sorted(wanted)}")
        sessions = place.service.services.store
        events = {event.seq: event for event in await sessions.events(signed, 0)}
        public = [event.seq for event in events.values() if event.kind in PUBLIC_KINDS]
        await receiver.until(lambda: set(public) <= set(of(receiver, signed)), "every event of the session")
    assert set(receiver.types()) == wanted, "and nothing else leaves the house"
    fields = documented()
    assert fields.keys() == PUBLIC_KINDS
    for headers, body in receiver.got:
        message = Webhook(hook["secret"]).verify(body, headers)
        data = message["data"]
        assert headers["webhook-id"] == message_id(hook["id"], data["session_id"], data["seq"])
        assert data["clinic_id"] == "demo"
        assert set(data) <= {"session_id", "clinic_id", "seq"} | fields[message["type"]], message
        for word in (SAID, "slept", "Stone", "Robin"):
            assert word not in body.decode()
        if data["session_id"] == signed:
            assert message["type"] == events[data["seq"]].kind


def documented() -> dict[str, set[str]]:
    """By kind of event, what the document says is in its message beside the session."""
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|[^|]*\|([^|]*)\|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {kind: set(re.findall(r"`(\w+)`", named)) for kind, named in rows}


def of(receiver: Receiver, session_id: str) -> list[int]:
    """The counts of a session's events that arrived."""
    got = [json.loads(body)["data"] for _, body in receiver.got]
    return [data["seq"] for data in got if data["session_id"] == session_id]


async def test_without_redis_everything_is_delivered(tmp_path: Path, receiver: Receiver) -> None:
    async with world(tmp_path, webhooks_private=True, redis_url=f"unix://{tmp_path}/nobody.sock") as place:
        assert (await place.http.get("/readyz")).json()["missing"].keys() == {"bus"}
        await endpoint(place.http, receiver)
        await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": PEOPLE})
        await receiver.until(lambda: receiver.types() == ["session.created"], "the event")


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The service in a process of its own, to be killed."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--dev", "--port", "0",
        env=environment(folder, QUIETNOTE_LOG_LEVEL="WARNING", QUIETNOTE_WEBHOOKS_PRIVATE="1"),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    run = Process(started)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(run.read(listening))
    try:
        url = await asyncio.wait_for(listening, 60)
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": "Bearer dev"}, timeout=30.0, trust_env=False
        ) as http:
            yield run, http
    finally:
        if started.returncode is None:
            started.terminate()
        await asyncio.wait_for(started.wait(), 60)
        await reader


@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_a_process_killed_between_two_attempts_takes_up_where_it_was(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [500]
    async with process(tmp_path) as (run, http):
        hook = await endpoint(http, receiver)
        await http.post("/v1/sessions", json={"clinic_id": "demo", "participants": PEOPLE})
        path = f"{HOOKS}/{hook['id']}/deliveries"
        async with asyncio.timeout(30):
            while not [one for one in (await http.get(path)).json()["items"] if one["attempts"]]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        run.process.kill()
        await run.process.wait()
    async with process(tmp_path) as (_, http):
        await receiver.until(lambda: len(receiver.got) == 2, "the second attempt")
        async with asyncio.timeout(30):
            while (items := (await http.get(path)).json()["items"])[0]["state"] != "delivered":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert [(one["attempts"], one["status"]) for one in items] == [(2, 200)]
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    assert int(second[0]["webhook-timestamp"]) - int(first[0]["webhook-timestamp"]) >= 4, "by the schedule, not sooner"
    Webhook(hook["secret"]).verify(second[1], second[0])
