"""The web application over a real database, vault and token secret; only the live sessions are scripted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from blockbuster import blockbuster_ctx
from fastapi import FastAPI

from bot.clinics import load_files
from bot.clock import ManualClock
from bot.control.api.app import create_app
from bot.control.capture import Ack, Actor
from bot.control.consentform import load_forms
from bot.control.limits import RateLimiter
from bot.control.lobby import PageLink
from bot.control.services import Limits, Services
from bot.control.tokens import SessionTokens
from bot.errors import ProblemError
from bot.events import (
    CaptureAction,
    CaptureState,
    ConsentState,
    NoteDraft,
    NoteSection,
    NoteSentence,
    Role,
    SentenceStatus,
)
from bot.media.room import Member
from bot.notes.render import encode
from bot.notes.webhooks import WebhookSender
from bot.settings import Settings, default_config_dir
from bot.store.bus import Bus
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.deletions import Deleter
from bot.store.erase import Eraser
from bot.store.keys import KeyStore
from bot.store.receipts import ReceiptSigner
from bot.store.records import NewParticipant, ParticipantRecord, SessionRecord
from bot.store.sessions import SessionStore
from bot.store.users import UserStore
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookStore
from tests.integration.api_document import Document

DEV = {"Authorization": "Bearer dev"}
BASE = "http://127.0.0.1:8080"
WAIT_S = 20
PASSWORD = "a long password"


@dataclass
class ScriptedSession:
    """A live session that writes down what it is asked, and answers what the test says."""

    session_id: str
    refuse: ProblemError | None = None
    fault: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    links: dict[str, PageLink] = field(default_factory=dict)
    said: asyncio.Queue[Mapping[str, Any]] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    warnings: list[Mapping[str, Any]] = field(default_factory=list)
    signalling: asyncio.Event = field(default_factory=asyncio.Event)
    """Signalling is held up until this is set."""

    def _answer(self, state: CaptureState) -> Ack:
        if self.fault is not None:
            raise self.fault
        if self.refuse is not None:
            raise self.refuse
        return Ack(state, 1234, 7)

    async def capture(self, actor: Actor, action: CaptureAction, *, message_id: str | None, seq: int | None) -> Ack:
        self.asked.append(("capture", actor, action, message_id, seq))
        return self._answer(CaptureState.CAPTURING)

    async def consent(
        self,
        actor: Actor,
        participant_id: str,
        decision: ConsentState,
        *,
        method: str,
        text_version: str,
        message_id: str | None,
        seq: int | None,
        destroy: bool = False,
    ) -> Ack:
        self.asked.append(("consent", actor, participant_id, decision, method))
        return self._answer(CaptureState.CONSENT_PENDING)

    async def admit(self, actor: Actor, participant_id: str) -> None:
        self.asked.append(("admit", actor, participant_id))
        self._answer(CaptureState.OFF)

    async def share(self, actor: Actor, person: NewParticipant) -> ParticipantRecord:
        self.asked.append(("share", actor, person.shares_with, person.role))
        self._answer(CaptureState.OFF)
        made = (person.id, person.role, person.display_name, ConsentState.UNKNOWN)
        return ParticipantRecord(self.session_id, *made, admitted=False, shares_with=person.shares_with)

    async def enter(
        self, member: Member, link: PageLink, pass_id: str = "", held: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._answer(CaptureState.OFF)
        self.links[member.participant_id] = link
        for message in held:
            self.said.put_nowait(message)
        await link.send({"type": "welcome", "you": {"participant_id": member.participant_id}})

    async def exit(self, member: Member, link: PageLink, *, heard_s: float | None = None) -> None:
        self.left.set()

    async def page_message(self, member: Member, link: PageLink, message: Mapping[str, Any]) -> None:
        self._answer(CaptureState.OFF)
        if message["type"] == "signal":
            await self.signalling.wait()
        if message["type"] == "ping":
            await link.send({"type": "pong"})
        self.said.put_nowait(message)


class ScriptedSessions:
    """One scripted session for each id."""

    def __init__(self) -> None:
        self.sessions: dict[str, ScriptedSession] = {}

    async def of(self, session_id: str) -> ScriptedSession:
        return self.sessions.setdefault(session_id, ScriptedSession(session_id))

    def warnings(self, session_id: str) -> list[Mapping[str, Any]]:
        live = self.sessions.get(session_id)
        return live.warnings if live is not None else []


@dataclass
class World:
    """The application and everything below it."""

    app: FastAPI
    services: Services
    clock: ManualClock
    live: ScriptedSessions
    client: httpx.AsyncClient
    """Holds every answer it gets against the OpenAPI document."""
    document: Document
    eraser: Eraser

    @property
    def store(self) -> SessionStore:
        return self.services.store

    async def session(self, headers: Mapping[str, str] = DEV, **more: Any) -> dict[str, Any]:
        """A session with a clinician and a client, as the API answered it."""
        body = {
            "clinic_id": "demo",
            "participants": [
                {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
                {"id": "cl-1", "role": "client", "display_name": "Robin Fields"},
            ],
            **more,
        }
        answer = await self.client.post("/v1/sessions", json=body, headers=dict(headers))
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def key(self, clinic_id: str = "demo", *scopes: str) -> dict[str, str]:
        """The header of a fresh platform key."""
        _, key = await self.services.keys.create(clinic_id, scopes or ("sessions", "notes"))
        return {"Authorization": f"Bearer {key}"}

    async def other_clinic(self) -> str:
        """Another clinic on the same service."""
        demo = load_files(default_config_dir())["demo"]
        await self.services.clinics.seed({"other": demo.model_copy(update={"id": "other", "name": "Other"})})
        return "other"

    async def sign_in(self, email: str = "ada@example.org", *, clinic_id: str = "demo", role: str = "clinician") -> str:
        """Sign the client's cookie jar in; the CSRF token."""
        if await self.services.users.by_email(email) is None:
            await self.services.users.add(clinic_id, email, "Dr. Ada Stone", role, PASSWORD)
        answer = await self.client.post("/v1/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        csrf: str = answer.json()["csrf"]
        return csrf

    async def drafted(self, record: SessionRecord | str, text: str = "The client slept badly.") -> str:
        """Bring a session to a draft note; the note's id."""
        session_id = record if isinstance(record, str) else record.id
        await self.store.change(session_id, "capture.consent_pending", capture="consent_pending")
        await self.store.change(
            session_id, "capture.started", capture="capturing", audio="held", transcript="live"
        )
        await self.store.change(session_id, "capture.finished", capture="finished", ended_at=self.clock.now())
        await self.store.change(session_id, "transcript.ready", transcript="ready")
        await self.store.change(session_id, "note.queued", note="queued")
        await self.store.change(session_id, "note.generating", note="generating")
        note = await self.store.save_note(session_id, draft(text))
        return note.id


def draft(text: str) -> bytes:
    """A note of one sentence, as a writer's is kept."""
    section = NoteSection("subjective", "Subjective", (NoteSentence("s1", text, SentenceStatus.SUPPORTED),))
    return encode(NoteDraft("soap", 1, "extractive/1", (section,)))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(made: Mapping[str, Any], role: Role) -> str:
    return next(str(join["token"]) for join in made["join"] if join["role"] == role.value)


@asynccontextmanager
async def open_world(
    folder: Path,
    *,
    bus_url: str = "",
    limits: Limits | None = None,
    change: Callable[[Settings], Settings] = lambda settings: settings,
) -> AsyncIterator[World]:
    """Everything, closed again at the end."""
    clock = ManualClock()
    settings = change(Settings(data_dir=folder, dev=True, host="127.0.0.1", port=8080))
    db = Database(f"sqlite+aiosqlite:///{folder / 'quietnote.db'}")
    await db.open()
    vault = FileVault(folder / "vault", secrets.token_bytes(32))
    bus = Bus(bus_url or f"unix://{folder}/nobody.sock", clock=clock)
    await bus.open()
    clinics = ClinicStore(db, clock)
    await clinics.seed(load_files(default_config_dir()))
    live = ScriptedSessions()
    store = SessionStore(db, vault, clock)

    async def write_note(session_id: str, by: str) -> SessionRecord:
        """No workflow runs here: what is asked for waits."""
        return await store.queue_note(session_id, by=by)

    signer = ReceiptSigner.load(folder / "vault")
    eraser = Eraser(store, db, vault, signer, clock)
    services = Services(
        settings=settings,
        clock=clock,
        db=db,
        store=store,
        vault=vault,
        users=UserStore(db, clock, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
        keys=KeyStore(db, clock),
        clinics=clinics,
        bus=bus,
        live=live,
        write_note=write_note,
        webhooks=WebhookSender(WebhookStore(db, vault, clock), clock),
        tokens=SessionTokens.load(folder / "vault", clock),
        limiter=RateLimiter(bus, clock, secrets.token_bytes(32)),
        signer=signer,
        deleter=Deleter(db, vault, signer, clock, eraser),
        templates={"soap": object(), "dap": object()},
        forms=load_forms(default_config_dir()),
        limits=limits or Limits(),
    )
    services.store.purge_receipt = eraser.purge_receipt
    app = create_app(services)
    transport = httpx.ASGITransport(app=app)
    document = Document(app.openapi())
    hooks = {"response": [document.hear]}
    async with httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks=hooks) as client:
        with blockbuster_ctx("bot.control"):  # whatever would hold up the event loop while serving is an error
            yield World(app, services, clock, live, client, document, eraser)
    await bus.close()
    await db.close()


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """The application on a real socket of this machine; its address as ``127.0.0.1:port``."""
    config = uvicorn.Config(
        world.app, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws_max_size=2_000_000
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # serve() itself takes the signals
    while not server.started:  # noqa: ASYNC110  the server offers no event
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        world.services.stopping.set()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, WAIT_S)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made



def problem_of(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The one shape of every error."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["slug"] == slug
    assert body["type"] == f"urn:quietnote:problem:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


