"""Sessions, transcripts and the like as the outside reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bot.control.botrun import SET_ASIDE
from bot.control.capture import Actor
from bot.control.wording import status_words, words_for_all
from bot.errors import NoteGenerationFailed, problem_classes
from bot.events import SAMPLE_RATE_HZ, CaptureState, NoteState, Role, TextInput, TranscriptState, ms_of
from bot.notes import inbox
from bot.store.making import Making
from bot.store.records import (
    Attestation,
    ConsentRecord,
    InboxRecord,
    LaneRecord,
    NoteSummary,
    ParticipantRecord,
    ReceiptRecord,
    SessionRecord,
)

TIMES = (
    "created_at",
    "call_started_at",
    "captured_from",
    "ended_at",
    "transcript_ready_at",
    "audio_erased_at",
    "draft_ready_at",
    "purge_at",
    "erase_by",
)

SLUGS = frozenset(kind.slug for kind in problem_classes())
WARNING = ("slug", "participant_id", "since_ms")
CLIENT_STATES = ("seq", "bot", "bot_end_reason", "capture", "pause_reasons", "words")
"""What of the states everybody in the session may read."""


def when(at: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def states(record: SessionRecord) -> dict[str, Any]:
    """The four machines, and the words for them."""
    return {
        "seq": record.seq,
        "bot": record.bot.value,
        "bot_end_reason": record.bot_end_reason.value if record.bot_end_reason else None,
        "capture": record.capture.value,
        "pause_reasons": sorted(reason.value for reason in record.pause_reasons),
        "audio": record.audio.value,
        "transcript": record.transcript.value,
        "note": record.note.value,
        "note_id": record.note_id,
        "withdrawn_by": record.withdrawn_by,
        "part": record.part,
        "words": status_words(
            record.capture, record.transcript, record.note, failed=record.failure_slug is not None
        ),
    }


def states_for_client(record: SessionRecord) -> dict[str, Any]:
    """What of the states everybody in the session may read: the bot's and the recording's, not the note's."""
    full = states(record)
    return {name: full[name] for name in CLIENT_STATES} | {"words": words_for_all(full["words"])}


def session(
    record: SessionRecord,
    participants: Sequence[ParticipantRecord] = (),
    lanes: Sequence[LaneRecord] = (),
    warned: Sequence[Mapping[str, Any]] = (),
    made: Making | None = None,
) -> dict[str, Any]:
    """A session as its clinician and its platform read it.

    ``warned`` is what the pages were warned of, ``made`` how far its end is.
    """
    return {
        "id": record.id,
        "clinic_id": record.clinic_id,
        "clinic_version": record.clinic_version,
        "clinician_id": record.clinician_user_id,
        "room": {"transport": record.transport, "name": record.room_name},
        "mode": record.mode,
        "template": record.template,
        "language": record.language,
        "appointment": _appointment(record),
        **states(record),
        "failure_slug": failure_slug(record),
        "failure_cause": record.failure_slug,
        "making": making(record, made),
        "support_contact": record.snapshot.get("support_contact", ""),
        "participants": [participant(person) for person in participants],
        "lanes": [lane(one) for one in lanes],
        "warnings": warnings(record, lanes, warned),
        **{name: when(getattr(record, name)) for name in TIMES},
    }


def making(record: SessionRecord, made: Making | None) -> dict[str, Any] | None:
    """How far the end of a session is, while something is still to be made; null otherwise."""
    waits = record.transcript is TranscriptState.LIVE or record.note in {NoteState.QUEUED, NoteState.GENERATING}
    if made is None or record.capture is not CaptureState.FINISHED or not waits:
        return None
    return {
        "step": made.step,
        "done": made.done,
        "total": made.total,
        "at": when(made.at),
        "tries": made.tries,
        "tried_at": when(made.tried_at),
    }


def failure_slug(record: SessionRecord) -> str | None:
    """The contract's slug for what failed. The record keeps the finer cause, where there is one."""
    cause = record.failure_slug
    return cause if cause is None or cause in SLUGS else NoteGenerationFailed.slug


def session_for_client(record: SessionRecord, own: Sequence[ParticipantRecord]) -> dict[str, Any]:
    """A session as everybody else in it reads it: the bot's state and the consent of their own page, nothing more."""
    return {"id": record.id, **states_for_client(record), "participants": [participant(one) for one in own]}


def participant(person: ParticipantRecord) -> dict[str, Any]:
    """Somebody invited."""
    return {
        "id": person.id,
        "role": person.role.value,
        "display_name": person.display_name,
        "consent": person.stands.value,
        "language": person.language,
        "shares_with": person.shares_with,
        "admitted": person.admitted or person.role is Role.CLINICIAN,
    }


def consents(person: ParticipantRecord, given: Sequence[ConsentRecord]) -> dict[str, Any]:
    """What somebody answered, and how it stands."""
    return {
        "participant_id": person.id,
        "consent": person.stands.value,
        "answers": [
            {
                "decision": one.decision.value,
                "method": one.method,
                "text_version": one.text_version or None,
                "text_sha256": one.text_sha256 or None,
                "language": one.language or None,
                "by": one.by,
                "at": when(one.at),
                "attested": _attested(one.attestation) if one.attestation else None,
            }
            for one in given
        ],
    }


def _attested(by: Attestation) -> dict[str, Any]:
    return {
        "attested_by": by.attested_by,
        "date": by.signed_on.isoformat() if by.signed_on else None,
        "document_id": by.document_id,
        "until": when(by.until),
    }


def lane(record: LaneRecord) -> dict[str, Any]:
    """A lane with its exact account, in samples."""
    return {
        "id": record.id,
        "participant_id": record.participant_id,
        "role": record.role.value,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "ledger": asdict(record.ledger),
        "ledger_closes": record.ledger.closes,
        "committed_through_sample": record.committed_through_sample,
    }


def warnings(
    record: SessionRecord, lanes: Sequence[LaneRecord], warned: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What a reader of the session should know of its sound: what its figures show, then what was warned of."""
    found: list[dict[str, Any]] = []
    for one in lanes:
        if one.ledger.lost:
            lost = {"slug": "audio-lost", "participant_id": one.participant_id, "ms": ms_of(one.ledger.lost)}
            found.append(lost)
        if record.capture in {CaptureState.FINISHED, CaptureState.DISCARDED} and not one.ledger.closes:
            found.append({"slug": "ledger-open", "participant_id": one.participant_id})
    if record.failure_slug:
        found.append({"slug": failure_slug(record), "participant_id": None})
    over = {one["slug"] for one in found}
    if record.transcript not in {TranscriptState.ABSENT, TranscriptState.LIVE}:
        over.add(SET_ASIDE)  # tried again: the words are there, or the session has failed
    told = {(one["slug"], one["participant_id"]): one for one in reversed(warned) if one["slug"] not in over}
    found += [{name: one[name] for name in WARNING} for one in reversed(told.values())]
    return found


def _appointment(record: SessionRecord) -> dict[str, Any] | None:
    if record.appointment_external_id is None:
        return None
    return {
        "external_id": record.appointment_external_id,
        "starts_at": when(record.appointment_starts_at),
        "ends_at": when(record.appointment_ends_at),
    }


def inbox_item(item: InboxRecord, contact: str) -> dict[str, Any]:
    """An item of the Notes inbox; ``contact`` is whom the clinic names for what failed."""
    return {
        "id": item.id,
        "kind": item.kind,
        "session_id": item.session_id,
        "note_id": item.note_id,
        "created_at": when(item.created_at),
        "read": item.read_at is not None,
        "reason": item.reason_slug,
        "text": inbox.reason_of(item.kind, item.reason_slug),
        "support": {"reference": item.session_id, "contact": contact} if item.kind == "failed" else None,
    }


def note_summary(summary: NoteSummary) -> dict[str, Any]:
    """A line of the list of notes."""
    return {
        "session_id": summary.session_id,
        "note_id": summary.note_id,
        "state": summary.state.value,
        "transcript": summary.transcript.value,
        "inputs": summary.inputs,
        "withdrawn": summary.withdrawn,
        "reason": summary.failure_slug,
        "created_at": when(summary.session_created_at),
        "ended_at": when(summary.ended_at),
        "signed_at": when(summary.signed_at),
    }


def text_input(item: TextInput) -> dict[str, Any]:
    """Text that was typed for a note."""
    return {"id": item.input_id, "kind": item.kind, "text": item.text, "author_id": item.author_id}


def receipt(record: ReceiptRecord, statement: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt: where its exact bytes are, and what it says."""
    return {
        "id": record.id,
        "session_id": record.session_id,
        "kind": record.kind,
        "created_at": when(record.created_at),
        "href": f"/v1/sessions/{record.session_id}/receipts/{record.id}",
        "receipt": dict(statement),
    }


def reads_all(actor: Actor) -> bool:
    """True for those who may read a session whole: its clinician, and the platform."""
    return actor.role is Role.CLINICIAN or actor.participant_id is None
