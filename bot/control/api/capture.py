"""Recording by HTTP: the capture machine, consent, and the waiting room. The in-call messages end in the same place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Response

from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Once, Served
from bot.control.api.gives import gives
from bot.control.attesting import VERBAL
from bot.control.auth import Caller, at_page, session_for
from bot.control.capture import Ack, Action, Actor, ActorKind, consent_action, permit
from bot.control.services import Services
from bot.errors import (
    AiFeaturesDisabled,
    ClientNotPresent,
    ConfigInvalid,
    Forbidden,
    IdempotencyConflict,
    InvalidTransition,
    NotFound,
    PreconditionFailed,
)
from bot.events import ConsentState, Role
from bot.store.records import SessionRecord

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["capture"])


@router.post(
    "/capture",
    summary="Start, pause, resume, finish or discard",
    responses=gives(
        answers.Acknowledged, AiFeaturesDisabled, NotFound, InvalidTransition, ClientNotPresent, IdempotencyConflict,
        PreconditionFailed,
    ),
)
async def capture(
    session_id: str, body: bodies.CaptureBody, caller: Called, services: Served, once: Once
) -> Response:
    """The answer's ``effective_at_ms`` is on the call's clock; nothing said after it is kept while paused."""
    record = await session_for(services, caller, session_id)
    permit(caller.actor, Action.CAPTURE)
    actor = await _acting(services, caller, record, body.clinician_id)

    async def work() -> Answer:
        live = await services.live.of(session_id)
        ack = await live.capture(actor, body.action, message_id=body.message_id, seq=body.seq)
        return 200, acknowledged(ack)

    return await once(work, clinic_id=record.clinic_id, who=caller.who)


async def _acting(services: Services, caller: Caller, record: SessionRecord, clinician_id: str | None) -> Actor:
    """For whom the caller acts. A platform names the clinician, unless there is only one."""
    if caller.actor.kind is not ActorKind.PLATFORM:
        if clinician_id not in {None, caller.actor.participant_id, caller.actor.user_id}:
            raise Forbidden("You act for yourself only.")
        return caller.actor
    people = await services.store.participants(record.id)
    clinicians = [person.id for person in people if person.role is Role.CLINICIAN]
    if clinician_id is None and len(clinicians) == 1:
        clinician_id = clinicians[0]
    if clinician_id not in clinicians:
        raise ConfigInvalid("clinician_id: must name a clinician of this session.")
    return replace(caller.actor, participant_id=clinician_id)


@router.put(
    "/participants/{participant_id}/consent",
    summary="Give, refuse or withdraw one's own consent",
    responses=gives(answers.ConsentAcknowledged, NotFound, InvalidTransition, IdempotencyConflict, PreconditionFailed),
)
async def consent(
    session_id: str, participant_id: str, body: bodies.ConsentBody, caller: Called, services: Served
) -> dict[str, Any]:
    """Only the participant's own session token may do this: nobody answers for somebody else.

    Those who share a page and a microphone each answer there, with the token of that page.

    Where the clinic allows it, a clinician's token may attest by the method `verbal_attested` that somebody else said
    yes aloud in this call. What somebody said no to themselves cannot be attested away.
    """
    await session_for(services, caller, session_id)
    decision = ConsentState(body.decision)
    action = consent_action(decision, aloud=body.method == VERBAL, destroy=body.destroy)
    actor = await at_page(services, caller, session_id)
    permit(actor, action, about=participant_id)
    live = await services.live.of(session_id)
    ack = await live.consent(
        actor,
        participant_id,
        decision,
        method=body.method,
        text_version=body.text_version,
        message_id=body.message_id,
        seq=body.seq,
        destroy=body.destroy,
    )
    now = await services.store.participant(session_id, participant_id)
    return {"participant_id": participant_id, "consent": now.stands.value, **acknowledged(ack)}


@router.get(
    "/participants/{participant_id}/consent",
    summary="Read what somebody answered, and when",
    responses=gives(answers.ConsentAnswers, NotFound),
)
async def consents(session_id: str, participant_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """Every answer in order, the first one first. Others than clinicians read their own."""
    await session_for(services, caller, session_id)
    permit(await at_page(services, caller, session_id), Action.READ_CONSENT, about=participant_id)
    person = await services.store.participant(session_id, participant_id)
    given = [one for one in await services.store.consents(session_id) if one.participant_id == participant_id]
    await services.audit.append(caller.actor.clinic_id, "", "consent.read", participant_id, session_id=session_id)
    return views.consents(person, given)


@router.post(
    "/participants/{participant_id}/admit",
    summary="Let somebody in from the waiting room",
    responses=gives(answers.Admitted, NotFound),
)
async def admit(session_id: str, participant_id: str, caller: Called, services: Served, once: Once) -> Response:
    """Letting in somebody who is in already is no change."""
    record = await session_for(services, caller, session_id)
    permit(caller.actor, Action.ADMIT)
    if all(person.id != participant_id for person in await services.store.participants(session_id)):
        raise NotFound("Nobody of that id is invited to this session.")

    async def work() -> Answer:
        live = await services.live.of(session_id)
        await live.admit(caller.actor, participant_id)
        return 200, {"participant_id": participant_id, "admitted": True}

    return await once(work, clinic_id=record.clinic_id, who=caller.who)


def acknowledged(ack: Ack) -> dict[str, Any]:
    """An ack as HTTP answers it."""
    return {"state": ack.state.value, "effective_at_ms": ack.effective_at_ms, "seq": ack.seq}
