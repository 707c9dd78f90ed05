"""The routes over the whole service, as it runs: nothing is scripted here but the people."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bot.server import serving
from bot.settings import Settings
from tests.integration.api_document import Document
from tests.integration.api_world import DEV, WAIT_S, bearer, problem_of


@asynccontextmanager
async def page(base: str, session_id: str, token: str) -> AsyncIterator[ClientConnection]:
    address = f"ws{base.removeprefix('http')}/v1/rooms/{session_id}"
    async with connect(address, proxy=None, origin=base) as socket:  # type: ignore[arg-type]
        await socket.send(json.dumps({"type": "hello", "token": token}))
        yield socket


async def until(socket: ClientConnection, kind: str, **wanted: object) -> dict[str, Any]:
    """The next message of a kind with the wanted values."""
    async with asyncio.timeout(WAIT_S):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind and all(message.get(key) == value for key, value in wanted.items()):
                return message


async def test_a_call_through_every_door(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, dev=True, host="127.0.0.1", port=0)
    async with serving(settings) as (_, base), httpx.AsyncClient(base_url=base, timeout=WAIT_S) as http:
        http.event_hooks = {"response": [Document((await http.get("/openapi.json")).json()).hear]}
        assert (await http.get("/readyz")).json()["ready"] is True
        people = [
            {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
            {"id": "cl-1", "role": "client", "display_name": "Robin Fields"},
        ]
        made = (await http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people}, headers=DEV)).json()
        session_id, tokens = made["session"]["id"], {join["role"]: join["token"] for join in made["join"]}
        assert made["join"][0]["invite_url"].startswith(f"{base}/join/")
        path = f"/v1/sessions/{session_id}"
        refused = await http.post(f"{path}/capture", json={"action": "start"}, headers=DEV)
        problem_of(refused, 409, "client-not-present")
        refused = await http.post(f"{path}/capture", json={"action": "pause"}, headers=DEV)
        problem_of(refused, 409, "invalid-transition")

        async with (
            page(base, session_id, tokens["clinician"]) as clinician,
            page(base, session_id, tokens["client"]) as client,
        ):
            assert (await until(clinician, "welcome"))["admitted"] is True
            welcome = await until(client, "welcome")
            assert welcome["admitted"] is False
            admitted = await http.post(f"{path}/participants/cl-1/admit", headers=bearer(tokens["clinician"]))
            assert admitted.status_code == 200

            started = await http.post(f"{path}/capture", json={"action": "start", "message_id": "m1"}, headers=DEV)
            assert started.json()["state"] == "consent_pending"
            again = await http.post(f"{path}/capture", json={"action": "start", "message_id": "m1"}, headers=DEV)
            assert again.json() == started.json()
            await until(client, "state", capture="consent_pending")

            version = welcome["consent_wording"]["version"]
            answer = {"decision": "granted", "method": "api", "text_version": version}
            consent = f"{path}/participants/cl-1/consent"
            problem_of(await http.put(consent, json=answer, headers=DEV), 403, "forbidden")
            granted = await http.put(consent, json=answer, headers=bearer(tokens["client"]))
            assert granted.json()["state"] == "capturing"
            await until(client, "state", capture="capturing")

            async with http.stream("GET", f"{path}/events", headers=DEV | {"Last-Event-ID": "0"}) as stream:
                kinds = []
                async for line in stream.aiter_lines():
                    if line.startswith("data:") and '"kind"' in line:
                        kinds.append(json.loads(line[5:])["kind"])
                    if kinds[-1:] == ["capture.started"]:
                        break
            assert kinds[0] == "session.created"
            assert "consent.granted" in kinds

            second = await http.post(f"{path}/capture", json={"action": "start"}, headers=DEV)
            problem_of(second, 409, "invalid-transition")
            await client.send(json.dumps({"type": "finish", "message_id": "x"}))
            assert (await until(client, "ack", message_id="x"))["problem"]["slug"] == "forbidden"
            await clinician.send(json.dumps({"type": "discard", "message_id": "d"}))
            assert (await until(clinician, "ack", message_id="d"))["ok"] is True
            await until(clinician, "state", audio="erased")
        session = (await http.get(path, headers=DEV)).json()
        assert session["capture"] == "discarded"
        receipts = (await http.get(f"{path}/receipts", headers=DEV)).json()["items"]
        assert "audio" in {receipt["kind"] for receipt in receipts}
        problem_of(await http.get(f"{path}/transcript", headers=DEV), 410, "transcript-purged")


async def test_the_service_is_ready_again_after_its_valkey_was_killed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, dev=True, host="127.0.0.1", port=0)
    async with serving(settings) as (_, base), httpx.AsyncClient(base_url=base, timeout=WAIT_S) as http:

        async def ready_is(wanted: bool) -> None:
            async with asyncio.timeout(WAIT_S):
                while (await http.get("/readyz")).json()["ready"] is not wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        await ready_is(True)
        os.kill(json.loads((tmp_path / "valkey.pid").read_text())["pid"], signal.SIGKILL)
        await ready_is(False)
        await ready_is(True)
