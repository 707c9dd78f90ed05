"""Joining by a personal link: its code becomes a session token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Once, Served
from bot.control.api.gives import gives
from bot.control.api.sessions import token_for
from bot.control.limits import Limit
from bot.errors import NotFound, Overloaded, RateLimited
from bot.store import acting

router = APIRouter(tags=["joining"])

PER_ADDRESS = Limit(tries=60, window_s=60)
NOT_VALID = "This link is not valid. Ask for a new one."


@router.post(
    "/v1/join",
    summary="Join with the code of a personal link",
    responses=gives(answers.Seat, NotFound, RateLimited, Overloaded),
)
async def join(request: Request, body: bodies.JoinBody, services: Served, once: Once) -> Response:
    """The link is ``/join/<session_id>#<code>``: a browser keeps the part after ``#`` to itself, and sends it here."""
    address = request.client.host if request.client else "unknown"
    await services.limiter.check("join-from", address, PER_ADDRESS)
    try:
        record = await services.store.get(body.session_id)
    except NotFound:
        raise NotFound(NOT_VALID) from None
    try:
        person = await services.store.participant_by_invite(body.session_id, body.code)
    except NotFound:
        refused = "session.join_refused"
        await services.audit.append(record.clinic_id, "unknown", refused, record.id, session_id=record.id)
        raise NotFound(NOT_VALID) from None
    acting.act(person.id, "link")

    async def work() -> Answer:
        await services.audit.append(record.clinic_id, "", "session.joined", person.id, session_id=record.id)
        return 200, {
            "token": token_for(services, record, person.id, person.role),
            "participant": views.participant(person),
        }

    return await once(work, clinic_id=record.clinic_id, who=f"invite:{record.id}:{person.id}")
