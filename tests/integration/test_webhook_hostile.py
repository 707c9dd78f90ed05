"""Receivers that mean harm or are broken: each costs one attempt, and holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.notes.webhooks import RETRY_AFTER
from bot.store.webhook_store import DeliveryRecord, WebhookRecord
from tests.integration.webhook_world import WAIT_S, Receiver, World, local, open_world, served, verified

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served() as made:
        yield made


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A raw socket that answers each connection by its own rules; its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    while True:
        writer.write(b"x-more: and more\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def interim_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def huge_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"x: " + b"y" * 20_000_000 + b"\r\n\r\n")
    await writer.drain()


async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 200")
    await writer.drain()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01\x00\xff SSH-2.0-OpenSSH\r\n\r\n")
    await writer.drain()
    await reader.read()


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK + b"transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n")
    while True:
        writer.write(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (never, "timeout"), (drips, "timeout"), (interim_for_ever, "timeout"), (huge_head, "broken-off"),
        (breaks_off, "broken-off"), (says_nothing, "broken-off"), (garbage, "broken-off"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)  # fmt: skip
async def test_what_is_no_answer_is_a_failed_attempt(world: World, answer: Answer, error: str) -> None:
    sender = world.sender(answer_within_s=0.5 if error == "timeout" else WAIT_S)
    async with answering(answer) as url:
        hook = await sender.register("harbour", url)
        await world.happens()
        assert await sender.deliver_due() == 0
    (waiting,) = await world.store.deliveries(hook.id)
    assert (waiting.attempts, waiting.last_status, waiting.last_error) == (1, None, error)
    assert waiting.next_at is not None
    assert waiting.next_at - world.clock.now() >= RETRY_AFTER[0]


async def test_a_body_without_an_end_is_not_read(world: World) -> None:
    sender = world.sender()
    async with answering(endless_body) as url:
        hook = await sender.register("harbour", url)
        await world.happens()
        assert await asyncio.wait_for(sender.deliver_due(), WAIT_S) == 1
    assert (await world.store.deliveries(hook.id))[0].last_status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
async def test_a_redirect_to_where_clouds_keep_their_secrets_goes_nowhere(
    world: World, receiver: Receiver, status: int
) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    receiver.statuses, receiver.headers = [status], {"location": "http://169.254.169.254/latest/meta-data/"}
    await world.happens()
    assert await sender.deliver_due() == 0  # a connection that leaves this machine fails the test
    (failed,) = await world.store.deliveries(hook.id)
    assert (failed.last_status, failed.last_error, len(receiver.got)) == (status, None, 1)


async def test_a_slow_receiver_holds_up_no_other(world: World, receiver: Receiver) -> None:
    sender = world.sender(answer_within_s=WAIT_S)
    reached = asyncio.Event()

    async def holds(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with answering(holds) as url:
        await sender.register("harbour", url)
        quick = await sender.register("harbour", local(receiver))
        for _ in range(30):
            await world.happens()
        task = asyncio.create_task(sender.deliver_due())
        try:
            await asyncio.wait_for(reached.wait(), WAIT_S)
            await receiver.until(lambda: len(receiver.got) == 30, "all of the other's messages")
            await world.happens()
            await world.store.catch_up()
            sender.wake()
            await receiver.until(lambda: len(receiver.got) == 31, "what happened meanwhile")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert {verified(quick, one)["type"] for one in receiver.got} == {"bot.state_changed"}


async def test_a_name_server_that_never_answers_holds_up_nobody(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, let_go: threading.Event
) -> None:
    real = socket.getaddrinfo

    def slow(host: str, *rest: object, **more: object) -> object:
        if host == "slow.example":
            let_go.wait(WAIT_S)
            raise OSError
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sender = world.sender(answer_within_s=0.3)
    slow_hook = await sender.register("harbour", "https://slow.example/")
    await sender.register("harbour", local(receiver))
    await world.happens()
    assert await sender.deliver_due() == 1
    assert await asyncio.to_thread(lambda: "the rest of the house works on") == "the rest of the house works on"
    (failed,) = await world.store.deliveries(slow_hook.id)
    assert failed.last_error == "timeout"


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_name_that_turns_inward_is_looked_up_anew_and_refused(world: World, receiver: Receiver) -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]])
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        found = next(answers)
        if found == ["93.184.216.34"]:  # judged, and public; but nothing leaves this machine here
            raise OSError
        return found

    sender = world.sender(allow_private=False, resolve=resolve)
    hook = await sender.register("harbour", f"https://hooks.example:{receiver.port}/")
    await world.happens()
    errors = []
    for wait in (timedelta(0), *RETRY_AFTER[:3]):
        world.clock.advance(wait.total_seconds() * 1.2)
        assert await sender.deliver_due() == 0
        errors.append((await world.store.deliveries(hook.id))[0].last_error)
    assert errors == ["not-found", "private", "private", "private"]
    assert len(asked) == 4, "each attempt looks the name up once"
    assert receiver.got == []


async def test_the_next_address_of_a_name_is_tried_when_one_takes_nobody(world: World, receiver: Receiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "::1", "127.0.0.1"]  # nobody listens at the first two

    sender = world.sender(resolve=resolve)
    await sender.register("harbour", f"http://hooks.example:{receiver.port}/")
    await world.happens()
    assert await sender.deliver_due() == 1
    assert receiver.got[0][0]["host"] == f"hooks.example:{receiver.port}"


async def test_a_fault_of_ours_counts_as_an_attempt_and_ends(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    await world.happens()

    def broken(hook: WebhookRecord, delivery: DeliveryRecord) -> str:
        raise RuntimeError("she said a secret thing")

    monkeypatch.setattr("bot.notes.webhooks.body_of", broken)
    for n in range(len(RETRY_AFTER) + 1):
        assert await sender.deliver_due() == 0
        (failed,) = await world.store.deliveries(hook.id)
        assert (failed.attempts, failed.last_error) == (n + 1, "fault")
        world.clock.advance(86_400 * 1.2)
    assert failed.next_at is None
