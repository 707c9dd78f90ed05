"""What a note may be made from, and when one may be asked for.

Its words are those of the transcript and those that were typed. Of a recording that could not be put into words whole,
or whose words are gone, nothing is used: the note is made from what was typed alone, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.errors import InvalidTransition, TranscriptPurged
from bot.events import SAMPLE_RATE_HZ, CaptureState, NoteRequest, NoteState, Transcript, TranscriptState
from bot.store.sessions import SessionRecord, SessionStore

USED = frozenset({TranscriptState.LIVE, TranscriptState.READY})
"""Transcripts that a note is made from."""

NO_AUDIO = "capture-no-audio"
"""Nothing was captured, so there is no note."""
NO_WORDS = "audio-too-short"
"""Sound was captured and nothing was said in it, so there is no note."""

NOT_OVER = "The recording is not over. Finish or discard it first."
TAKEN_BACK = "Consent was withdrawn, and what was recorded was destroyed. A Summary Only session can still get a note."
THROWN_AWAY = "This session was discarded; no note can be made of it."
UNDER_WAY = "The recording is still being put into words. Its note follows by itself."
NOTHING = "Nothing was said or typed in this session that a note could be made from. Type a summary first."
STANDS: Mapping[NoteState, str] = {
    NoteState.QUEUED: "The note is being made already.",
    NoteState.GENERATING: "The note is being made already.",
    NoteState.DRAFT: "There is a draft already.",
    NoteState.SIGNED: "The note was signed already.",
    NoteState.AMENDED: "The note was signed already.",
    NoteState.DISCARDED: "The note was discarded.",
}
"""What stands in the way of another note."""


async def gather(store: SessionStore, record: SessionRecord) -> NoteRequest:
    """All that a writer may know of the session."""
    captured = max((lane.ledger.captured for lane in await store.lanes(record.id)), default=0)
    facts = {
        "minutes_captured": str(round(captured / SAMPLE_RATE_HZ / 60)),
        "participants": ", ".join(sorted({p.role.value for p in await store.participants(record.id)})),
    }
    if record.captured_from is not None:
        facts["started_at"] = record.captured_from.isoformat(timespec="minutes")
    return NoteRequest(
        session_id=record.id,
        transcript=await _words(store, record),
        template_id=record.template,
        inputs=tuple(await store.inputs(record.id)),
        language=record.language,
        facts=facts,
    )


async def _words(store: SessionStore, record: SessionRecord) -> Transcript:
    if record.transcript in USED and not await is_delayed(store, record):
        try:
            return await store.transcript(record.id)
        except TranscriptPurged:
            pass
    return Transcript(record.id, (), language=record.language)


def is_there(request: NoteRequest) -> bool:
    """True when there is anything to write from."""
    return bool(request.transcript.segments) or any(item.text.strip() for item in request.inputs)


async def why_no_words(store: SessionStore, session_id: str) -> str | None:
    """The slug of why there is nothing to write from; None where something was typed."""
    if await store.inputs(session_id):
        return None
    return NO_WORDS if any(lane.ledger.captured for lane in await store.lanes(session_id)) else NO_AUDIO


async def is_delayed(store: SessionStore, record: SessionRecord) -> bool:
    """True while a recording could not be put into words yet and is tried again by and by."""
    if record.transcript is not TranscriptState.LIVE or record.capture is not CaptureState.FINISHED:
        return False
    making = await store.making(record.id)
    return making is not None and making.tries > 0


def refuse(record: SessionRecord, *, running: bool, delayed: bool = False) -> None:
    """Raise :class:`InvalidTransition` where no note may be asked for.

    ``running``: the session is being dealt with; ``delayed``: its words are tried again later, and a note from what was
    typed need not wait for them.
    """
    if record.withdrawn_by is not None:
        raise InvalidTransition(TAKEN_BACK, state=record.note.value)
    if record.capture is CaptureState.DISCARDED:
        raise InvalidTransition(THROWN_AWAY, state=record.capture.value)
    if record.capture not in {CaptureState.OFF, CaptureState.FINISHED}:
        raise InvalidTransition(NOT_OVER, state=record.capture.value)
    if record.note in STANDS:
        raise InvalidTransition(STANDS[record.note], state=record.note.value)
    if delayed and record.part == 1:
        return
    if record.transcript is TranscriptState.LIVE or (running and undecided(record)):
        raise InvalidTransition(UNDER_WAY, state=record.transcript.value)


def undecided(record: SessionRecord) -> bool:
    """True while it is not known yet whether a finished session gets a note by itself."""
    finished = record.capture is CaptureState.FINISHED
    return finished and record.note is NoteState.ABSENT and record.failure_slug is None
