"""Deletion of a client, of a clinic, of a session whose time is up, of a draft that nobody signed.

Carried through, whatever is killed meanwhile. The order makes a crash harmless; each line can be run again:

    1 begun        one transaction: nothing forbids it, the sessions are marked (no change is taken in them from here
                   on), a clinic's keys and browsers are shut out, the audit has it
    2 keys         words and sound of every session, for a clinic its own key first: what a backup of the database
                   holds under them cannot be opened again
    3 copies       every place that holds some removes it, as at an erasure
    4 rows         a transaction a session: all of them, its receipts aside; the counts are kept with the same stroke
    5 the log      SQLite's write-ahead log is emptied: no deleted row stays readable in it
    6 the receipt  signed, stored, on record, in one transaction: there is one, however often this was begun

Names, notes and typed text are under the clinic's key. With one client's they go row by row, and a backup of the
database from before opens them while the clinic's key is there: adr/0019 says what to do about it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import ColumnElement, delete, select, update

from bot.clock import Clock
from bot.errors import InvalidTransition, NotFound, PreconditionFailed, SessionLocked
from bot.store import chain
from bot.store.chain import Deed
from bot.store.clinic_receipts import MIXED, ClinicReceipt, ClinicReceiptStore, keep_receipt
from bot.store.db import Database
from bot.store.erase import KEY_STORE, Eraser
from bot.store.forgetting import forget_answers, forget_clinic, forget_session
from bot.store.ground import clinic_scope, words_scope
from bot.store.holds import is_held, is_under_way, of_client, records_turn, shared_with_others, who_asks
from bot.store.models import ApiKeyRow, ClinicRow, CookieRow, DeliveryRow, SessionRow, UserRow, WebhookRow
from bot.store.parts import audio_name
from bot.store.receipts import METHOD, MerkleLog, ReceiptSigner, timestamp
from bot.store.record_rows import DeletionRow
from bot.store.records import new_id
from bot.store.vault import KeyDestroyed, SealBroken, Vault

log = structlog.get_logger()

CLIENT, CLINIC, SESSION = "client", "clinic", "session"
ASKED, RETENTION = "asked", "retention"
BEGUN = {CLIENT: "client.deletion_begun", CLINIC: "clinic.deletion_begun", SESSION: "session.deletion_begun"}
DONE = {CLIENT: "client.deleted", CLINIC: "clinic.deleted", SESSION: "session.deletion_done"}
"""In the audit, by kind. Each session of any deletion has its ``session.deleted`` too."""
NAMED = 20
"""Sessions that a refusal names at most."""
TREE, KEYS, PLACE, ROWS = "tree", "keys", "place:", "rows:"
"""In a deletion's counts: the hash tree of the sessions' ids; keys; what each place removed; rows by table."""
HELD = "A legal hold stands on it. Lift it first: nothing is deleted while it stands."
UNDER_WAY = "A session is being recorded, or its words or note are still being written. Try again when that is done."
SHARED = "Another client took part in some of the sessions. They go only if you say so: with_shared."


class Deleter:
    """Deletes whole records."""

    def __init__(self, db: Database, vault: Vault, signer: ReceiptSigner, clock: Clock, eraser: Eraser) -> None:
        """``eraser`` knows the places that hold copies."""
        self._db = db
        self._vault = vault
        self._signer = signer
        self._clock = clock
        self._eraser = eraser
        self.receipts = ClinicReceiptStore(db)

    # -- asked for -----------------------------------------------------------------------------------------------------

    async def client(
        self, clinic_id: str, client_ref: str, *, expect: int, with_shared: bool = False, by: str = ""
    ) -> ClinicReceipt:
        """Delete everything of one client; the receipt. Again, with nothing new of them there: the same receipt.

        ``expect`` is how many sessions whoever asks was told of. Raises NotFound; SessionLocked for a hold, for a
        session under way, and for one shared with another client unless ``with_shared``; PreconditionFailed when
        there are more or fewer sessions.
        """
        mine = of_client(client_ref)
        begun = await self._begin(CLIENT, clinic_id, client_ref, mine, by, expect=expect, with_shared=with_shared)
        return await self.carry_out(begun)

    async def clinic(self, clinic_id: str, *, expect: int, by: str) -> ClinicReceipt:
        """Delete a whole clinic; the receipt. Raises as :meth:`client` does."""
        everything = SessionRow.clinic_id == clinic_id
        return await self.carry_out(await self._begin(CLINIC, clinic_id, clinic_id, everything, by, expect=expect))

    async def session(self, clinic_id: str, session_id: str, *, reason: str = ASKED, by: str = "") -> ClinicReceipt:
        """Delete one session, of which its receipts stay; raises as :meth:`client` does."""
        one = SessionRow.id == session_id
        return await self.carry_out(await self._begin(SESSION, clinic_id, session_id, one, by, reason=reason))

    async def unfinished(self) -> list[str]:
        """Deletions that a crash or a fault has left."""
        query = select(DeletionRow.id).where(DeletionRow.done_at.is_(None)).order_by(DeletionRow.begun_at)
        async with self._db.read() as db:
            return list((await db.scalars(query)).all())

    async def _begin(
        self,
        kind: str,
        clinic_id: str,
        subject: str,
        which: ColumnElement[bool],
        by: str,
        *,
        reason: str = ASKED,
        expect: int | None = None,
        with_shared: bool = True,
    ) -> str:
        s, d = SessionRow, DeletionRow
        mine = (s.clinic_id == clinic_id, which)
        who = who_asks(by)
        async with self._db.write() as db:
            await records_turn(db, clinic_id)
            earlier = select(d).where(d.clinic_id == clinic_id, d.kind == kind, d.subject == subject)
            last = (await db.scalars(earlier.order_by(d.begun_at.desc()).limit(1))).one_or_none()
            if last is not None and last.done_at is None:
                return last.id
            rows = (await db.scalars(select(s).where(*mine).order_by(s.id).with_for_update())).all()
            there = bool(rows) if kind != CLINIC else await db.get(ClinicRow, clinic_id) is not None
            if not there:
                if last is not None:
                    return last.id
                raise NotFound(f"There is no such {kind}.")
            if expect is not None and expect != len(rows):
                raise PreconditionFailed(f"There are {len(rows)} sessions, not {expect}.", sessions=len(rows))
            for refused, why in ((is_held(), HELD), (is_under_way(), UNDER_WAY)):
                if found := await _ids(db, *mine, refused):
                    raise SessionLocked(why, sessions=found)
            if not with_shared and (found := await _ids(db, *mine, shared_with_others(subject))):
                raise SessionLocked(SHARED, sessions=found)
            row = d(id=new_id("del"), clinic_id=clinic_id, kind=kind, subject=subject, reason=reason, by=who, counts={})
            row.begun_at, row.done_at, row.keys_gone_at, row.receipt_id = self._clock.now(), None, None, None
            db.add(row)
            for session in rows:
                session.deletion_id = row.id
            if kind == CLINIC:
                await _shut_out(db, clinic_id, row.begun_at)
            action = BEGUN[kind]
            told = Deed(clinic_id, action, subject, _of(kind, subject), who, detail=reason)
            await chain.record(db, row.begun_at, [told])
            return row.id

    # -- carried out ---------------------------------------------------------------------------------------------------

    async def carry_out(self, deletion_id: str) -> ClinicReceipt:
        """Go on with a deletion from wherever it is; its receipt. Idempotent, in several processes too."""
        async with self._db.turn(f"delete:{deletion_id}"):
            row = await self._row(deletion_id)
            if row.done_at is None:
                if row.kind == CLINIC:
                    await self._mark_late_ones(row)
                await self._destroy_keys(row)
                await self._delete_rows(row)
                await self._db.checkpoint()
                row = await self._finish(deletion_id)
        assert row.receipt_id is not None, "what is done has its receipt"
        return await self.receipts.get(row.receipt_id)

    async def _row(self, deletion_id: str) -> DeletionRow:
        async with self._db.read() as db:
            row = await db.get(DeletionRow, deletion_id)
        if row is None:
            raise NotFound
        return row

    async def _mark_late_ones(self, deletion: DeletionRow) -> None:
        """A session that somebody was making while the clinic's deletion began belongs to it too."""
        s = SessionRow
        late = (s.clinic_id == deletion.clinic_id, s.deletion_id.is_(None))
        async with self._db.write() as db:
            if await _ids(db, *late, is_under_way()):
                raise InvalidTransition(UNDER_WAY)
            await db.execute(update(s).where(*late).values(deletion_id=deletion.id))

    async def _sessions(self, deletion_id: str) -> list[tuple[str, int]]:
        s = SessionRow
        async with self._db.read() as db:
            found = await db.execute(select(s.id, s.part).where(s.deletion_id == deletion_id).order_by(s.id))
            return [(row.id, row.part) for row in found.all()]

    async def _destroy_keys(self, deletion: DeletionRow) -> None:
        sessions = await self._sessions(deletion.id)

        def destroy() -> int:
            gone = int(self._vault.destroy(clinic_scope(deletion.clinic_id))) if deletion.kind == CLINIC else 0
            for session_id, parts in sessions:
                gone += self._vault.destroy(words_scope(session_id))
                gone += sum(self._vault.destroy_audio(audio_name(session_id, n + 1)) for n in range(parts))
            return gone

        gone = await asyncio.to_thread(destroy)
        async with self._db.write() as db:
            row = await db.get_one(DeletionRow, deletion.id, with_for_update=True)
            row.counts = _added(row.counts, {KEYS: gone})
            row.keys_gone_at = row.keys_gone_at or self._clock.now()

    async def _delete_rows(self, deletion: DeletionRow) -> None:
        sessions = await self._sessions(deletion.id)
        await self._delete_answers(deletion, [session_id for session_id, _ in sessions])
        for session_id, _ in sessions:
            swept = {f"{PLACE}{place}": n for place, n in (await self._eraser.sweep(session_id)).items()}
            async with self._db.write() as db:
                row = await db.get(SessionRow, session_id, with_for_update=True)
                if row is None:
                    continue
                gone = {f"{ROWS}{name}": n for name, n in (await forget_session(db, row)).items()}
                kept = await db.get_one(DeletionRow, deletion.id, with_for_update=True)
                tree = MerkleLog.from_json(kept.counts.get(TREE, {})).append(session_id.encode())
                kept.counts = _added(kept.counts, swept | gone) | {TREE: tree.to_json()}
                told = Deed(deletion.clinic_id, "session.deleted", session_id, session_id, kept.by, detail=kept.id)
                await chain.record(db, self._clock.now(), [told])
        if deletion.kind == CLINIC:
            async with self._db.write() as db:
                kept = await db.get_one(DeletionRow, deletion.id, with_for_update=True)
                gone = await forget_clinic(db, deletion.clinic_id)
                kept.counts = _added(kept.counts, {f"{ROWS}{name}": n for name, n in gone.items()})

    async def _delete_answers(self, deletion: DeletionRow, session_ids: Collection[str]) -> None:
        """Answers that are kept for a day may hold a name: those that speak of a session that goes, go before it."""
        if deletion.kind == CLINIC or not session_ids:
            return
        marks = [one.encode() for one in session_ids]

        def is_about(key: str, sealed: bytes) -> bool:
            try:
                answer = self._vault.unseal(clinic_scope(deletion.clinic_id), f"answer:{key}", sealed)
            except (KeyDestroyed, SealBroken):
                return True
            return any(mark in answer for mark in marks)

        async with self._db.write() as db:
            gone = await forget_answers(db, deletion.clinic_id, is_about)
            kept = await db.get_one(DeletionRow, deletion.id, with_for_update=True)
            kept.counts = _added(kept.counts, {f"{ROWS}idempotency": gone})

    async def _finish(self, deletion_id: str) -> DeletionRow:
        async with self._db.write() as db:
            row = await db.get_one(DeletionRow, deletion_id, with_for_update=True)
            if row.done_at is not None:
                return row
            now = self._clock.now()
            body = await asyncio.to_thread(self._signer.sign, _statement(row, now))
            receipt = keep_receipt(db, row.clinic_id, row.kind, body, now)
            row.done_at, row.receipt_id = now, receipt.id
            of = _of(row.kind, row.subject)
            action = DONE[row.kind]
            told = Deed(row.clinic_id, action, row.subject, of, row.by, detail=receipt.id)
            await chain.record(db, now, [told])
        log.info("record_deleted", kind=row.kind, reason=row.reason, count=_tree(row.counts).count)
        return row


def _statement(row: DeletionRow, now: datetime) -> dict[str, Any]:
    """What the receipt says: ids, counts and times."""
    tree = _tree(row.counts)
    rows = {name.removeprefix(ROWS): n for name, n in row.counts.items() if name.startswith(ROWS)}
    places = {name.removeprefix(PLACE): n for name, n in row.counts.items() if name.startswith(PLACE)}
    places = {KEY_STORE: row.counts.get(KEYS, 0), **places, "database": sum(rows.values())}
    subject = {CLIENT: {"client_ref": row.subject}, SESSION: {"session_id": row.subject}}.get(row.kind, {})
    return {
        "kind": row.kind,
        "clinic_id": row.clinic_id,
        **subject,
        "deletion_id": row.id,
        "reason": row.reason,
        "sessions": {"count": tree.count, "tree_root": tree.root.hex()},
        "held": rows,
        "places": [{"place": place, "removed": removed} for place, removed in places.items()],
        "clinic_key_destroyed": row.kind == CLINIC,
        "begun_at": timestamp(row.begun_at),
        "keys_destroyed_at": timestamp(row.keys_gone_at or row.begun_at),
        "destroyed_at": timestamp(now),
        "kept": ["audit", "receipts"],
        "method": METHOD if row.kind == CLINIC else MIXED,
    }


def _tree(counts: Mapping[str, Any]) -> MerkleLog:
    return MerkleLog.from_json(counts.get(TREE, {}))


def _added(counts: Mapping[str, Any], more: Mapping[str, int]) -> dict[str, Any]:
    numbers = Counter({name: n for name, n in counts.items() if name != TREE})
    numbers.update(more)
    return {TREE: counts.get(TREE, {}), **numbers}


def _of(kind: str, subject: str) -> str:
    return subject if kind == SESSION else ""


async def _ids(db: Any, *conditions: ColumnElement[bool]) -> list[str]:
    query = select(SessionRow.id).where(*conditions).order_by(SessionRow.id).limit(NAMED)
    return list((await db.scalars(query)).all())


async def _shut_out(db: Any, clinic_id: str, now: datetime) -> None:
    """Nobody comes in any more, and nobody is told any more: keys, people, their browsers, webhooks."""
    people = select(UserRow.id).where(UserRow.clinic_id == clinic_id)
    await db.execute(delete(CookieRow).where(CookieRow.user_id.in_(people)))
    await db.execute(update(UserRow).where(UserRow.clinic_id == clinic_id).values(disabled_at=now))
    live = (ApiKeyRow.clinic_id == clinic_id, ApiKeyRow.revoked_at.is_(None))
    await db.execute(update(ApiKeyRow).where(*live).values(revoked_at=now))
    hooks = select(WebhookRow.id).where(WebhookRow.clinic_id == clinic_id)
    await db.execute(update(WebhookRow).where(WebhookRow.clinic_id == clinic_id).values(disabled_at=now))
    await db.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id.in_(hooks)))
