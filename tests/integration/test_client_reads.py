"""What a client learns of a whole session, and what they agree to: by real socket, data channel, stream and HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.demo.peer import CallFailed, Peer
from tests import reads
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

Told = list[tuple[str, dict[str, Any]]]
"""Events of a stream: name and data."""


@asynccontextmanager
async def following(place: World, call: Call) -> AsyncIterator[Told]:
    """Everything that the stream of events tells the client, from the session's first change on."""
    told: Told = []

    async def read() -> None:
        headers = {"Authorization": f"Bearer {call.client._token}", "Last-Event-ID": "0"}
        path, event = f"/v1/sessions/{call.session_id}/events", ""
        async with place.http.stream("GET", path, headers=headers, timeout=None) as stream:
            assert stream.status_code == 200
            async for line in stream.aiter_lines():
                event = line.removeprefix("event: ") if line.startswith("event: ") else event
                if line.startswith("data: "):
                    told.append((event, json.loads(line.removeprefix("data: "))))

    task = asyncio.create_task(read())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def states(peer: Peer) -> list[Any]:
    return [heard.message for heard in peer.heard if heard.message["type"] == "state"]


async def only_the_text_that_was_shown(place: World, call: Call) -> None:
    """A yes to another text is no yes; to the one in the welcome it is, and it is recorded with its hash."""
    shown = call.client.welcome["consent_wording"]
    assert "you and your clinician" in shown["text"]
    assert call.clinician.welcome["consent_wording"]["version"] != shown["version"], "each reads a text of their own"
    with pytest.raises(CallFailed, match="precondition-failed"):
        await call.client.control("consent", consent={"decision": "granted", "text_version": "built-in-1"})
    answer = await place.http.put(
        f"/v1/sessions/{call.session_id}/participants/{CLIENT}/consent",
        json={"decision": "granted", "text_version": call.clinician.welcome["consent_wording"]["version"]},
        headers={"Authorization": f"Bearer {call.client._token}"},
    )
    assert (answer.status_code, answer.json()["slug"]) == (412, "precondition-failed")
    assert (await place.get(f"/v1/sessions/{call.session_id}"))["capture"] == "consent_pending"
    await call.client.consent("granted")
    [given] = [c for c in await place.service.services.store.consents(call.session_id) if c.participant_id == CLIENT]
    digest = hashlib.sha256(shown["text"].encode()).hexdigest()
    assert (given.text_version, given.text_sha256) == (shown["version"], digest)


async def paused_and_withdrawn(call: Call) -> None:
    """Both at once; then the withdrawal is taken back first."""
    await call.clinician.control("pause")
    await call.client.control("consent", consent={"decision": "revoked", "text_version": "of another day"})
    await call.clinician.until(
        lambda: call.clinician.state["pause_reasons"] == ["clinician", "consent"], "both reasons"
    )
    now = call.clinician.ledger[CLINICIAN]["paused_ms"]
    await call.clinician.until(lambda: call.clinician.ledger[CLINICIAN]["paused_ms"] > now + 500, "time to pass")
    await call.client.consent("granted")
    await call.clinician.control("resume")


async def test_a_client_follows_the_recording_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as place:
        recordings = {who: place.cut(who, (600, 12_700)) for who in (CLINICIAN, CLIENT)}
        async with two_people(place, recordings) as call, following(place, call) as told:
            path = f"/v1/sessions/{call.session_id}"
            await call.admit()
            await call.clinician.control("start")
            await call.connect()
            await only_the_text_that_was_shown(place, call)
            await call.clinician.until(lambda: call.clinician.state["capture"] == "capturing", "recording to begin")
            call.play()
            await call.clinician.until(
                lambda: any(h.message["type"] == "caption" and h.message["final"] for h in call.clinician.heard),
                "words",
                30,
            )
            await call.client.until(lambda: call.client.channel_open, "the control channel")
            before = len(states(call.client))
            await call.client.control("status", by_channel=True)
            await call.client.until(lambda: len(states(call.client)) > before, "the state by the channel")
            await paused_and_withdrawn(call)
            [listed] = (await place.get("/v1/sessions"))["items"]
            assert {person["id"] for person in listed["participants"]} == {CLINICIAN, CLIENT}
            assert {lane["participant_id"] for lane in listed["lanes"]} == {CLINICIAN, CLIENT}
            await call.clinician.control("finish")
            await call.clinician.until(lambda: call.clinician.state["words"] == "Draft ready", "the draft", 60)
            seq = call.clinician.state["seq"]
            await call.client.until(lambda: call.client.state["seq"] >= seq, "the last state")

            assert call.clinician.state["note_id"]
            kinds = {heard.message["type"] for heard in call.client.heard}
            assert {"welcome", "roster", "state", "caption", "ack", "receive"} <= kinds, "each was looked at"
            beyond = [one for heard in call.client.heard for one in reads.beyond(heard.message, CLIENT)]
            assert not beyond, beyond
            words = list(dict.fromkeys(state["words"] for state in states(call.client)))
            assert words[-1] == "Paused", "each word came before it"
            assert call.client.state["words"] == "Not recording"
            token = {"Authorization": f"Bearer {call.client._token}"}
            read = (await place.http.get(path, headers=token)).json()
            assert (read["capture"], read["words"]) == ("finished", "Not recording")
            assert not reads.beyond_session(read, CLIENT)
            assert {"state", "change", "caption"} == {event for event, _ in told}
            beyond = [one for event, data in told for one in reads.beyond_stream(event, data, CLIENT)]
            assert not beyond, beyond

            transcript = await place.get(f"{path}/transcript")
            [gap] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
            assert gap["pause_reasons"] == ["clinician", "consent"]
            assert gap["end_ms"] - gap["start_ms"] >= 500
