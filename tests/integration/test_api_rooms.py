"""The page's WebSocket on a real socket: hello, messages, refusals, a page that cannot keep up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bot.control.api.rooms import SIGNALS
from bot.control.lobby import REPLACED
from bot.control.services import Limits
from bot.errors import Forbidden, InvalidTransition
from bot.events import Role
from tests.integration import api_world
from tests.integration.api_world import WAIT_S, ScriptedSession, World, open_world, served, token_of

world = api_world.world


@asynccontextmanager
async def page(address: str, session_id: str, **more: Any) -> AsyncIterator[ClientConnection]:
    options = {"subprotocols": ["quietnote.room.v1"], "proxy": None, "max_size": 1 << 25} | more
    async with connect(f"ws://{address}/v1/rooms/{session_id}", **options) as socket:
        yield socket


async def say(socket: ClientConnection, message: object) -> None:
    await socket.send(message if isinstance(message, str) else json.dumps(message))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        heard: dict[str, Any] = json.loads(await socket.recv())
        return heard


async def closed(socket: ClientConnection) -> int:
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
    assert socket.close_code is not None
    return socket.close_code


@asynccontextmanager
async def in_room(world: World, role: Role = Role.CLINICIAN) -> AsyncIterator[tuple[ClientConnection, ScriptedSession]]:
    made = await world.session()
    session_id = made["session"]["id"]
    async with served(world) as address, page(address, session_id) as socket:
        await say(socket, {"type": "hello", "token": token_of(made, role)})
        assert (await hear(socket))["type"] == "welcome"
        yield socket, await world.live.of(session_id)


async def test_after_hello_everything_goes_to_the_live_session(world: World) -> None:
    async with in_room(world) as (socket, live):
        assert socket.subprotocol == "quietnote.room.v1"
        await say(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}
        await say(socket, {"type": "start", "message_id": "m-1"})
        async with asyncio.timeout(WAIT_S):
            assert (await live.said.get())["type"] == "ping"
            assert await live.said.get() == {"type": "start", "message_id": "m-1"}
        await live.links["dr-1"].send({"type": "state", "seq": 1})
        assert await hear(socket) == {"type": "state", "seq": 1}
        await socket.close()
        async with asyncio.timeout(WAIT_S):
            await live.left.wait()


async def test_a_message_that_cannot_be_read_is_answered_and_the_call_goes_on(world: World) -> None:
    async with in_room(world) as (socket, live):
        for sent, slug in (
            ("{", "config-invalid"),
            ("[]", "config-invalid"),
            ("7", "config-invalid"),
            ({"type": []}, "config-invalid"),
            ({}, "config-invalid"),
            ({"type": "hello", "token": "x"}, "config-invalid"),
            ("[" * 50_000, "config-invalid"),
            ({"type": "x", "text": "y" * 1_000_000}, "payload-too-large"),
            ('{"type": "x", "text": "' + "\u00e9" * 600_000 + '"}', "payload-too-large"),
        ):
            await say(socket, sent)
            heard = await hear(socket)
            assert heard["type"] == "problem"
            assert heard["problem"]["slug"] == slug
        await socket.send(b"\x00\x01")
        assert (await hear(socket))["problem"]["slug"] == "config-invalid"
        assert live.said.empty()
        live.refuse = InvalidTransition("pause is not possible while not recording.")
        await say(socket, {"type": "pause", "message_id": "m"})
        assert (await hear(socket))["problem"]["slug"] == "invalid-transition"
        live.refuse, live.fault = None, RuntimeError("what Robin said")
        await say(socket, {"type": "pause", "message_id": "m"})
        heard = await hear(socket)
        assert heard["problem"]["slug"] == "internal-error"
        assert heard["problem"]["reference"]
        assert "Robin" not in json.dumps(heard)
        live.fault = None
        await say(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}


async def test_a_pause_does_not_wait_behind_signalling(world: World) -> None:
    async with in_room(world) as (socket, live):
        for number in range(3):
            await say(socket, {"type": "signal", "to": "bot", "data": {"number": number}})
        await say(socket, {"type": "pause", "message_id": "m"})
        async with asyncio.timeout(WAIT_S):
            assert (await live.said.get())["type"] == "pause"
            live.signalling.set()
            assert [(await live.said.get())["data"]["number"] for _ in range(3)] == [0, 1, 2]


async def test_too_much_signalling_is_refused_and_the_call_goes_on(world: World) -> None:
    async with in_room(world) as (socket, _live):
        for number in range(SIGNALS + 2):  # one is being carried out, the others wait
            await say(socket, {"type": "signal", "to": "bot", "data": {"number": number}})
        assert (await hear(socket))["problem"]["slug"] == "overloaded"
        await say(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}


async def test_who_may_not_come_in(world: World) -> None:
    made = await world.session()
    session_id, token = made["session"]["id"], token_of(made, Role.CLIENT)
    another = token_of(await world.session(), Role.CLIENT)
    issue = world.services.tokens.issue
    nobody = issue(session_id=session_id, participant_id="cl-9", role=Role.CLIENT, clinic_id="demo")
    raised = issue(session_id=session_id, participant_id="cl-1", role=Role.CLINICIAN, clinic_id="demo")
    moved = issue(session_id=session_id, participant_id="cl-1", role=Role.CLIENT, clinic_id="other")
    cases: list[tuple[object, str, int]] = [
        ("{", "config-invalid", 4400),
        ({"type": "ping"}, "config-invalid", 4400),
        ({"type": "hello"}, "config-invalid", 4400),
        ({"type": "hello", "token": 7}, "config-invalid", 4400),
        ({"type": "hello", "token": "x" * 1_000_001}, "payload-too-large", 4400),
        ({"type": "hello", "token": "dev"}, "unauthorized", 4401),
        ({"type": "hello", "token": token[:-2] + "xx"}, "unauthorized", 4401),
        ({"type": "hello", "token": another}, "unauthorized", 4401),
        ({"type": "hello", "token": raised}, "unauthorized", 4401),
        ({"type": "hello", "token": nobody}, "not-found", 4401),
        ({"type": "hello", "token": moved}, "not-found", 4401),
    ]
    async with served(world) as address:
        for hello, slug, code in cases:
            async with page(address, session_id) as socket:
                await say(socket, hello)
                assert (await hear(socket))["problem"]["slug"] == slug
                assert await closed(socket) == code
        world.clock.advance(12 * 3600)
        async with page(address, session_id) as socket:
            await say(socket, {"type": "hello", "token": token})
            assert "expired" in (await hear(socket))["problem"]["detail"]
            assert await closed(socket) == 4401
    assert world.live.sessions == {}


async def test_a_live_session_may_refuse_or_replace_a_page(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    hello = {"type": "hello", "token": token_of(made, Role.CLIENT)}
    live = await world.live.of(session_id)
    async with served(world) as address:
        live.refuse = Forbidden("This person is not invited to this session.")
        async with page(address, session_id) as socket:
            await say(socket, hello)
            assert (await hear(socket))["problem"]["slug"] == "forbidden"
            assert await closed(socket) == 4403
        live.refuse = None
        async with page(address, session_id) as socket:
            await say(socket, hello)
            await hear(socket)
            await live.links["cl-1"].send({"type": "state", "seq": 9})
            await live.links["cl-1"].close(REPLACED, "another page took this seat")
            assert (await hear(socket))["seq"] == 9, "what waited is still sent"
            assert await closed(socket) == REPLACED


async def test_a_page_that_says_nothing_is_closed(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(hello_s=0.01)) as world:
        made = await world.session()
        async with served(world) as address, page(address, made["session"]["id"]) as socket:
            assert (await hear(socket))["problem"]["slug"] == "unauthorized"
            assert await closed(socket) == 4408


async def test_another_sites_page_is_refused_before_it_is_open(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    async with served(world) as address:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            with pytest.raises(InvalidStatus) as refused:
                async with page(address, session_id, origin=origin):
                    pass
            assert refused.value.response.status_code == 403
        async with page(address, session_id, origin=f"http://{address}") as socket:
            await say(socket, {"type": "hello", "token": token_of(made, Role.CLIENT)})
            assert (await hear(socket))["type"] == "welcome"


async def test_a_page_that_cannot_keep_up_is_closed_and_others_are_not(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(outbox=8)) as world:
        async with in_room(world) as (socket, live):
            link = live.links["dr-1"]
            for number in range(8):
                await link.send({"type": "state", "seq": number})
            await link.send({"type": "levels", "levels": {}})  # left out: no room, and it may be
            await link.send({"type": "state", "seq": 8})
            assert await closed(socket) == 4008
            async with asyncio.timeout(WAIT_S):
                await live.left.wait()
        assert "quietnote_pages_closed_too_slow_total 1.0" in world.services.metrics.render().decode()


async def test_pages_close_when_the_service_stops(world: World) -> None:
    async with in_room(world) as (socket, live):
        world.services.stopping.set()
        assert await closed(socket) == 1012
        assert live.left.is_set()


async def test_there_is_an_end_to_how_many_pages(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(pages=1)) as world, in_room(world) as (socket, _live):
        address = "{}:{}".format(*socket.remote_address[:2])
        async with page(address, "ses_x") as second:
            assert await closed(second) == 1013
