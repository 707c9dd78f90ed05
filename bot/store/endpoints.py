"""Webhook endpoints of clinics: made, listed, switched off and on, deleted, and their secrets replaced.

A secret is sealed under the clinic's key. One that was replaced goes on signing beside the newest until its time is up,
so that a receiver can change over without missing a message.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.errors import InvalidTransition, NotFound
from bot.store import chain
from bot.store.chain import Deed
from bot.store.db import Database
from bot.store.ground import clinic_scope
from bot.store.models import DeliveryRow, WebhookRow
from bot.store.records import new_id
from bot.store.vault import Vault

SECRET_PREFIX = "whsec_"  # noqa: S105  Standard Webhooks 1.0: how a symmetric secret begins
SECRET_BYTES = 32
MOST_ENDPOINTS = 10
"""Of one clinic."""
MOST_RETIRED = 2
"""Replaced secrets that may sign at once, beside the newest."""
GONE = "gone"
"""Why an endpoint was switched off: it answered 410."""


@dataclass(frozen=True, slots=True)
class RetiredSecret:
    """A secret that was replaced, and still signs."""

    secret: str = field(repr=False)
    until: datetime


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
    disabled_reason: str | None = None
    retired: tuple[RetiredSecret, ...] = ()
    """Replaced secrets, the newest first."""

    def signs_with(self, now: datetime) -> tuple[str, ...]:
        """The secrets that sign at ``now``, the newest first."""
        return (self.secret, *(old.secret for old in self.retired if old.until > now))

    def overlap_until(self, now: datetime) -> datetime | None:
        """Until when a replaced secret signs too; None when none does."""
        return max((old.until for old in self.retired if old.until > now), default=None)


class EndpointStore:
    """Endpoints of clinics."""

    def __init__(self, db: Database, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock

    async def add(self, clinic_id: str, url: str) -> WebhookRecord:
        """Add an endpoint with a fresh secret. Whether the address may be called is the caller's to check.

        Raises NotFound for an unknown clinic, InvalidTransition where it has as many as it may have.
        """
        webhook_id, secret, now = new_id("whk"), _new_secret(), self._clock.now()
        sealed = await self._seal(clinic_id, _purpose(webhook_id), secret)
        row = WebhookRow(
            id=webhook_id, clinic_id=clinic_id, url=url, sealed_secret=sealed, created_at=now, enabled_at=now
        )
        try:
            async with self._db.write() as db:
                count = select(func.count()).select_from(WebhookRow).where(WebhookRow.clinic_id == clinic_id)
                if (await db.scalar(count) or 0) >= MOST_ENDPOINTS:
                    raise InvalidTransition(f"This clinic has {MOST_ENDPOINTS} endpoints, which is the most.")
                db.add(row)
                await self._audit(db, row, "webhook.added")
        except IntegrityError:
            raise NotFound("There is no such clinic.") from None
        return await self._opened(row)

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

    async def rotate(self, webhook_id: str, *, clinic_id: str, overlap: timedelta) -> WebhookRecord:
        """Replace the secret; the one before goes on signing for ``overlap``. With none, every old one ends now.

        Raises NotFound, and InvalidTransition where so many replaced ones sign already that another cannot.
        """
        secret, now = _new_secret(), self._clock.now()
        before = await self.get(webhook_id, clinic_id=clinic_id)
        kept = [old for old in before.retired if old.until > now]
        if overlap <= timedelta(0):
            kept = []
        elif len(kept) >= MOST_RETIRED:
            raise InvalidTransition(f"{MOST_RETIRED} replaced secrets sign already; wait for their end, or end them.")
        else:
            kept.insert(0, RetiredSecret(before.secret, now + overlap))
        sealed = await self._seal(before.clinic_id, _purpose(webhook_id), secret)
        text = json.dumps([[old.secret, old.until.isoformat()] for old in kept])
        retired = await self._seal(before.clinic_id, _retired(webhook_id), text) if kept else None
        async with self._db.write() as db:
            row = await _owned(db, webhook_id, clinic_id)
            if (await self._opened(row)).secret != before.secret:
                raise InvalidTransition("Its secret was replaced at this moment; read it again.")
            row.sealed_secret, row.sealed_retired = sealed, retired
            row.retired_until = max((old.until for old in kept), default=None)
            await self._audit(db, row, "webhook.secret_replaced")
        return await self._opened(row)

    async def disable(self, webhook_id: str, *, clinic_id: str | None = None, reason: str = GONE) -> None:
        """Deliver nothing more to the endpoint; what waits is given up. Raises NotFound."""
        async with self._db.write() as db:
            row = await _owned(db, webhook_id, clinic_id)
            d, was_on = DeliveryRow, row.disabled_at is None
            await db.execute(update(d).where(d.webhook_id == webhook_id, d.next_at.is_not(None)).values(next_at=None))
            if was_on:
                row.disabled_at, row.disabled_reason = self._clock.now(), reason
                await self._audit(db, row, "webhook.disabled", reason)

    async def enable(self, webhook_id: str, *, clinic_id: str) -> WebhookRecord:
        """Deliver to the endpoint again, from what happens now on. Again: no change. Raises NotFound."""
        async with self._db.write() as db:
            row = await _owned(db, webhook_id, clinic_id)
            if row.disabled_at is not None:
                row.disabled_at, row.disabled_reason, row.enabled_at = None, None, self._clock.now()
                await self._audit(db, row, "webhook.enabled")
        return await self._opened(row)

    async def remove(self, webhook_id: str, *, clinic_id: str) -> None:
        """Delete the endpoint, its secrets and its deliveries. Raises NotFound."""
        async with self._db.write() as db:
            row = await _owned(db, webhook_id, clinic_id)
            await db.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id))
            await db.delete(row)
            await self._audit(db, row, "webhook.removed")

    async def forget_retired(self) -> int:
        """Delete replaced secrets whose time is up; of how many endpoints."""
        w, now = WebhookRow, self._clock.now()
        over = select(w.id).where(w.retired_until <= now)
        async with self._db.read() as db:
            ids = (await db.scalars(over)).all()
        if not ids:
            return 0
        async with self._db.write() as db:
            over_now = update(w).where(w.id.in_(ids), w.retired_until <= now)
            await db.execute(over_now.values(sealed_retired=None, retired_until=None))
        return len(ids)

    async def _audit(self, db: AsyncSession, row: WebhookRow, action: str, detail: str = "") -> None:
        await chain.record(db, self._clock.now(), [Deed(row.clinic_id, action, row.id, detail=detail)])

    async def _seal(self, clinic_id: str, purpose: str, text: str) -> bytes:
        return await asyncio.to_thread(self._vault.seal, clinic_scope(clinic_id), purpose, text.encode())

    async def _opened(self, row: WebhookRow) -> WebhookRecord:
        scope = clinic_scope(row.clinic_id)

        def work() -> tuple[str, tuple[RetiredSecret, ...]]:
            secret = self._vault.unseal(scope, _purpose(row.id), row.sealed_secret).decode()
            if row.sealed_retired is None:
                return secret, ()
            old = json.loads(self._vault.unseal(scope, _retired(row.id), row.sealed_retired))
            return secret, tuple(RetiredSecret(text, datetime.fromisoformat(until)) for text, until in old)

        secret, retired = await asyncio.to_thread(work)
        return WebhookRecord(
            id=row.id,
            clinic_id=row.clinic_id,
            url=row.url,
            secret=secret,
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            disabled_reason=row.disabled_reason,
            retired=retired,
        )


async def _owned(db: AsyncSession, webhook_id: str, clinic_id: str | None) -> WebhookRow:
    row = await db.get(WebhookRow, webhook_id, with_for_update=True)
    if row is None or clinic_id not in {None, row.clinic_id}:
        raise NotFound
    return row


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _purpose(webhook_id: str) -> str:
    return f"webhook:{webhook_id}"


def _retired(webhook_id: str) -> str:
    return f"webhook-retired:{webhook_id}"
