"""A session in parts: Finish ends one, and Start after it, in the same call, begins the next.

Capture and audio are machines of each part: their columns are those of the newest one, and within a part nothing
leaves a final state. Each part's sound has keys, chunks and a receipt of its own (:func:`audio_name`). Transcript and
note are the whole session's: the words of a part join the transcript, and a draft that nobody edited is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, select, update

from bot import machines
from bot.errors import InvalidTransition, SessionLocked
from bot.events import (
    AudioState,
    CaptureState,
    Gap,
    GapReason,
    NoteState,
    TranscriptState,
)
from bot.store.ground import Change, Ground
from bot.store.inbox_store import WORDS_ADDED, WORDS_LATE, put_inbox, set_aside
from bot.store.models import GapRow, LaneRow, NoteRow, SegmentRow, SessionEventRow, SessionRow
from bot.store.records import SessionRecord, session_record
from bot.store.states import set_columns
from bot.store.words import MIN_GAP_MS, gap_row

BEGINS = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING})
STARTED, RESUMED, FINISHED = "capture.started", "capture.resumed", "capture.finished"
PART = "#"
CONTINUED = "continuation"
"""Who asked for a draft to be made again, where another part's words did."""

ANOTHER = "Make another session to record on."
SIGNED = f"The note of this session is signed and its transcript deleted. {ANOTHER}"
TAKEN_BACK = f"Consent to this session was withdrawn, and what was recorded was destroyed. {ANOTHER}"
PURGED = f"The transcript of this session was deleted. {ANOTHER}"
NOT_WHOLE = f"What was recorded before could not be put into words whole, so nothing is added to it. {ANOTHER}"
UNRECORDED = f"This session ended without a recording. {ANOTHER}"
STILL_ENDING = "The last words are still being written down. Start again in a moment."


def audio_name(session_id: str, part: int) -> str:
    """What keys and chunks of one part's sound are kept under; the first part's under the session's own id."""
    return session_id if part == 1 else f"{session_id}-{part}"


def subject_of(record: SessionRecord) -> str:
    """What the workflow of a session's newest part is known by; the first part's by the session's own id."""
    return record.id if record.part == 1 else f"{record.id}{PART}{record.part}"


def of_subject(subject: str) -> tuple[str, int]:
    """The session, and the part of it, that a workflow is about."""
    session_id, _, part = subject.partition(PART)
    return session_id, int(part or 1)


def check_continues(record: SessionRecord, now: datetime) -> None:
    """Raise unless a finished session may be recorded on.

    SessionLocked where it never can again, InvalidTransition where it cannot yet, or has nothing to go on from.
    """
    if record.withdrawn_by is not None or record.note is NoteState.DISCARDED:
        raise SessionLocked(TAKEN_BACK)
    if record.note in {NoteState.SIGNED, NoteState.AMENDED}:
        raise SessionLocked(SIGNED)
    due = record.purge_at is not None and record.purge_at <= now
    if due or record.transcript is TranscriptState.PURGED:
        raise SessionLocked(PURGED)
    if record.transcript is TranscriptState.FAILED:
        raise SessionLocked(NOT_WHOLE)
    if record.captured_from is None:
        raise InvalidTransition(UNRECORDED, state=record.capture.value)
    if record.audio is AudioState.HELD or record.transcript is not TranscriptState.READY:
        raise InvalidTransition(STILL_ENDING, state=record.capture.value)


class PartStore(Ground):
    """Moves of capture, with what goes with them in the same transaction."""

    async def record_capture(
        self, session_id: str, kind: str, *, data: Mapping[str, Any], capture: CaptureState, **columns: Any
    ) -> SessionRecord:
        """Move capture, as :meth:`StateStore.change` does, and with it what depends on the part.

        What follows a finished capture begins the next part; raises as :func:`check_continues` does. The first sample
        of a later part ends the stretch in between, which becomes an entry of the transcript. At a later part's end a
        draft that lacks its words is queued again, and a discarded one takes the unsigned draft with it.
        """
        async with self._change() as change:
            row = await change.session(session_id)
            if CaptureState(row.capture) is CaptureState.FINISHED and capture in BEGINS:
                check_continues(session_record(row, None), change.now)
                await _begin(change, row)
            first = AudioState(row.audio) is AudioState.ABSENT and columns.get("audio") is AudioState.HELD
            ends = capture is not CaptureState(row.capture)
            set_columns(row, {"capture": capture, **columns}, now=change.now)
            if row.part > 1:
                data = {**data, "part": row.part}
                if first:
                    await _state_between(change, row, data["effective_at_ms"])
                if ends and capture is CaptureState.FINISHED:
                    await _end(change, row)
                if ends and capture is CaptureState.DISCARDED and NoteState(row.note) is not NoteState.ABSENT:
                    await discard_draft(change, row, {"by": data.get("by", "system"), "reason": "discarded"})
            change.tell(row, kind, data)
            return await change.record(row)

    async def between_ended(self, session_id: str, at_ms: int) -> None:
        """State that nothing was recorded up to ``at_ms``: a gate opens a moment after that was recorded."""
        g = GapRow
        last = select(g).where(g.session_id == session_id, g.reason == GapReason.OFF.value).order_by(g.start_ms.desc())
        async with self._db.write() as db:
            gap = (await db.scalars(last.limit(1))).one_or_none()
            if gap is not None:
                gap.end_ms = max(gap.end_ms, at_ms)

    async def part_written(self, session_id: str) -> SessionRecord:
        """The words of the newest part are all there: a draft that lacks them is queued again.

        One that was edited stays as it is; that words were added is told once. Idempotent.
        """
        async with self._change() as change:
            row = await change.session(session_id)
            note = await _note_of(change, session_id)
            if note is not None and NoteState(row.note) is NoteState.DRAFT and note.part < row.part:
                failed = TranscriptState(row.transcript) is TranscriptState.FAILED
                if note.part == 0 and (failed or not await _words_since(change, row)):
                    note.part = row.part  # made from what was typed, and no words came to it
                elif note.edited_at is None:
                    _queue(change, row)
                elif await _words_since(change, row):
                    why = WORDS_ADDED if note.part else WORDS_LATE
                    await put_inbox(change, row, "draft_ready", f"{why}:{note.id}:{row.part}", why)
                else:
                    note.part = row.part
            return await change.record(row)

    async def part_began(self, session_id: str) -> datetime | None:
        """When the newest part that was captured at all was captured first."""
        e = SessionEventRow
        query = select(e.at).where(e.session_id == session_id, e.kind == STARTED).order_by(e.seq.desc()).limit(1)
        async with self._db.read() as db:
            return await db.scalar(query)


async def discard_draft(change: Change, row: SessionRow, told: Mapping[str, Any]) -> None:
    """Throw an unsigned note away, with its draft, in a change under way; ``told`` says by whom and why."""
    note = await _note_of(change, row.id)
    if NoteState(row.note) is not NoteState.DISCARDED:
        row.note = machines.move(machines.NOTE, NoteState(row.note), NoteState.DISCARDED).value
    draft = {"note_id": note.id, "version": note.version} if note is not None else {}
    change.tell(row, "note.discarded", {**told, **draft})
    await change.db.execute(delete(NoteRow).where(NoteRow.session_id == row.id))
    # what told of the draft tells of nothing now
    await set_aside(change, row)


async def _begin(change: Change, row: SessionRow) -> None:
    """The next part: its machines begin anew, and so do the counts of its chunks."""
    row.part += 1
    row.capture, row.audio, row.audio_erased_at = CaptureState.OFF.value, AudioState.ABSENT.value, None
    await change.db.execute(update(LaneRow).where(LaneRow.session_id == row.id).values(hash_tree={}))


async def _state_between(change: Change, row: SessionRow, until_ms: int) -> None:
    """From where the part that was captured last ended, nothing was recorded."""
    e = SessionEventRow
    mine = e.session_id == row.id
    captured = select(func.max(e.seq)).where(mine, e.kind.in_([STARTED, RESUMED])).scalar_subquery()
    ended = select(e.data).where(mine, e.kind == FINISHED, e.seq > captured).order_by(e.seq).limit(1)
    data = await change.db.scalar(ended)
    if data is not None and until_ms - data["effective_at_ms"] >= MIN_GAP_MS:
        change.db.add(gap_row(row.id, Gap(data["effective_at_ms"], until_ms, GapReason.OFF)))


async def _end(change: Change, row: SessionRow) -> None:
    note = await _note_of(change, row.id)
    if AudioState(row.audio) is AudioState.ABSENT:  # nothing was captured, so nothing is missing from the note
        if note is not None and note.part == row.part - 1:
            note.part = row.part
        return
    behind = NoteState(row.note) is NoteState.DRAFT and note is not None and note.edited_at is None
    if behind or NoteState(row.note) is NoteState.FAILED:
        _queue(change, row)


def _queue(change: Change, row: SessionRow) -> None:
    row.note = machines.move(machines.NOTE, NoteState(row.note), NoteState.QUEUED).value
    row.failure_slug = None
    change.tell(row, "note.queued", {"by": CONTINUED, "part": row.part})


async def _words_since(change: Change, row: SessionRow) -> bool:
    e, s = SessionEventRow, SegmentRow
    began = select(e.data).where(e.session_id == row.id, e.kind == STARTED).order_by(e.seq.desc()).limit(1)
    data = await change.db.scalar(began)
    since_ms = data["effective_at_ms"] if data is not None else 0
    return bool(await change.db.scalar(select(exists().where(s.session_id == row.id, s.start_ms >= since_ms))))


async def _note_of(change: Change, session_id: str) -> NoteRow | None:
    return (await change.db.scalars(select(NoteRow).where(NoteRow.session_id == session_id))).one_or_none()
