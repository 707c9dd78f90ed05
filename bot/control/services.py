"""What the outside of the house is built on. The composition root makes one and gives it to ``create_app``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.clock import Clock
from bot.control.capture import Ack, Actor
from bot.control.consentform import FormTemplate
from bot.control.limits import RateLimiter
from bot.control.lobby import PageLink
from bot.control.tokens import SessionTokens
from bot.events import CaptureAction, ConsentState
from bot.media.room import Member
from bot.metrics import Metrics
from bot.notes.export import Exporter
from bot.notes.webhooks import WebhookSender
from bot.settings import Settings
from bot.store.audit import AuditStore
from bot.store.bus import Bus
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.deletions import Deleter
from bot.store.holds import HoldStore
from bot.store.keys import KeyStore
from bot.store.receipts import ReceiptSigner
from bot.store.records import NewParticipant, ParticipantRecord, SessionRecord
from bot.store.sessions import SessionStore
from bot.store.users import UserStore
from bot.store.vault import Vault

HealthCheck = Callable[[], Awaitable[str | None]]
"""None when all is well, else one plain sentence that says what is missing."""


WriteNote = Callable[[str, str], Awaitable[SessionRecord]]
"""Ask for the note of a session (its id), by whom (an id). Raises InvalidTransition, NotFound."""


class LiveSession(Protocol):
    """A session while anybody is in it; :class:`bot.control.live.LiveSession` is the real one."""

    async def capture(self, actor: Actor, action: CaptureAction, *, message_id: str | None, seq: int | None) -> Ack:
        """Start, pause, resume, finish or discard."""
        ...

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
        """Take a participant's own answer; ``destroy``: with a withdrawal, what was recorded."""
        ...

    async def admit(self, actor: Actor, participant_id: str) -> None:
        """Let somebody in from the waiting room."""
        ...

    async def share(self, actor: Actor, person: NewParticipant) -> ParticipantRecord:
        """Say that somebody else sits at a participant's microphone."""
        ...

    async def enter(
        self, member: Member, link: PageLink, pass_id: str = "", held: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """A participant's page came in."""
        ...

    async def exit(self, member: Member, link: PageLink, *, heard_s: float | None = None) -> None:
        """A participant's page went away."""
        ...

    async def page_message(self, member: Member, link: PageLink, message: Mapping[str, Any]) -> None:
        """Everything a page says after hello."""
        ...


class LiveSessions(Protocol):
    """The live sessions of this process."""

    async def of(self, session_id: str) -> LiveSession:
        """The live session, opened if need be. Raises NotFound."""
        ...

    def warnings(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """What the pages of a session are warned of, stored or not; nothing when it is not open here."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much the doors take."""

    hello_s: float = 10.0
    """Longest wait for a page's first message."""
    send_s: float = 10.0
    """Longest wait for a page to take one message."""
    heartbeat_s: float = 15.0
    """Pause between the signs of life on an event stream; also how soon it sees another process's changes."""
    outbox: int = 256
    """Messages that may wait for one page or stream."""
    pages: int = 2000
    """Pages connected at once."""
    streams: int = 1000
    """Event streams open at once."""
    body_bytes: int = 1_000_000
    """Largest body of a request."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes may use."""

    settings: Settings
    clock: Clock
    db: Database
    store: SessionStore
    vault: Vault
    users: UserStore
    keys: KeyStore
    clinics: ClinicStore
    bus: Bus
    live: LiveSessions
    write_note: WriteNote
    webhooks: WebhookSender
    tokens: SessionTokens
    limiter: RateLimiter
    signer: ReceiptSigner
    deleter: Deleter
    metrics: Metrics = field(default_factory=Metrics)
    templates: Mapping[str, Any] = field(default_factory=dict)
    """Note templates by id."""
    forms: Mapping[str, FormTemplate] = field(default_factory=dict)
    """Consent forms by language."""
    check_language: Callable[[str], None] = lambda _language: None
    """Raises :class:`bot.errors.LanguageUnsupported` for a language tag that the loaded speech model does not know."""
    health: Mapping[str, HealthCheck] = field(default_factory=dict)
    """What must be well for the main job, by name."""
    limits: Limits = field(default_factory=Limits)
    dev_clinic_id: str = "demo"
    """The clinic the development key and the demo sign-in belong to."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process begins to stop: streams and pages close, so that the server can end."""

    @property
    def holds(self) -> HoldStore:
        """Legal holds, and what there is of a client."""
        return HoldStore(self.db, self.clock, self.signer)

    @property
    def exporter(self) -> Exporter:
        """Whole records, given out."""
        return Exporter(self.store, self.db, self.vault, self.signer, self.clock)

    @property
    def audit(self) -> AuditStore:
        """What was done, and where it is put on record that something was read."""
        return AuditStore(self.db, self.clock, self.signer)
