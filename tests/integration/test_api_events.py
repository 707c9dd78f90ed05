"""Event streams on a real socket, with a real Valkey behind the live part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from bot.control.services import Limits
from bot.events import ConsentState, Role, Segment
from bot.store.bus import live_channel
from bot.store.valkey import EmbeddedValkey
from tests.integration import api_world
from tests.integration.api_document import check_event
from tests.integration.api_world import DEV, WAIT_S, World, bearer, open_world, problem_of, served, token_of

world = api_world.world


@pytest.fixture
async def live_world(tmp_path: Path) -> AsyncIterator[World]:
    valkey = EmbeddedValkey(tmp_path)
    await valkey.start()
    async with open_world(tmp_path, bus_url=valkey.url) as made:
        yield made
    await valkey.close()


class Reader:
    """Reads a stream event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def block(self) -> dict[str, str]:
        """The next block of lines, by field; a comment under ``""``."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        raise EOFError

    async def event(self, kind: str) -> tuple[dict[str, Any], str | None]:
        """The data and id of the next event of a kind."""
        while True:
            fields = await self.block()
            if "event" in fields:
                check_event(fields["event"], fields["data"])
            if fields.get("event") == kind:
                return json.loads(fields["data"]), fields.get("id")

    async def end(self) -> None:
        """Read until the stream ends."""
        with suppress(EOFError):
            while True:
                await self.block()


@asynccontextmanager
async def stream(address: str, session_id: str, headers: dict[str, str]) -> AsyncIterator[Reader]:
    url = f"http://{address}/v1/sessions/{session_id}/events"
    async with httpx.AsyncClient(timeout=WAIT_S) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Reader(answer)


def caption(number: int, *, final: bool, text: str = "I slept badly.") -> dict[str, Any]:
    return {
        "type": "caption",
        "segment_id": f"seg-{number}",
        "rev": 1,
        "final": final,
        "participant_id": "cl-1",
        "speakers": ["cl-1"],
        "start_ms": number,
        "end_ms": number + 1,
        "text": text,
    }


def heard_by(message: dict[str, Any], *people: str) -> dict[str, Any]:
    """A caption as it crosses the bus: with whom it was said in the presence of."""
    return message | {"seen_by": list(people)}


async def publish(world: World, session_id: str, message: dict[str, Any]) -> None:
    sealed = world.services.vault.seal(f"words:{session_id}", "live", json.dumps(message).encode())
    await world.services.bus.publish(live_channel(session_id), sealed)


async def speak(world: World, session_id: str, number: int) -> None:
    lane = await world.store.ensure_lane(session_id, "cl-1", Role.CLIENT)
    segment = Segment(f"seg-{number}", 1, True, lane.id, "cl-1", Role.CLIENT, number, number + 1, f"words {number}")
    await world.store.commit_final(session_id, segment)


async def test_states_come_as_they_are_committed_and_captions_live(live_world: World) -> None:
    world = live_world
    session_id = (await world.session())["session"]["id"]
    async with served(world) as address, stream(address, session_id, DEV) as reader:
        assert (await reader.block())["retry"] == "2000"
        state, event_id = await reader.event("state")
        assert (state["capture"], event_id) == ("off", "1")
        assert state["attributes"] == {"scribe.state": "off"}
        await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
        change, event_id = await reader.event("change")
        assert (change["kind"], change["seq"], event_id) == ("capture.consent_pending", 2, "2")
        state, event_id = await reader.event("state")
        assert (state["words"], event_id) == ("Waiting for consent", "2")
        for message in (caption(1, final=False), caption(1, final=True), {"type": "ledger", "lanes": {}}):
            await publish(world, session_id, heard_by(message, "cl-1") if message["type"] == "caption" else message)
            heard, event_id = await reader.event(str(message["type"]))
            assert heard == message
            assert event_id is None
        await world.services.bus.publish(live_channel(session_id), b"not sealed")
        await publish(world, session_id, {"type": "surprise"})
        await publish(world, session_id, {"type": "progress", "step": "draft", "done": 1, "total": 2})
        heard, _ = await reader.event("progress")
        assert heard["done"] == 1


async def test_a_stream_resumes_where_it_was(live_world: World) -> None:
    world = live_world
    session_id = (await world.session())["session"]["id"]
    await speak(world, session_id, 1)
    await speak(world, session_id, 2)
    await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
    await world.store.change(session_id, "capture.off", capture="off")
    async with served(world) as address:
        async with stream(address, session_id, DEV | {"Last-Event-ID": "1"}) as reader:
            kinds = [(await reader.event("change"))[0]["kind"] for _ in range(2)]
            assert kinds == ["capture.consent_pending", "capture.off"]
            assert (await reader.event("state"))[1] == "3"
            texts = [(await reader.event("caption"))[0] for _ in range(2)]
            assert [heard["text"] for heard in texts] == ["words 1", "words 2"]
            assert all(heard["final"] for heard in texts)
        for wrong in ("x", "-1", "1.5"):
            async with httpx.AsyncClient(base_url=f"http://{address}") as client:
                headers = DEV | {"Last-Event-ID": wrong}
                answer = await client.get(f"/v1/sessions/{session_id}/events", headers=headers)
                problem_of(answer, 422, "config-invalid")
        await world.store.purge_transcript(session_id, "retention")
        async with stream(address, session_id, DEV | {"Last-Event-ID": "3"}) as reader:
            change, _ = await reader.event("change")
            assert change["kind"] == "transcript.purged"
            assert (await reader.event("state"))[0]["transcript"] == "purged"


async def test_a_client_hears_the_bot_their_own_consent_and_captions_only(live_world: World) -> None:
    world = live_world
    made = await world.session()
    session_id = made["session"]["id"]
    await speak(world, session_id, 1)
    await world.store.admit(session_id, "cl-1")
    client = bearer(token_of(made, Role.CLIENT))
    async with served(world) as address, stream(address, session_id, client | {"Last-Event-ID": "0"}) as reader:
        state, _ = await reader.event("state")
        assert "transcript" not in state
        assert "note_id" not in state
        more: dict[str, Any] = {"method": "api", "text_version": "1", "text_sha256": "", "by": "x"}
        await world.store.record_consent(session_id, "dr-1", ConsentState.GRANTED, **more)
        await world.store.record_consent(session_id, "cl-1", ConsentState.GRANTED, **more)
        change, _ = await reader.event("change")
        assert change["data"]["participant_id"] == "cl-1"
        await publish(world, session_id, {"type": "ledger", "lanes": {}})
        await publish(world, session_id, heard_by(caption(1, final=True), "kim"))
        await publish(world, session_id, heard_by(caption(2, final=True), "kim", "cl-1"))
        fields = await reader.block()
        while fields.get("event") == "state":
            fields = await reader.block()
        assert fields["event"] == "caption"
        heard = json.loads(fields["data"])
        assert heard["segment_id"] == "seg-2", "what was said before they came is not read to them"
        assert "seen_by" not in heard, "nor who else was there"


async def test_a_client_still_waiting_hears_no_captions(live_world: World) -> None:
    world = live_world
    made = await world.session()
    session_id = made["session"]["id"]
    client = bearer(token_of(made, Role.CLIENT))
    async with served(world) as address, stream(address, session_id, client) as reader:
        await reader.event("state")
        await publish(world, session_id, heard_by(caption(1, final=True)))
        await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
        while (fields := await reader.block()).get("event") != "state":
            assert fields.get("event") != "caption"


async def test_without_a_bus_changes_still_come_and_the_stream_shows_signs_of_life(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(heartbeat_s=0.02)) as world:
        session_id = (await world.session())["session"]["id"]
        async with served(world) as address, stream(address, session_id, DEV) as reader:
            await reader.event("state")
            while (await reader.block()).get("") != "heartbeat":
                pass
            await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
            assert (await reader.event("change"))[0]["seq"] == 2


async def test_streams_end_with_the_service_and_with_the_credentials(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    world.clock.advance(12 * 3600 - 0.01)
    async with served(world) as address:
        async with stream(address, session_id, bearer(token_of(made, Role.CLIENT))) as reader:
            await reader.end()
        async with stream(address, session_id, DEV) as reader:
            await reader.event("state")
            world.services.stopping.set()
            await reader.end()
    assert world.app.state.streams.count == 0


async def test_a_reader_that_goes_leaves_nothing_behind(world: World) -> None:
    session_id = (await world.session())["session"]["id"]
    async with served(world) as address:
        async with stream(address, session_id, DEV) as reader:
            await reader.event("state")
            assert world.app.state.streams.count == 1
        async with asyncio.timeout(WAIT_S):
            while world.app.state.streams.count:  # noqa: ASYNC110  the server offers no event
                await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("stream")]


@pytest.mark.parametrize("stopping", [True, False])
async def test_a_stream_that_is_cancelled_while_the_service_stops_ends_as_any_other(
    world: World, stopping: bool
) -> None:
    session_id = (await world.session())["session"]["id"]
    sent: list[Message] = []
    told = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if b"event: state" in message.get("body", b""):
            told.set()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http", "method": "GET", "path": f"/v1/sessions/{session_id}/events", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"authorization", b"Bearer dev")],
    }  # fmt: skip
    task = asyncio.ensure_future(world.app(scope, receive, send))
    await asyncio.wait_for(told.wait(), WAIT_S)
    if stopping:
        world.services.stopping.set()
    task.cancel()
    await asyncio.wait({task}, timeout=WAIT_S)
    assert task.cancelled() is not stopping
    assert (sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}) is stopping
    assert world.app.state.streams.count == 0


async def test_there_is_an_end_to_how_many_streams(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(streams=0)) as world:
        session_id = (await world.session())["session"]["id"]
        answer = await world.client.get(f"/v1/sessions/{session_id}/events", headers=DEV)
        problem_of(answer, 503, "overloaded")


async def test_tries_are_counted_over_all_processes(live_world: World) -> None:
    bus = live_world.services.bus
    assert [await bus.count("login-as:0123", 60) for _ in range(3)] == [1, 2, 3]
    assert await bus.count("login-as:4567", 60) == 1
