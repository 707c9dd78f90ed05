"""Lanes, finals and gaps: how words are kept, and how a transcript ends."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import machines
from bot.errors import NotFound, SessionLocked, TranscriptPurged
from bot.events import Gap, GapReason, Ledger, Role, Segment, Speaker, Transcript, TranscriptState
from bot.store.codec import ledger_to_json, segment_from_json, segment_to_json
from bot.store.ground import Ground, words_scope
from bot.store.models import GapRow, LaneRow, ReceiptRow, SegmentRow, SessionEventRow, SessionRow
from bot.store.records import (
    LaneRecord,
    ReceiptRecord,
    TranscriptPurge,
    lane_record,
    new_id,
    reasons_from,
    reasons_to,
)
from bot.store.sharing import speakers_of
from bot.store.vault import KeyDestroyed

log = structlog.get_logger()

OPEN_FOR_WORDS = frozenset({TranscriptState.ABSENT, TranscriptState.LIVE, TranscriptState.FAILED})
PURGED_EVENT = "transcript.purged"
MIN_GAP_MS = 100
"""Shortest stretch without words that is kept; no reader would see a shorter one."""


_OTHERWISE = {GapReason.ABSENT: GapReason.LOST, GapReason.LOST: GapReason.ABSENT}


def segment_purpose(segment_id: str) -> str:
    """The vault purpose a final is sealed for."""
    return f"segment:{segment_id}"


class WordStore(Ground):
    """What was said in sessions."""

    # -- lanes ---------------------------------------------------------------------------------------------------------

    async def ensure_lane(self, session_id: str, participant_id: str, role: Role) -> LaneRecord:
        """The participant's lane, made at first: the same participant always has the same one."""
        async with self._db.write() as db:
            await self._hold(db, session_id)
            query = select(LaneRow).where(LaneRow.session_id == session_id, LaneRow.participant_id == participant_id)
            row = (await db.scalars(query)).one_or_none()
            if row is None:
                row = LaneRow(
                    session_id=session_id,
                    id=new_id("lan"),
                    participant_id=participant_id,
                    role=role.value,
                    ledger={},
                    committed_through_sample=0,
                    hash_tree={},
                )
                db.add(row)
                await db.flush()
            return lane_record(row)

    async def lanes(self, session_id: str) -> list[LaneRecord]:
        """The session's lanes, by participant."""
        return (await self.lanes_of([session_id]))[session_id]

    async def lanes_of(self, session_ids: Collection[str]) -> dict[str, list[LaneRecord]]:
        """The lanes of several sessions in one query, by session and participant."""
        query = select(LaneRow).where(LaneRow.session_id.in_(session_ids)).order_by(LaneRow.participant_id)
        found: dict[str, list[LaneRecord]] = {session_id: [] for session_id in session_ids}
        async with self._db.read() as db:
            for row in (await db.scalars(query)).all():
                found[row.session_id].append(lane_record(row))
        return found

    async def save_ledger(self, session_id: str, lane_id: str, ledger: Ledger, hash_tree: Mapping[str, Any]) -> None:
        """Keep a lane's counters and the hash tree of its chunks."""
        await self.save_ledgers(session_id, {lane_id: (ledger, hash_tree)})

    async def save_ledgers(self, session_id: str, lanes: Mapping[str, tuple[Ledger, Mapping[str, Any]]]) -> None:
        """Keep several lanes' counters in one transaction. Raises NotFound, then none is kept."""
        async with self._db.write() as db:
            await self._hold(db, session_id)
            for lane_id, (ledger, hash_tree) in lanes.items():
                row = await db.get(LaneRow, (session_id, lane_id))
                if row is None:
                    raise NotFound
                row.ledger = dict(ledger_to_json(ledger))
                row.hash_tree = dict(hash_tree)

    # -- words ---------------------------------------------------------------------------------------------------------

    async def commit_final(self, session_id: str, segment: Segment, *, epoch: int = 0) -> None:
        """Keep a final and how far its lane is now in words, in one transaction.

        A final without text only moves the lane's position. A segment that is there already stays as it is.
        ``epoch`` is the session's when the writer began. Raises SessionLocked when an erasure has raised it since, or
        when the transcript is closed; TranscriptPurged; NotFound for a lane that is not the session's.
        """
        if not segment.final:
            raise ValueError("only finals are kept")
        sealed = None
        if segment.text:
            try:
                sealed = await self._seal(
                    words_scope(session_id), segment_purpose(segment.segment_id), segment_to_json(segment)
                )
            except KeyDestroyed:
                raise TranscriptPurged from None
        async with self._db.write() as db:
            session = await self._hold(db, session_id)
            lane = await db.get(LaneRow, (session_id, segment.lane_id), with_for_update=True)
            if lane is None:
                raise NotFound
            state = TranscriptState(session.transcript)
            if state is TranscriptState.PURGED:
                raise TranscriptPurged
            if session.epoch != epoch or state not in OPEN_FOR_WORDS:
                raise SessionLocked("The audio of this session was erased; nothing more is written to its transcript.")
            if sealed is not None and await db.get(SegmentRow, segment.segment_id) is None:
                if state is TranscriptState.ABSENT:
                    session.transcript = machines.move(machines.TRANSCRIPT, state, TranscriptState.LIVE).value
                db.add(
                    SegmentRow(
                        id=segment.segment_id,
                        session_id=session_id,
                        lane_id=segment.lane_id,
                        participant_id=segment.participant_id,
                        start_ms=segment.start_ms,
                        end_ms=segment.end_ms,
                        sealed=sealed,
                    )
                )
            lane.committed_through_sample = max(lane.committed_through_sample, segment.committed_through_sample)

    async def add_gap(self, session_id: str, gap: Gap) -> None:
        """Keep a stretch without words; a very short one, or a purged transcript's, is no change.

        What begins where a kept gap of that person and reason begins is that gap again: the later end stands. So is an
        interruption that overlaps a kept one: a start that was killed too had stated the same. What was stated as
        absent may prove to be lost, and the other way round: of these two the later word stands.
        """
        if gap.end_ms - gap.start_ms < MIN_GAP_MS:
            return
        async with self._db.write() as db:
            session = await self._hold(db, session_id)
            if session.transcript == TranscriptState.PURGED:
                return
            again = GapRow.start_ms == gap.start_ms
            if gap.reason is GapReason.INTERRUPTED:
                again = and_(GapRow.start_ms <= gap.end_ms, GapRow.end_ms >= gap.start_ms)
            same = select(GapRow).where(
                GapRow.session_id == session_id,
                GapRow.participant_id.is_not_distinct_from(gap.participant_id),
                GapRow.reason == gap.reason.value,
                again,
            )
            await _make_way(db, session_id, gap)
            if (kept := await db.scalar(same.limit(1))) is not None:
                kept.start_ms, kept.end_ms = min(kept.start_ms, gap.start_ms), max(kept.end_ms, gap.end_ms)
            else:
                db.add(gap_row(session_id, gap))

    async def transcript(self, session_id: str) -> Transcript:
        """All finals in the order they were spoken, with the gaps. Raises NotFound, TranscriptPurged."""
        s, g = SegmentRow, GapRow
        async with self._db.read() as db:
            session = await db.get(SessionRow, session_id)
            if session is None:
                raise NotFound
            over = session.purge_at is not None and session.purge_at <= self._clock.now()
            if session.transcript == TranscriptState.PURGED or over:
                raise TranscriptPurged
            rows = (
                await db.scalars(select(s).where(s.session_id == session_id).order_by(s.start_ms, s.end_ms, s.id))
            ).all()
            gaps = (
                await db.scalars(select(g).where(g.session_id == session_id).order_by(g.start_ms, g.end_ms, g.id))
            ).all()
            shared = await speakers_of(db, session_id)
        try:
            opened = await self._unseal_all(
                words_scope(session_id), [(segment_purpose(row.id), row.sealed) for row in rows]
            )
        except KeyDestroyed:
            raise TranscriptPurged from None
        return Transcript(
            session_id=session_id,
            segments=tuple(_spoken(segment_from_json(raw), shared) for raw in opened),
            gaps=tuple(
                Gap(r.start_ms, r.end_ms, GapReason(r.reason), r.participant_id, _sorted_reasons(r)) for r in gaps
            ),
            language=session.language,
        )

    # -- the end of a transcript ---------------------------------------------------------------------------------------

    async def purge_transcript(self, session_id: str, why: str) -> None:
        """Destroy the words key, then the rows, then what SQLite's log still holds; then issue the receipt.

        ``why`` is ``signed``, ``retention`` or ``discarded``; that of a session whose consent was taken back with what
        was captured is ``withdrawn``, whoever comes first. Every step can be run again: after a crash in between,
        :meth:`due_purges` still names the session.
        """
        async with self._db.read() as db:
            session = await db.get(SessionRow, session_id)
            if session is None:
                raise NotFound
            clinic_id = session.clinic_id
        destroyed = await asyncio.to_thread(self._vault.destroy, words_scope(session_id))
        async with self._change() as change:
            row = await change.session(session_id)
            state = TranscriptState(row.transcript)
            if state is TranscriptState.ABSENT:
                return
            if state is not TranscriptState.PURGED:
                counts = {}
                for name, table in (("segments", SegmentRow), ("gaps", GapRow)):
                    mine = table.session_id == session_id
                    counts[name] = await change.db.scalar(select(func.count()).select_from(table).where(mine)) or 0
                    await change.db.execute(delete(table).where(mine))
                row.transcript = machines.move(machines.TRANSCRIPT, state, TranscriptState.PURGED).value
                why = why if row.withdrawn_by is None else "withdrawn"
                change.tell(row, PURGED_EVENT, {"reason": why, "key_destroyed": destroyed, **counts})
        await self._db.checkpoint()
        await self._receipt_for_purge(session_id, clinic_id)
        log.info("transcript_purged", session_id=session_id, reason=why)

    async def _receipt_for_purge(self, session_id: str, clinic_id: str) -> None:
        sign = self.purge_receipt
        if sign is None or await self.receipts(session_id, kind="transcript"):
            return
        e = SessionEventRow
        query = select(e).where(e.session_id == session_id, e.kind == PURGED_EVENT)
        thrown = select(e).where(e.session_id == session_id, e.kind == "note.discarded")
        async with self._db.read() as db:
            told = (await db.scalars(query)).one()
            drafts = sum("note_id" in event.data for event in (await db.scalars(thrown)).all())
            session = await db.get_one(SessionRow, session_id)
        facts = TranscriptPurge(
            session_id=session_id,
            clinic_id=clinic_id,
            reason=told.data["reason"],
            segments=told.data["segments"],
            gaps=told.data["gaps"],
            words_key_destroyed=told.data["key_destroyed"],
            transcript_ready_at=session.transcript_ready_at,
            destroyed_at=told.at,
            drafts=drafts,
        )
        await self.add_receipt(session_id, "transcript", await asyncio.to_thread(sign, facts))

    # -- receipts ------------------------------------------------------------------------------------------------------

    async def add_receipt(self, session_id: str, kind: str, body: bytes, *, part: int = 1) -> ReceiptRecord:
        """Keep a signed receipt, one of a kind for each part of a session; the first one stays."""
        r = ReceiptRow
        async with self._change() as change:
            session = await change.session(session_id)
            query = select(r).where(r.session_id == session_id, r.kind == kind, r.part == part)
            row = (await change.db.scalars(query)).one_or_none()
            if row is None:
                made = {"session_id": session_id, "kind": kind, "part": part, "body": body, "created_at": change.now}
                row = ReceiptRow(id=new_id("rcp"), **made)
                change.db.add(row)
                change.tell(session, "receipt.issued", {"receipt_id": row.id, "kind": kind})
            return _receipt(row)

    async def receipts(self, session_id: str, *, kind: str | None = None) -> list[ReceiptRecord]:
        """The session's erasure receipts, oldest first."""
        query = select(ReceiptRow).where(ReceiptRow.session_id == session_id).order_by(ReceiptRow.created_at)
        if kind is not None:
            query = query.where(ReceiptRow.kind == kind)
        async with self._db.read() as db:
            return [_receipt(row) for row in (await db.scalars(query)).all()]


def _spoken(segment: Segment, shared: Mapping[str, tuple[Speaker, ...]]) -> Segment:
    speakers = shared.get(segment.participant_id)
    return segment if speakers is None else replace(segment, speakers=speakers)


def _receipt(row: ReceiptRow) -> ReceiptRecord:
    return ReceiptRecord(row.id, row.session_id, row.kind, row.body, row.created_at, row.part)


def gap_row(session_id: str, gap: Gap) -> GapRow:
    """The row of a gap."""
    return GapRow(
        id=new_id("gap"),
        session_id=session_id,
        participant_id=gap.participant_id,
        start_ms=gap.start_ms,
        end_ms=gap.end_ms,
        reason=gap.reason.value,
        pause_reasons=reasons_to(gap.pause_reasons),
    )


async def _make_way(db: AsyncSession, session_id: str, gap: Gap) -> None:
    """Cut out of what was stated of the same person what ``gap`` says otherwise."""
    if gap.reason not in _OTHERWISE:
        return
    overlapping = select(GapRow).where(
        GapRow.session_id == session_id,
        GapRow.participant_id.is_not_distinct_from(gap.participant_id),
        GapRow.reason == _OTHERWISE[gap.reason].value,
        GapRow.start_ms < gap.end_ms,
        GapRow.end_ms > gap.start_ms,
    )
    for row in await db.scalars(overlapping):
        if row.end_ms - gap.end_ms >= MIN_GAP_MS:
            rest = replace(gap, start_ms=gap.end_ms, end_ms=row.end_ms, reason=_OTHERWISE[gap.reason])
            db.add(gap_row(session_id, rest))
        if gap.start_ms - row.start_ms >= MIN_GAP_MS:
            row.end_ms = gap.start_ms
        else:
            await db.delete(row)


def _sorted_reasons(row: GapRow) -> tuple[Any, ...]:
    return tuple(sorted(reasons_from(row.pause_reasons)))
