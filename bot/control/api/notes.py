"""Notes: listed, read, signed."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import ETAG, gives
from bot.control.auth import Caller, need_scope, session_for
from bot.control.capture import Action, ActorKind, permit
from bot.control.services import Services
from bot.errors import ConfigInvalid, Forbidden, InvalidTransition, NotFound, PreconditionFailed, SessionLocked
from bot.store.records import NoteRecord

router = APIRouter(prefix="/v1/notes", tags=["notes"])

_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')
IfMatch = Annotated[str | None, Header(alias="If-Match", description="The `ETag` that reading the note gave.")]


@router.get("", summary="List notes, newest session first", responses=gives(answers.Notes))
async def list_notes(
    caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """Sessions that have, or may yet get, a note: ids, states and times."""
    need_scope(caller, "notes")
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("Sign in to list notes.")
    permit(caller.actor, Action.READ_NOTE)
    summaries, following = await services.store.notes(
        caller.actor.clinic_id, clinician_user_id=caller.actor.user_id, limit=limit, cursor=cursor
    )
    return page([views.note_summary(summary) for summary in summaries], following)


@router.get("/{note_id}", summary="Read a note", responses=gives(answers.Note, NotFound, headers=ETAG))
async def read(note_id: str, response: Response, caller: Called, services: Served) -> dict[str, Any]:
    """Sections, sentences, and each sentence's evidence. The ``ETag`` is the note's version."""
    note = await _note_for(services, caller, note_id)
    permit(caller.actor, Action.READ_NOTE)
    await services.audit.append(
        note.clinic_id, "", "note.read", note.id, session_id=note.session_id, detail=str(note.version)
    )
    response.headers["ETag"] = f'"{note.version}"'
    return note_view(note)


@router.post(
    "/{note_id}/sign",
    summary="Sign a note",
    responses=gives(answers.Note, NotFound, InvalidTransition, SessionLocked, PreconditionFailed),
)
async def sign(
    note_id: str,
    caller: Called,
    services: Served,
    once: Once,
    if_match: IfMatch = None,
    body: bodies.SignBody | None = None,
) -> Response:
    """Closes the note and destroys the transcript.

    Needs the clinician's own session, or a session token that names them; a platform's key never signs. ``If-Match``
    or ``version`` says which version was read.
    """
    note = await _note_for(services, caller, note_id)
    permit(caller.actor, Action.SIGN)
    version = _version(if_match, body)

    async def work() -> Answer:
        signed = await services.store.sign(
            note.id, caller.actor.name, clinic_id=caller.actor.clinic_id, version=version
        )
        return 200, note_view(signed)

    return await once(work, clinic_id=caller.actor.clinic_id, who=caller.who)


async def _note_for(services: Services, caller: Caller, note_id: str) -> NoteRecord:
    """The note, if it is the caller's to see: its session decides. Raises NotFound."""
    need_scope(caller, "notes")
    note = await services.store.note(note_id, clinic_id=caller.actor.clinic_id)
    await session_for(services, caller, note.session_id, scope="notes")
    return note


def _version(header: str | None, body: bodies.SignBody | None) -> int | None:
    if header is None or header.strip() == "*":
        return body.version if body is not None else None
    match = _ETAG.fullmatch(header.strip())
    if match is None:
        raise ConfigInvalid("If-Match: must be the ETag that reading the note gave.")
    return int(match[1])


def note_view(note: NoteRecord) -> dict[str, Any]:
    """A note as the outside reads it: its content, and how it stands."""
    content = json.loads(note.content)
    return {
        **content,
        "id": note.id,
        "session_id": note.session_id,
        "state": note.state.value,
        "version": note.version,
        "edited": note.edited,
        "words_added": note.words_added,
        "created_at": views.when(note.created_at),
        "signed_at": views.when(note.signed_at),
        "signed_by": note.signed_by,
        "content_sha256": note.content_sha256,
        "purge_at": views.when(note.purge_at),
    }
