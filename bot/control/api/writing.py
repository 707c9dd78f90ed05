"""What a note is made from beside the words of the call, and asking for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from bot.control.api import answers, views
from bot.control.api.deps import Answer, Called, Once, Served, page
from bot.control.api.gives import gives
from bot.control.auth import session_for
from bot.control.capture import Action, permit
from bot.errors import InvalidTransition, NotFound

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["notes"])

ASKED = ("session_id", "seq", "capture", "note", "note_id", "words")


@router.get("/inputs", summary="Read the text that was typed for the note", responses=gives(answers.Inputs, NotFound))
async def inputs(session_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """What was kept, as it was typed, for clinicians only."""
    await session_for(services, caller, session_id, scope="notes")
    permit(caller.actor, Action.READ_INPUTS)
    typed = await services.store.inputs(session_id)
    await services.audit.append(caller.actor.clinic_id, "", "inputs.read", session_id, session_id=session_id)
    return page([views.text_input(item) for item in typed], None)


@router.post(
    "/note",
    status_code=202,
    summary="Have the note written",
    responses=gives(answers.NoteAsked, NotFound, InvalidTransition, status=202),
)
async def write(session_id: str, caller: Called, services: Served, once: Once) -> Response:
    """For a session that waits for its note: its call is over or was never recorded, and there is no note yet.

    A session that was not recorded ends with this, and its note is made from what was typed. A note that could not be
    made is tried again, from the transcript where there is one and from what was typed. `invalid-transition` says in
    its detail what stands in the way: a recording that is not over, a note that is there or on its way, or that nothing
    was said or typed.
    """
    record = await session_for(services, caller, session_id, scope="notes")
    permit(caller.actor, Action.WRITE_NOTE)

    async def work() -> Answer:
        asked = await services.write_note(session_id, caller.actor.name)
        told = views.states(asked) | {"session_id": asked.id}
        return 202, {name: told[name] for name in ASKED}

    return await once(work, clinic_id=record.clinic_id, who=caller.who)
