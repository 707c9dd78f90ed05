"""What is to be delivered to webhook endpoints, and what became of it.

A delivery is one event for one endpoint. Its id follows from both, so that the same event is never queued twice and a
receiver that gets it twice can tell. What a crash kept from being queued is found by :meth:`WebhookStore.catch_up`. No
body is kept: it is made from the event, and the log of deliveries ends :data:`KEPT` after the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import InvalidTransition, NotFound
from bot.events import SessionEvent
from bot.store import chain
from bot.store.chain import Deed
from bot.store.endpoints import EndpointStore, RetiredSecret, WebhookRecord
from bot.store.ground import cursor_from, cursor_to
from bot.store.models import DeliveryRow, SessionEventRow, SessionRow, WebhookRow
from bot.store.records import new_id

__all__ = ["PUBLIC_KINDS", "DeliveryRecord", "RetiredSecret", "WebhookRecord", "WebhookStore", "message_id"]

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
TEST_KIND = "webhook.test"
"""Sent when somebody asks for it; nothing happened."""
KEPT = timedelta(days=30)
"""How long a delivery stays in the log after its event, once it was delivered or given up."""
LOOK_BACK = KEPT - timedelta(days=1)
"""How old an event may be to be queued late: less, so that what the log has forgotten is not sent again."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event for one endpoint, and how its delivery went."""

    id: str
    """The message's ``webhook-id``."""
    webhook_id: str
    kind: str
    at: datetime
    """When it happened."""
    session_id: str | None
    event: SessionEvent | None
    """None for a test."""
    attempts: int
    tries: int
    """Of the attempts, those since it was last asked for."""
    next_at: datetime | None
    """When it is tried next; None when it was delivered or given up."""
    tried_at: datetime | None
    delivered_at: datetime | None
    last_status: int | None
    """HTTP status of the last answer; None when there was none."""
    last_error: str | None
    """A word for why there was none."""


class WebhookStore(EndpointStore):
    """Endpoints of clinics, and their deliveries."""

    # -- queueing ------------------------------------------------------------------------------------------------------

    async def queue(self, event: SessionEvent) -> int:
        """Make the event's deliveries, due at once; how many are new. Events of our own make none."""
        if event.kind not in PUBLIC_KINDS:
            return 0
        query = (
            select(WebhookRow.id)
            .join(SessionRow, SessionRow.clinic_id == WebhookRow.clinic_id)
            .where(
                SessionRow.id == event.session_id, WebhookRow.disabled_at.is_(None), WebhookRow.enabled_at <= event.at
            )
        )
        async with self._db.read() as db:
            if (await db.scalars(query.limit(1))).first() is None:  # the usual case costs no write
                return 0
        async with self._db.write() as db:
            hooks = (await db.scalars(query)).all()
            return await self._add(db, ((hook, event.session_id, event.seq, event.kind, event.at) for hook in hooks))

    async def catch_up(self, *, since: datetime | None = None, limit: int = 500) -> int:
        """Queue events that no delivery was made of (the process died in between); how many deliveries are new.

        Looks at events from ``since`` on, and never at older ones than the log goes back.
        """
        oldest = self._clock.now() - LOOK_BACK
        w, e, d = WebhookRow, SessionEventRow, DeliveryRow
        query = (
            select(w.id, e.session_id, e.seq, e.kind, e.at)
            .join(SessionRow, SessionRow.clinic_id == w.clinic_id)
            .join(e, e.session_id == SessionRow.id)
            .outerjoin(d, (d.webhook_id == w.id) & (d.session_id == e.session_id) & (d.event_seq == e.seq))
            .where(w.disabled_at.is_(None), e.at >= w.enabled_at, e.at >= max(since or oldest, oldest))
            .where(e.kind.in_(PUBLIC_KINDS), d.id.is_(None))
            .order_by(e.at, e.session_id, e.seq)
            .limit(limit)
        )
        async with self._db.read() as db:
            if (await db.execute(query.limit(1))).first() is None:
                return 0
        async with self._db.write() as db:
            return await self._add(db, ((*row,) for row in (await db.execute(query)).all()))

    async def add_test(self, webhook_id: str, *, clinic_id: str) -> DeliveryRecord:
        """Queue a test message, due at once. Raises NotFound, InvalidTransition for an endpoint that is off."""
        now, test_id = self._clock.now(), new_id("msg")
        async with self._db.write() as db:
            hook = await _switched_on(db, webhook_id, clinic_id)
            row = DeliveryRow(id=test_id, webhook_id=webhook_id, kind=TEST_KIND, at=now, next_at=now)
            row.attempts = row.tries = 0
            db.add(row)
            await self._audit(db, hook, "webhook.test_sent", test_id)
        return await self.delivery(test_id)

    async def replay(
        self, delivery_id: str, *, webhook_id: str | None = None, clinic_id: str | None = None
    ) -> DeliveryRecord:
        """Deliver it again now, whatever became of it, and by the whole schedule if need be.

        Raises NotFound, InvalidTransition for an endpoint that is off.
        """
        async with self._db.write() as db:
            row = await db.get(DeliveryRow, delivery_id, with_for_update=True)
            if row is None or webhook_id not in {None, row.webhook_id}:
                raise NotFound
            endpoint = await _switched_on(db, row.webhook_id, clinic_id)
            row.next_at, row.tries = self._clock.now(), 0
            replayed = Deed(endpoint.clinic_id, "webhook.replayed", delivery_id, row.session_id or "")
            await chain.record(db, self._clock.now(), [replayed])
        return await self.delivery(delivery_id)

    # -- delivering ----------------------------------------------------------------------------------------------------

    async def due(self, *, limit: int = 50) -> list[DeliveryRecord]:
        """Deliveries to be tried now, the longest waiting first."""
        query = select(DeliveryRow).where(DeliveryRow.next_at <= self._clock.now())
        return await self._deliveries(query.order_by(DeliveryRow.next_at, DeliveryRow.event_seq).limit(limit))

    async def claim(
        self, *, limit: int, hold: timedelta, each: int | None = None, but: Collection[str] = ()
    ) -> list[DeliveryRecord]:
        """Take deliveries that are due, so that no other process tries them too until ``hold`` has passed.

        At most ``each`` of one endpoint, and none of the endpoints in ``but``: who answers slowly holds up nobody else.
        """
        now, d = self._clock.now(), DeliveryRow
        order = (d.next_at, d.event_seq)
        ranked = select(d.id, func.row_number().over(partition_by=d.webhook_id, order_by=order).label("place"))
        ranked = ranked.where(d.next_at <= now)
        query = select(d).where(d.next_at <= now)
        if but:
            query, ranked = query.where(d.webhook_id.not_in(but)), ranked.where(d.webhook_id.not_in(but))
        if each is not None:
            places = ranked.subquery()
            query = query.where(d.id.in_(select(places.c.id).where(places.c.place <= each)))
        query = query.order_by(*order).limit(limit)
        async with self._db.read() as db:
            if (await db.scalars(query.limit(1))).first() is None:  # the usual case costs no write
                return []
        async with self._db.write() as db:
            rows = (await db.scalars(query.with_for_update(skip_locked=True))).all()
            for row in rows:
                row.next_at = now + hold
            ids = [row.id for row in rows]
        taken = select(d).where(d.id.in_(ids))
        return await self._deliveries(taken.order_by(d.session_id, d.event_seq))

    async def delivered(self, delivery_id: str, status: int) -> None:
        """The receiver took it. Nothing when the endpoint was deleted meanwhile."""
        async with self._db.write() as db:
            row = await _tried(db, delivery_id, self._clock.now())
            if row is not None:
                row.last_status, row.last_error = status, None
                row.delivered_at, row.next_at = self._clock.now(), None

    async def failed(
        self, delivery_id: str, status: int | None, *, next_at: datetime | None, error: str | None = None
    ) -> None:
        """The receiver did not take it: try again at ``next_at``, or give up with None.

        Nothing when the endpoint was deleted meanwhile.
        """
        async with self._db.write() as db:
            row = await _tried(db, delivery_id, self._clock.now())
            if row is not None:
                row.last_status, row.last_error, row.next_at = status, error, next_at

    async def give_up(self, delivery_id: str) -> None:
        """Try it no more: its endpoint is off, or its event is there no more."""
        async with self._db.write() as db:
            row = await db.get(DeliveryRow, delivery_id)
            if row is not None:
                row.next_at = None

    # -- the log -------------------------------------------------------------------------------------------------------

    async def delivery(self, delivery_id: str) -> DeliveryRecord:
        """One delivery. Raises NotFound."""
        found = await self._deliveries(select(DeliveryRow).where(DeliveryRow.id == delivery_id))
        if not found:
            raise NotFound
        return found[0]

    async def deliveries(self, webhook_id: str, *, limit: int = 50) -> list[DeliveryRecord]:
        """What the endpoint was sent, or will be, newest first."""
        return (await self.log(webhook_id, limit=limit))[0]

    async def log(
        self, webhook_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[DeliveryRecord], str | None]:
        """A page of what the endpoint was sent, or will be, newest first, and where the next one begins."""
        d = DeliveryRow
        # of what happened at one moment the order is of no matter, but it must be one: ids give it
        query = select(d).where(d.webhook_id == webhook_id).order_by(d.at.desc(), d.id.desc())
        if cursor is not None:
            query = query.where(tuple_(d.at, d.id) < cursor_from(cursor))
        found = await self._deliveries(query.limit(limit + 1))
        more = cursor_to(found[limit - 1].at, found[limit - 1].id) if len(found) > limit else None
        return found[:limit], more

    async def sweep(self) -> int:
        """Forget deliveries that are done and whose event is :data:`KEPT` ago, and secrets past their time."""
        await self.forget_retired()
        d, before = DeliveryRow, self._clock.now() - KEPT
        old = select(d.id).where(d.next_at.is_(None), d.at < before)
        async with self._db.read() as db:
            if (await db.scalars(old.limit(1))).first() is None:
                return 0
        async with self._db.write() as db:
            gone = await db.execute(delete(d).where(d.next_at.is_(None), d.at < before))
            return int(getattr(gone, "rowcount", 0))

    async def _add(self, db: AsyncSession, wanted: Iterable[tuple[str, str, int, str, datetime]]) -> int:
        now = self._clock.now()
        rows = [
            {
                "id": message_id(webhook_id, session_id, seq),
                "webhook_id": webhook_id,
                "session_id": session_id,
                "event_seq": seq,
                "kind": kind,
                "at": at,
                "next_at": now,
                "attempts": 0,
                "tries": 0,
            }
            for webhook_id, session_id, seq, kind, at in wanted
        ]
        if not rows:
            return 0
        # another process may have queued it at this moment
        if self._db.is_sqlite:
            made = await db.execute(sqlite_insert(DeliveryRow).values(rows).on_conflict_do_nothing())
        else:
            made = await db.execute(postgres_insert(DeliveryRow).values(rows).on_conflict_do_nothing())
        return int(getattr(made, "rowcount", 0))

    async def _deliveries(self, query: Select[DeliveryRow]) -> list[DeliveryRecord]:
        e = SessionEventRow
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
            keys = [(row.session_id, row.event_seq) for row in rows if row.session_id is not None]
            found = (await db.scalars(select(e).where(tuple_(e.session_id, e.seq).in_(keys)))).all() if keys else ()
        events = {(row.session_id, row.seq): row for row in found}
        return [_record(row, events.get((row.session_id or "", row.event_seq or 0))) for row in rows]


def message_id(webhook_id: str, session_id: str, seq: int) -> str:
    """The ``webhook-id`` of an event for an endpoint: always the same."""
    return "msg_" + hashlib.sha256(f"{webhook_id}:{session_id}:{seq}".encode()).hexdigest()[:32]


def _record(row: DeliveryRow, event: SessionEventRow | None) -> DeliveryRecord:
    return DeliveryRecord(
        id=row.id,
        webhook_id=row.webhook_id,
        kind=row.kind,
        at=row.at,
        session_id=row.session_id,
        event=SessionEvent(event.session_id, event.seq, event.kind, event.at, event.data) if event else None,
        attempts=row.attempts,
        tries=row.tries,
        next_at=row.next_at,
        tried_at=row.tried_at,
        delivered_at=row.delivered_at,
        last_status=row.last_status,
        last_error=row.last_error,
    )


async def _tried(db: AsyncSession, delivery_id: str, now: datetime) -> DeliveryRow | None:
    """The row of a delivery that was attempted, counted."""
    row = await db.get(DeliveryRow, delivery_id, with_for_update=True)
    if row is not None:
        row.attempts, row.tries, row.tried_at = row.attempts + 1, row.tries + 1, now
    return row


async def _switched_on(db: AsyncSession, webhook_id: str, clinic_id: str | None) -> WebhookRow:
    row = await db.get(WebhookRow, webhook_id, with_for_update=True)
    if row is None or clinic_id not in {None, row.clinic_id}:
        raise NotFound
    if row.disabled_at is not None:
        raise InvalidTransition("This endpoint is switched off; switch it on first.", state="disabled")
    return row
