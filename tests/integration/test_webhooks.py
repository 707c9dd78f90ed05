"""Webhooks over real HTTP and TLS to a receiver on this machine, from a real database."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bot.errors import ConfigInvalid
from bot.notes.webhooks import JITTER_SHARE, RETRY_AFTER
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookStore
from tests.integration.webhook_world import ADA, Receiver, World, certificate, local, open_world, served, verified


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


async def test_an_event_arrives_signed_and_thin(world: World, receiver: Receiver) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    world.sessions.listen(lambda event: events.append(event))
    events: list[Any] = []
    await world.happens("note.draft_ready", note_id="note_1", version=1, text="She said a secret thing")
    assert await sender.queue(events[-1]) == 1
    assert await sender.queue(events[-1]) == 0
    assert await sender.deliver_due() == 1
    assert await sender.deliver_due() == 0
    (got,) = receiver.got
    message = verified(hook, got)
    assert message["type"] == "note.draft_ready"
    assert message["data"] == {
        "note_id": "note_1",
        "version": 1,
        "session_id": world.session.id,
        "clinic_id": "harbour",
        "seq": events[-1].seq,
    }
    assert b"secret" not in got[1]
    assert ADA.encode() not in got[1]
    assert got[0]["host"] == f"127.0.0.1:{receiver.port}"
    with pytest.raises(WebhookVerificationError):
        Webhook(hook.secret).verify(got[1] + b" ", got[0])
    (delivery,) = await world.store.deliveries(hook.id)
    assert (delivery.id, delivery.attempts, delivery.last_status) == (got[0]["webhook-id"], 1, 200)
    assert delivery.delivered_at == world.clock.now()


async def test_what_was_never_queued_is_caught_up_at_the_first_round(world: World, receiver: Receiver) -> None:
    await world.sender().register("harbour", local(receiver))
    await world.sender().register("other", local(receiver))
    await world.happens("capture.started")
    await world.happens("call.clock_started")  # ours alone
    await world.happens("capture.paused")
    assert await world.sender().deliver_due() == 2
    assert sorted(receiver.types()) == ["capture.paused", "capture.started"]
    assert await world.sender().deliver_due() == 0


async def test_a_failing_endpoint_is_tried_by_the_schedule_with_one_id(world: World, receiver: Receiver) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    receiver.statuses = [500] * (len(RETRY_AFTER) + 1)
    await world.happens()
    assert await sender.deliver_due() == 0
    for n, wait in enumerate(RETRY_AFTER, start=1):
        assert len(receiver.got) == n
        world.clock.advance(wait.total_seconds() - 1)
        await sender.deliver_due()
        assert len(receiver.got) == n
        world.clock.advance(wait.total_seconds() * 0.1 + 2)
        await sender.deliver_due()
    assert len(receiver.got) == len(RETRY_AFTER) + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    (given_up,) = await world.store.deliveries(hook.id)
    assert (given_up.next_at, given_up.delivered_at, given_up.last_status) == (None, None, 500)
    await world.store.replay(given_up.id)
    assert await sender.deliver_due() == 1


async def test_a_restart_between_two_attempts_changes_nothing(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    first = world.sender()
    hook = await first.register("harbour", local(receiver))
    receiver.statuses = [503, 503]
    await world.happens("capture.started")
    await first.deliver_due()
    await first.close()
    await world.db.close()
    await world.db.open()
    world.store = WebhookStore(world.db, FileVault(tmp_path / "vault", bytes(range(32))), world.clock)
    second = world.sender()
    assert await second.deliver_due() == 0
    assert len(receiver.got) == 1, "not before its time"
    for wait in RETRY_AFTER[:2]:
        world.clock.advance(wait.total_seconds() * (1 + JITTER_SHARE))
        await second.deliver_due()
    assert len(receiver.got) == 3
    assert len({(headers["webhook-id"], body) for headers, body in receiver.got}) == 1
    assert [headers["webhook-timestamp"] for headers, _ in receiver.got] == sorted(
        headers["webhook-timestamp"] for headers, _ in receiver.got
    )
    (done,) = await world.store.deliveries(hook.id)
    assert (done.attempts, done.last_status, done.next_at) == (3, 200, None)


async def test_gone_disables_the_endpoint(world: World, receiver: Receiver) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    receiver.statuses = [410]
    await world.happens()
    await sender.deliver_due()
    assert (await world.store.get(hook.id)).disabled_at is not None
    await world.happens()
    world.clock.advance(10)
    assert await world.sender().deliver_due() == 0
    assert len(receiver.got) == 1


async def test_a_busy_endpoint_is_left_alone_for_as_long_as_it_asks(world: World, receiver: Receiver) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    receiver.statuses, receiver.headers = [429], {"retry-after": "600"}
    await world.happens()
    await sender.deliver_due()
    (waiting,) = await world.store.deliveries(hook.id)
    assert waiting.next_at == world.clock.now() + timedelta(seconds=600)


async def test_redirects_are_not_followed(world: World, receiver: Receiver) -> None:
    sender = world.sender()
    hook = await sender.register("harbour", local(receiver))
    receiver.statuses, receiver.headers = [302, 200], {"location": local(receiver)}
    await world.happens()
    assert await sender.deliver_due() == 0
    assert len(receiver.got) == 1
    assert (await world.store.deliveries(hook.id))[0].last_status == 302


async def test_a_slow_or_absent_endpoint_costs_one_attempt(world: World, receiver: Receiver) -> None:
    sender = world.sender(answer_within_s=0.3)
    receiver.hold = asyncio.Event()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hooks = [await sender.register("harbour", url) for url in (local(receiver), f"http://127.0.0.1:{port}/")]
    await world.happens()
    assert await sender.deliver_due() == 0
    for hook in hooks:
        (waiting,) = await world.store.deliveries(hook.id)
        assert (waiting.attempts, waiting.last_status) == (1, None)
        assert waiting.next_at is not None


async def test_two_processes_deliver_an_event_once(world: World, receiver: Receiver) -> None:
    first, second = world.sender(), world.sender()
    await first.register("harbour", local(receiver))
    for _ in range(5):
        await world.happens()
    await world.store.catch_up()
    assert sum(await asyncio.gather(first.deliver_due(), second.deliver_due())) == 5
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == len(receiver.got) == 5


async def test_an_inner_address_is_never_called(world: World, receiver: Receiver) -> None:
    answers = [["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers[0]

    sender = world.sender(allow_private=False, resolve=resolve)
    for url in (local(receiver), "http://hooks.example/", "https://user@hooks.example/"):
        with pytest.raises(ConfigInvalid):
            await sender.register("harbour", url)
    hook = await sender.register("harbour", f"https://hooks.example:{receiver.port}/")  # turns inward later
    await world.happens()
    assert await sender.deliver_due() == 0
    assert receiver.got == []
    assert (await world.store.deliveries(hook.id))[0].attempts == 1


async def test_the_name_is_looked_up_once_and_the_certificate_must_be_for_it(world: World, tmp_path: Path) -> None:
    files = certificate(tmp_path, "hooks.example")
    looked_up = []

    async def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    async with served(ssl_certfile=files, ssl_keyfile=files) as receiver:
        tls = ssl.create_default_context(cafile=str(files))
        sender = world.sender(resolve=resolve, tls=tls)
        right = await sender.register("harbour", f"https://hooks.example:{receiver.port}/")
        wrong = await sender.register("harbour", f"https://127.0.0.1:{receiver.port}/")
        await world.happens()
        assert await sender.deliver_due() == 1
        ((headers, _),) = receiver.got
        assert headers["host"] == f"hooks.example:{receiver.port}"
        assert sorted(looked_up) == ["127.0.0.1", "hooks.example"]
        assert (await world.store.deliveries(right.id))[0].last_status == 200
        assert (await world.store.deliveries(wrong.id))[0].last_status is None


async def test_nothing_clinical_is_logged_or_stored_with_deliveries(
    world: World, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = world.sender()
    await sender.register("harbour", local(receiver))
    receiver.statuses = [410]
    await world.happens("note.failed", reason="she said a secret thing", slug="note-generation-failed")
    await sender.deliver_due()
    out = capsys.readouterr()
    assert "secret" not in out.out + out.err
    assert "hooks?from" not in out.out + out.err
