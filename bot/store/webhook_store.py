"""Webhook endpoints and what is still to be delivered to them.

A delivery is one event for one endpoint. Its id follows from both, so that the same event is never queued twice and a
receiver that gets it twice can tell. What a crash kept from being queued is found by :meth:`WebhookStore.catch_up`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.errors import NotFound
from bot.events import SessionEvent
from bot.store.db import Database
from bot.store.ground import clinic_scope
from bot.store.models import DeliveryRow, SessionEventRow, SessionRow, WebhookRow
from bot.store.records import new_id
from bot.store.vault import Vault

SECRET_PREFIX = "whsec_"  # noqa: S105  Standard Webhooks 1.0: how a symmetric secret begins
SECRET_BYTES = 32
PUBLIC_KINDS = frozenset(
    {
        "session.created",
        "bot.state_changed",
        "consent.granted",
        "consent.declined",
        "consent.revoked",
        "capture.started",
        "capture.paused",
        "capture.resumed",
        "capture.finished",
        "capture.discarded",
        "audio.erased",
        "transcript.ready",
        "transcript.purged",
        "note.generating",
        "note.draft_ready",
        "note.failed",
        "note.discarded",
        "note.signed",
        "note.amended",
        "inbox.item_created",
        "receipt.issued",
    }
)
"""Events that leave the house; the others are ours."""


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """An endpoint that is told of events."""

    id: str
    clinic_id: str
    url: str
    secret: str = field(repr=False)
    """``whsec_`` and base64, as the receiver holds it."""
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event for one endpoint, and how its delivery went."""

    id: str
    """The message's ``webhook-id``."""
    webhook_id: str
    event: SessionEvent
    attempts: int
    next_at: datetime | None
    """When it is tried next; None when it was delivered or given up."""
    delivered_at: datetime | None
    last_status: int | None
    """HTTP status of the last answer; None when there was none."""


class WebhookStore:
    """Endpoints of clinics, and their deliveries."""

    def __init__(self, db: Database, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock

    # -- endpoints -----------------------------------------------------------------------------------------------------

    async def add(self, clinic_id: str, url: str) -> WebhookRecord:
        """Add an endpoint with a fresh secret. Whether the address may be called is the caller's to check."""
        webhook_id = new_id("whk")
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        sealed = await asyncio.to_thread(
            self._vault.seal, clinic_scope(clinic_id), _purpose(webhook_id), secret.encode()
        )
        row = WebhookRow(
            id=webhook_id,
            clinic_id=clinic_id,
            url=url,
            sealed_secret=sealed,
            created_at=self._clock.now(),
            disabled_at=None,
        )
        try:
            async with self._db.write() as db:
                db.add(row)
        except IntegrityError:
            raise NotFound("There is no such clinic.") from None
        return _record(row, secret)

    async def get(self, webhook_id: str, *, clinic_id: str | None = None) -> WebhookRecord:
        """The endpoint with its secret. Raises NotFound, also when it is another clinic's."""
        async with self._db.read() as db:
            row = await db.get(WebhookRow, webhook_id)
        if row is None or clinic_id not in {None, row.clinic_id}:
            raise NotFound
        return await self._opened(row)

    async def endpoints(self, clinic_id: str) -> list[WebhookRecord]:
        """The clinic's endpoints, oldest first."""
        query = select(WebhookRow).where(WebhookRow.clinic_id == clinic_id)
        async with self._db.read() as db:
            rows = (await db.scalars(query.order_by(WebhookRow.created_at, WebhookRow.id))).all()
        return [await self._opened(row) for row in rows]

    async def disable(self, webhook_id: str, *, clinic_id: str | None = None) -> None:
        """Deliver nothing more to the endpoint; what waits is given up. Raises NotFound."""
        async with self._db.write() as db:
            row = await db.get(WebhookRow, webhook_id)
            if row is None or clinic_id not in {None, row.clinic_id}:
                raise NotFound
            row.disabled_at = row.disabled_at or self._clock.now()
            waiting = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.next_at.is_not(None))
            for delivery in (await db.scalars(waiting)).all():
                delivery.next_at = None

    # -- deliveries ----------------------------------------------------------------------------------------------------

    async def queue(self, event: SessionEvent) -> int:
        """Make the event's deliveries, due at once; how many are new. Events of our own make none."""
        if event.kind not in PUBLIC_KINDS:
            return 0
        query = (
            select(WebhookRow)
            .join(SessionRow, SessionRow.clinic_id == WebhookRow.clinic_id)
            .where(
                SessionRow.id == event.session_id, WebhookRow.disabled_at.is_(None), WebhookRow.created_at <= event.at
            )
        )
        async with self._db.read() as db:
            if (await db.scalars(query.limit(1))).first() is None:  # the usual case costs no write
                return 0
        async with self._db.write() as db:
            webhooks = (await db.scalars(query)).all()
            return await self._add(db, ((hook.id, event.session_id, event.seq) for hook in webhooks))

    async def catch_up(self, *, limit: int = 1000) -> int:
        """Queue events that no delivery was made of (the process died in between); how many deliveries are new."""
        w, e, d = WebhookRow, SessionEventRow, DeliveryRow
        query = (
            select(w.id, e.session_id, e.seq)
            .join(SessionRow, SessionRow.clinic_id == w.clinic_id)
            .join(e, e.session_id == SessionRow.id)
            .outerjoin(d, (d.webhook_id == w.id) & (d.session_id == e.session_id) & (d.event_seq == e.seq))
            .where(w.disabled_at.is_(None), e.at >= w.created_at, e.kind.in_(PUBLIC_KINDS), d.id.is_(None))
            .order_by(e.at, e.session_id, e.seq)
            .limit(limit)
        )
        async with self._db.read() as db:
            if (await db.execute(query.limit(1))).first() is None:
                return 0
        async with self._db.write() as db:
            missing = [(hook, session_id, seq) for hook, session_id, seq in (await db.execute(query)).all()]
            return await self._add(db, missing)

    async def due(self, *, limit: int = 50) -> list[DeliveryRecord]:
        """Deliveries to be tried now, the longest waiting first."""
        query = select(DeliveryRow).where(DeliveryRow.next_at <= self._clock.now())
        return await self._deliveries(query.order_by(DeliveryRow.next_at, DeliveryRow.event_seq).limit(limit))

    async def claim(self, *, limit: int, hold: timedelta) -> list[DeliveryRecord]:
        """Take deliveries that are due, so that no other process tries them too until ``hold`` has passed."""
        now = self._clock.now()
        query = select(DeliveryRow).where(DeliveryRow.next_at <= now)
        query = query.order_by(DeliveryRow.next_at, DeliveryRow.event_seq).limit(limit)
        async with self._db.read() as db:
            if (await db.scalars(query.limit(1))).first() is None:  # the usual case costs no write
                return []
        async with self._db.write() as db:
            rows = (await db.scalars(query.with_for_update(skip_locked=True))).all()
            for row in rows:
                row.next_at = now + hold
            ids = [row.id for row in rows]
        taken = select(DeliveryRow).where(DeliveryRow.id.in_(ids))
        return await self._deliveries(taken.order_by(DeliveryRow.session_id, DeliveryRow.event_seq))

    async def deliveries(self, webhook_id: str, *, limit: int = 50) -> list[DeliveryRecord]:
        """What the endpoint was sent, or will be, newest first."""
        query = (
            select(DeliveryRow)
            .join(
                SessionEventRow,
                (SessionEventRow.session_id == DeliveryRow.session_id) & (SessionEventRow.seq == DeliveryRow.event_seq),
            )
            .where(DeliveryRow.webhook_id == webhook_id)
            .order_by(SessionEventRow.at.desc(), DeliveryRow.event_seq.desc())
        )
        return await self._deliveries(query.limit(limit))

    async def delivered(self, delivery_id: str, status: int) -> None:
        """The receiver took it."""
        async with self._db.write() as db:
            row = await _delivery(db, delivery_id)
            row.attempts, row.last_status = row.attempts + 1, status
            row.delivered_at, row.next_at = self._clock.now(), None

    async def failed(self, delivery_id: str, status: int | None, *, next_at: datetime | None) -> None:
        """The receiver did not take it: try again at ``next_at``, or give up with None."""
        async with self._db.write() as db:
            row = await _delivery(db, delivery_id)
            row.attempts, row.last_status, row.next_at = row.attempts + 1, status, next_at

    async def replay(self, delivery_id: str) -> None:
        """Deliver it again now, whatever became of it. Raises NotFound."""
        async with self._db.write() as db:
            (await _delivery(db, delivery_id)).next_at = self._clock.now()

    async def _add(self, db: AsyncSession, wanted: Iterable[tuple[str, str, int]]) -> int:
        new = 0
        for webhook_id, session_id, seq in wanted:
            delivery_id = message_id(webhook_id, session_id, seq)
            if await db.get(DeliveryRow, delivery_id) is None:
                db.add(
                    DeliveryRow(
                        id=delivery_id,
                        webhook_id=webhook_id,
                        session_id=session_id,
                        event_seq=seq,
                        attempts=0,
                        next_at=self._clock.now(),
                    )
                )
                new += 1
        return new

    async def _deliveries(self, query: Select[DeliveryRow]) -> list[DeliveryRecord]:
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
            events = [await db.get_one(SessionEventRow, (row.session_id, row.event_seq)) for row in rows]
        return [
            DeliveryRecord(
                id=row.id,
                webhook_id=row.webhook_id,
                event=SessionEvent(event.session_id, event.seq, event.kind, event.at, event.data),
                attempts=row.attempts,
                next_at=row.next_at,
                delivered_at=row.delivered_at,
                last_status=row.last_status,
            )
            for row, event in zip(rows, events, strict=True)
        ]

    async def _opened(self, row: WebhookRow) -> WebhookRecord:
        secret = await asyncio.to_thread(
            self._vault.unseal, clinic_scope(row.clinic_id), _purpose(row.id), row.sealed_secret
        )
        return _record(row, secret.decode())


def message_id(webhook_id: str, session_id: str, seq: int) -> str:
    """The ``webhook-id`` of an event for an endpoint: always the same."""
    return "msg_" + hashlib.sha256(f"{webhook_id}:{session_id}:{seq}".encode()).hexdigest()[:32]


async def _delivery(db: AsyncSession, delivery_id: str) -> DeliveryRow:
    row = await db.get(DeliveryRow, delivery_id)
    if row is None:
        raise NotFound
    return row


def _purpose(webhook_id: str) -> str:
    return f"webhook:{webhook_id}"


def _record(row: WebhookRow, secret: str) -> WebhookRecord:
    return WebhookRecord(row.id, row.clinic_id, row.url, secret, row.created_at, row.disabled_at)
