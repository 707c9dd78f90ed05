"""Webhooks over real HTTP and TLS to a receiver on this machine, from a real database."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.clinics import ClinicConfig
from bot.clock import ManualClock
from bot.errors import ConfigInvalid
from bot.events import Role
from bot.notes.webhooks import RETRY_AFTER, WebhookSender
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.sessions import NewParticipant, NewSession, SessionRecord, SessionStore
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookRecord, WebhookStore

CLINIC = ClinicConfig(id="harbour", name="Harbour Practice")
ADA = "Ada Client"


@dataclass
class Receiver:
    """A platform's endpoint; ``statuses`` are given in turn, then 200."""

    port: int
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        if self.hold is not None:
            await self.hold.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        return Response("x" * 100, status_code=status, headers=self.headers)

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@contextlib.asynccontextmanager
async def served(**tls: Any) -> AsyncIterator[Receiver]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        receiver = Receiver(sock.getsockname()[1])
        app = Starlette(routes=[Route("/{path:path}", receiver.take, methods=["POST", "GET"])])
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1, **tls
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([sock]))
        while not server.started:  # noqa: ASYNC110  uvicorn offers nothing to wait on
            await asyncio.sleep(0.01)
        yield receiver
        if receiver.hold is not None:
            receiver.hold.set()
        server.should_exit = True
        await task


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with served() as made:
        yield made


class World:
    """A session of a clinic, its store and its sender, on a clock that the test moves."""

    def __init__(self, db: Database, vault: FileVault, clock: ManualClock) -> None:
        self.db, self.clock = db, clock
        self.sessions = SessionStore(db, vault, clock)
        self.store = WebhookStore(db, vault, clock)
        self.senders: list[WebhookSender] = []
        self.session: SessionRecord

    def sender(self, **options: Any) -> WebhookSender:
        made = WebhookSender(self.store, self.clock, **({"allow_private": True, "answer_within_s": 5.0} | options))
        self.senders.append(made)
        return made

    async def happens(self, kind: str = "bot.state_changed", **data: Any) -> None:
        """Something changes; the event is only written, as after a crash before it was queued."""
        await self.sessions.change(self.session.id, kind, data=data)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock(datetime.now(UTC))
    db = Database(f"sqlite+aiosqlite:///{tmp_path / 'quietnote.db'}")
    await db.open()
    await ClinicStore(db, clock).seed({CLINIC.id: CLINIC, "other": CLINIC.model_copy(update={"id": "other"})})
    made = World(db, FileVault(tmp_path / "vault", bytes(range(32))), clock)
    people = (NewParticipant("dr", Role.CLINICIAN, "Dr. Hale"), NewParticipant("cl", Role.CLIENT, ADA, "code"))
    made.session = await made.sessions.create(NewSession(clinic_id="harbour", participants=people))
    clock.advance(1)
    yield made
    for sender in made.senders:
        await sender.close()
    await db.close()


def local(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}/hooks?from=quietnote"


def verified(hook: WebhookRecord, got: tuple[dict[str, str], bytes]) -> dict[str, Any]:
    headers, body = got
    message: dict[str, Any] = Webhook(hook.secret).verify(body, headers)
    return message


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


def certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate for ``host`` with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
