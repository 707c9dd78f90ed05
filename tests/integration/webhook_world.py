"""Receivers on this machine, and a session with a store and senders on a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.clinics import ClinicConfig
from bot.clock import ManualClock
from bot.events import Role
from bot.notes.webhooks import WebhookSender
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.sessions import NewParticipant, NewSession, SessionRecord, SessionStore
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookRecord, WebhookStore

CLINIC = ClinicConfig(id="harbour", name="Harbour Practice")
ADA = "Ada Client"
WAIT_S = 30


@dataclass
class Receiver:
    """A platform's endpoint; ``statuses`` are given in turn, then 200."""

    port: int
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, there: Callable[[], bool], what: str) -> None:
        """Wait for what is to arrive."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not there():
                    self.arrived.clear()
                    await self.arrived.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}; there are {self.types()}") from None

    async def take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        self.arrived.set()
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


@contextlib.asynccontextmanager
async def open_world(tmp_path: Path) -> AsyncIterator[World]:
    """Everything, closed again at the end."""
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
