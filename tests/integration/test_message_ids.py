"""A message id that comes again with another action, by every door of a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from tests.integration.call_world import CLIENT, CLINICIAN, World, two_people, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("ids")) as made:
        yield made


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 1_200)), CLIENT: place.cut(CLIENT, (4_000, 4_600))}


async def test_another_action_under_the_same_id_is_refused_by_every_door(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        path = f"/v1/sessions/{call.session_id}"
        await call.begin()

        async def by_http(action: str) -> tuple[int, dict[str, Any]]:
            answer = await place.http.post(f"{path}/capture", json={"action": action, "message_id": "st1"})
            return answer.status_code, answer.json()

        assert await by_http("pause") == (200, paused := (await by_http("pause"))[1])
        status, problem = await by_http("resume")
        assert (status, problem["slug"]) == (409, "idempotency-conflict")
        assert (await place.get(path))["capture"] == paused["state"] == "paused"

        async def in_call(door: str, **message: Any) -> dict[str, Any]:
            peer = call.clinician if message["type"] != "consent" else call.client
            said = {"session_id": call.session_id, "message_id": f"{door}1"} | message
            peer.acks.pop(f"{door}1", None)
            await peer._send(said)
            await peer.until(lambda: f"{door}1" in peer.acks, "the ack")
            return dict(peer.acks[f"{door}1"])

        assert (await in_call("r", type="resume"))["ok"]
        conflict = await in_call("r", type="pause")
        assert (conflict["ok"], conflict["problem"]["slug"]) == (False, "idempotency-conflict")
        assert (await place.get(path))["capture"] == "capturing"
        assert (await in_call("c", type="consent", consent={"decision": "granted"}))["ok"]
        conflict = await in_call("c", type="consent", consent={"decision": "revoked"})
        assert (conflict["ok"], conflict["problem"]["slug"]) == (False, "idempotency-conflict")
        assert (await in_call("c", type="consent", consent={"decision": "granted"}))["ok"]
        await call.clinician.control("discard")
