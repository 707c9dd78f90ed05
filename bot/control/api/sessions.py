"""Sessions: made, listed, read, and what is said about them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from bot.asr.transcript import to_json
from bot.clinics import ConsentPolicy
from bot.control import mycopy
from bot.control.api import answers, bodies, onfile, views
from bot.control.api.bodies import MOST_PEOPLE
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import gives
from bot.control.auth import Caller, need_scope, session_for
from bot.control.capture import Action, ActorKind, permit
from bot.control.lobby import BOT_ID
from bot.control.services import Services
from bot.control.sharing import check_shared
from bot.control.tokens import LIFETIME
from bot.errors import (
    AppointmentMissing,
    ConfigInvalid,
    Forbidden,
    InvalidTransition,
    NotFound,
    SessionLocked,
    TranscriptPurged,
)
from bot.events import Role
from bot.store.records import NewParticipant, NewSession, SessionRecord

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

CODE_BYTES = 24
"""Randomness of an invitation's code: 192 bits."""


@router.post(
    "",
    status_code=201,
    summary="Make a session",
    responses=gives(answers.NewSession, NotFound, AppointmentMissing, status=201),
)
async def create(
    request: Request, body: bodies.NewSessionBody, caller: Called, services: Served, once: Once
) -> Response:
    """A session, and for each participant a join token and a personal link. The link carries its code as a fragment."""
    need_scope(caller, "sessions")
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("A session token is for its own session.")
    if body.clinic_id != caller.actor.clinic_id:
        raise NotFound("There is no such clinic.")
    _, clinic = await services.clinics.current(body.clinic_id)
    if clinic.mode == "integrated" and body.appointment is None:
        raise AppointmentMissing("This clinic works by appointment: name the session's.")
    new = _new_session(body, caller, services, clinic.consent)
    if body.template is None and clinic.note.template not in services.templates:
        raise ConfigInvalid("template: the clinic's own does not exist; name one of those that do.")
    services.check_language(body.language or clinic.asr.language)

    async def work() -> Answer:
        record = await services.store.create(new)
        people = await services.store.participants(record.id)
        base = base_url(services, request)
        code_of = {person.id: person.invite_code for person in new.participants}
        copy_of = {person.id: person.copy_code or "" for person in new.participants}
        join = [
            {
                "participant_id": person.id,
                "role": person.role.value,
                "token": token_for(services, record, person.id, person.role),
                "invite_url": f"{base}/join/{record.id}#{code_of[person.id]}" if code_of[person.id] else None,
                "consent_url": copy_url(base, record.id, copy_of[person.id]),
            }
            for person in people
        ]
        return 201, {"session": views.session(record, people), "join": join}

    return await once(work, clinic_id=caller.actor.clinic_id, who=caller.who)


def _new_session(
    body: bodies.NewSessionBody, caller: Caller, services: Services, policy: ConsentPolicy
) -> NewSession:
    if body.room.transport != "builtin":
        raise ConfigInvalid("room.transport: this service has built-in rooms only.")
    if body.template is not None and body.template not in services.templates:
        raise ConfigInvalid(f"template: one of {', '.join(sorted(services.templates)) or 'none is installed'}.")
    people = [_participant(one, caller) for one in body.participants]
    on_file = {made.id: one.consent for made, one in zip(people, body.participants, strict=True) if one.consent}
    if caller.user is not None and not any(one.role is Role.CLINICIAN for one in people):
        people.insert(0, _invited(caller.user.id, Role.CLINICIAN, caller.user.display_name))
    clinicians = [one.id for one in people if one.role is Role.CLINICIAN]
    if not clinicians:
        raise ConfigInvalid("participants: a session needs a clinician.")
    _check_shared(people)
    if sum(one.shares_with is None for one in people) > MOST_PEOPLE:
        raise ConfigInvalid(f"participants: a call holds {MOST_PEOPLE} pages, the clinician's among them.")
    if any(one.id == BOT_ID for one in people):
        raise ConfigInvalid(f"participants: the id {BOT_ID!r} is the bot's.")
    for place, one in enumerate(people):
        given = on_file.get(one.id)
        if given is not None:
            vouched = onfile.attestation(given, one.role, caller.actor, clinicians, policy, services.clock.now())
            people[place] = replace(one, on_file=vouched)
    appointment = body.appointment
    if appointment and appointment.starts_at and appointment.ends_at and appointment.ends_at < appointment.starts_at:
        raise ConfigInvalid("appointment.ends_at: is before appointment.starts_at.")
    return NewSession(
        clinic_id=body.clinic_id,
        transport=body.room.transport,
        room_name=body.room.name,
        mode=body.mode,
        template=body.template,
        language=body.language,
        clinician_user_id=caller.actor.user_id or clinicians[0],
        appointment_external_id=appointment.external_id if appointment else None,
        appointment_starts_at=appointment.starts_at if appointment else None,
        appointment_ends_at=appointment.ends_at if appointment else None,
        participants=tuple(people),
        made_by=caller.actor.name,
    )


def _participant(one: bodies.Participant, caller: Caller) -> NewParticipant:
    own = caller.actor.user_id if one.role is Role.CLINICIAN else None
    person_id = one.id or own or f"p-{secrets.token_hex(8)}"
    invited = _invited(person_id, one.role, one.display_name, one.language, one.shares_with)
    return replace(invited, client_ref=client_ref_of(one))


def client_ref_of(one: bodies.Participant | bodies.SharedBody) -> str | None:
    """The platform's reference of a client. Raises ConfigInvalid for one of anybody else."""
    if one.client_ref is not None and one.role is not Role.CLIENT:
        raise ConfigInvalid("client_ref: is of a participant whose role is client.")
    return one.client_ref


def _invited(
    person_id: str, role: Role, name: str, language: str | None = None, shares_with: str | None = None
) -> NewParticipant:
    """Somebody with an invitation to a page of their own, and a link to their copy of what they agree to."""
    code = _code() if shares_with is None else None
    return NewParticipant(person_id, role, name, code, language, copy_code=mycopy.new_code(), shares_with=shares_with)


def _check_shared(people: Sequence[NewParticipant]) -> None:
    by_id = {one.id: one for one in people}
    there = Counter[str]()
    for one in people:
        if one.shares_with is None:
            continue
        host = by_id.get(one.shares_with)
        if host is None:
            raise ConfigInvalid("participants.shares_with: must name a participant of this session.")
        there[host.id] += 1
        check_shared(one.role, host.role, host_shares=host.shares_with is not None, there=there[host.id])


def _code() -> str:
    return secrets.token_urlsafe(CODE_BYTES)


def token_for(services: Services, record: SessionRecord, participant_id: str, role: Role) -> str:
    """A session token that lasts until well after the appointment."""
    lifetime = LIFETIME
    if record.appointment_ends_at is not None:
        left = record.appointment_ends_at + timedelta(hours=2) - services.clock.now()
        lifetime = min(max(lifetime, left), timedelta(days=14))
    return services.tokens.issue(
        session_id=record.id,
        participant_id=participant_id,
        role=role,
        clinic_id=record.clinic_id,
        lifetime=lifetime,
    )


def copy_url(base: str, session_id: str, code: str) -> str:
    """The link to somebody's own copy of what they agreed to; its code is a fragment."""
    return f"{base}/my-consent/{session_id}#{code}"


def base_url(services: Services, request: Request) -> str:
    """Where people reach the pages."""
    settings = services.settings
    if settings.public_url or settings.port:
        return settings.base_url
    return str(request.base_url).rstrip("/")


@router.get("", summary="List sessions, newest first", responses=gives(answers.Sessions))
async def list_sessions(
    caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """A platform sees its clinic's sessions, a clinician their own."""
    need_scope(caller, "sessions")
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("A session token is for its own session.")
    records, following = await services.store.list(
        caller.actor.clinic_id, limit=limit, cursor=cursor, clinician_user_id=caller.actor.user_id
    )
    return page(await _whole(services, caller.actor.clinic_id, records), following)


async def _whole(services: Services, clinic_id: str, records: Sequence[SessionRecord]) -> list[dict[str, Any]]:
    """Sessions of one clinic with their people, lanes and warnings: one query each, however many sessions."""
    ids = [record.id for record in records]
    people = await services.store.participants_of(clinic_id, ids)
    lanes = await services.store.lanes_of(ids)
    warned = await services.store.warnings_of(ids)
    live, made = services.live.warnings, await services.store.makings(ids)
    return [
        views.session(one, people[one.id], lanes[one.id], [*warned[one.id], *live(one.id)], made.get(one.id))
        for one in records
    ]


@router.get(
    "/{session_id}",
    summary="Read a session",
    responses=gives(answers.Session | answers.ClientSession, NotFound),
)
async def read(session_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """The states of the four machines, the lanes' ledgers, timings, warnings; a client reads less."""
    record = await session_for(services, caller, session_id)
    permit(caller.actor, Action.READ_STATE)
    if not views.reads_all(caller.actor):
        people = await services.store.participants(session_id)
        own = [one for one in people if caller.actor.participant_id in {one.id, one.shares_with}]
        return views.session_for_client(record, own)
    [session] = await _whole(services, record.clinic_id, [record])
    return session


@router.get(
    "/{session_id}/transcript",
    summary="Read the transcript",
    responses=gives(answers.Transcript, NotFound, TranscriptPurged),
)
async def transcript(session_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """Segments and gaps on the call's clock; 410 once it was destroyed."""
    await session_for(services, caller, session_id)
    permit(caller.actor, Action.READ_TRANSCRIPT)
    words = await services.store.transcript(session_id)
    await services.audit.append(caller.actor.clinic_id, "", "transcript.read", session_id, session_id=session_id)
    people = await services.store.participants(session_id)
    shared: dict[str, list[str]] = {}
    for one in people:
        if one.shares_with is not None:
            shared.setdefault(one.shares_with, [one.shares_with]).append(one.id)
    return to_json(words, {one.id: one.display_name for one in people}, shared)


@router.post(
    "/{session_id}/inputs",
    status_code=201,
    summary="Add text for the note",
    responses=gives(answers.InputAdded, NotFound, SessionLocked, InvalidTransition, status=201),
)
async def add_input(
    session_id: str, body: bodies.InputBody, caller: Called, services: Served, once: Once
) -> Response:
    """Text a clinician gives the note to use, such as a summary of their own.

    `session-locked` where the note is signed or discarded, `invalid-transition` where the session was destroyed.
    """
    await session_for(services, caller, session_id)
    permit(caller.actor, Action.ADD_INPUT)

    async def work() -> Answer:
        made = await services.store.add_input(session_id, body.kind, body.text, caller.actor.name)
        return 201, {"id": made.input_id, "session_id": session_id, "kind": made.kind}

    return await once(work, clinic_id=caller.actor.clinic_id, who=caller.who)


@router.post(
    "/{session_id}/rejoin",
    summary="Join token for the session's own clinician",
    responses=gives(answers.Seat, NotFound),
)
async def rejoin(session_id: str, caller: Called, services: Served, once: Once) -> Response:
    """A signed-in clinician takes their seat again, from any browser."""
    record = await session_for(services, caller, session_id)
    if caller.actor.kind is not ActorKind.USER:
        raise Forbidden("Only a signed-in clinician can do this.")
    people = await services.store.participants(session_id)
    clinicians = [person for person in people if person.role is Role.CLINICIAN]
    own = next((p for p in clinicians if p.id == caller.actor.user_id), clinicians[0] if len(clinicians) == 1 else None)
    if own is None:
        raise NotFound

    async def work() -> Answer:
        await services.audit.append(record.clinic_id, "", "session.joined", own.id, session_id=record.id)
        token = token_for(services, record, own.id, own.role)
        return 200, {"token": token, "participant": views.participant(own)}

    return await once(work, clinic_id=caller.actor.clinic_id, who=caller.who)
