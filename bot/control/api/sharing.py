"""Several named persons at one microphone, as it is declared: by the clinician, or by the platform that knows."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request, Response

from bot.control import mycopy
from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Once, Served
from bot.control.api.gives import gives
from bot.control.api.sessions import base_url, client_ref_of, copy_url, token_for
from bot.control.auth import session_for
from bot.control.capture import Action, permit
from bot.control.lobby import BOT_ID
from bot.errors import ConfigInvalid, InvalidTransition, NotFound
from bot.store.records import NewParticipant

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["sessions"])


@router.post(
    "/participants/{participant_id}/shared",
    status_code=201,
    summary="Say that somebody else sits at a participant's microphone",
    responses=gives(answers.SharedMicrophone, NotFound, InvalidTransition, status=201),
)
async def share(
    request: Request,
    session_id: str,
    participant_id: str,
    body: bodies.SharedBody,
    caller: Called,
    services: Served,
    once: Once,
) -> Response:
    """Nothing from that microphone is captured from this moment on until each of them has agreed.

    They are asked on the page where they sit, one after the other. Its words are given to none of them alone: in
    captions, transcript and note they are said by one of them. So are the words that came from it before.
    """
    record = await session_for(services, caller, session_id)
    permit(caller.actor, Action.DECLARE_SHARED)
    if body.id == BOT_ID:
        raise ConfigInvalid(f"id: {BOT_ID!r} is the bot's.")
    code = mycopy.new_code()
    person = NewParticipant(
        body.id or f"p-{secrets.token_hex(8)}",
        body.role,
        body.display_name,
        language=body.language,
        copy_code=code,
        shares_with=participant_id,
        client_ref=client_ref_of(body),
    )

    async def work() -> Answer:
        live = await services.live.of(session_id)
        made = await live.share(caller.actor, person)
        return 201, {
            "participant": views.participant(made),
            "token": token_for(services, record, made.id, made.role),
            "consent_url": copy_url(base_url(services, request), session_id, code),
        }

    return await once(work, clinic_id=record.clinic_id, who=caller.who)
