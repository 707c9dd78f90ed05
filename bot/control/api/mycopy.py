"""Somebody's own copy of what they agreed to, by a link of their own, and the withdrawal that it is good for."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bot.control import mycopy
from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Once, Served
from bot.control.api.gives import gives
from bot.control.api.sessions import base_url, copy_url
from bot.control.attesting import LINK
from bot.control.auth import at_page, session_for
from bot.control.capture import Action, Actor, ActorKind, permit
from bot.control.limits import Limit
from bot.control.mycopy import Copy
from bot.control.services import Services
from bot.errors import InvalidTransition, NotFound, Overloaded, RateLimited
from bot.events import ConsentState
from bot.store import acting

router = APIRouter(prefix="/v1", tags=["one's own copy"])

PER_ADDRESS = Limit(tries=60, window_s=60)
PER_PERSON = Limit(tries=10, window_s=3600)
"""Links that one person may have made."""


@router.post(
    "/sessions/{session_id}/participants/{participant_id}/consent-link",
    status_code=201,
    summary="Get a link to one's own copy of what one agreed to",
    responses=gives(answers.ConsentLink, NotFound, RateLimited, status=201),
)
async def link(
    request: Request, session_id: str, participant_id: str, caller: Called, services: Served, once: Once
) -> Response:
    """With the session token of the participant's own page. The link outlives it.

    Links that were given out before stay good.
    """
    record = await session_for(services, caller, session_id)
    permit(await at_page(services, caller, session_id), Action.GET_COPY, about=participant_id)
    await services.limiter.check("consent-link", f"{session_id}:{participant_id}", PER_PERSON)

    async def work() -> Answer:
        code = mycopy.new_code()
        await services.store.add_copy_link(session_id, participant_id, code)
        url = copy_url(base_url(services, request), session_id, code)
        return 201, {"participant_id": participant_id, "consent_url": url}

    return await once(work, clinic_id=record.clinic_id, who=caller.who)


@router.post(
    "/my-consent",
    summary="Read one's own copy of what one agreed to",
    responses=gives(answers.ConsentCopy, NotFound, RateLimited, Overloaded),
)
async def read(request: Request, body: bodies.CopyBody, services: Served, once: Once) -> Response:
    """The link is ``/my-consent/<session_id>#<code>``: a browser keeps the part after ``#``, and sends it here."""
    copy = await _copy(request, body, services)

    async def work() -> Answer:
        record, person = copy.record, copy.person
        await services.audit.append(record.clinic_id, "", "consent_copy.read", person.id, session_id=record.id)
        return 200, copy_view(copy)

    return await once(work, clinic_id=copy.record.clinic_id, who=_who(copy))


@router.post(
    "/my-consent/withdraw",
    summary="Withdraw one's own consent, after the call too",
    responses=gives(answers.ConsentCopy, NotFound, InvalidTransition, RateLimited, Overloaded),
)
async def withdraw(request: Request, body: bodies.CopyBody, services: Served, once: Once) -> Response:
    """Until the note is signed this stops its making, and destroys the transcript and an unsigned draft.

    A recording that runs ends with it. After signing it is recorded and passed on to the clinician, and nothing that
    was signed is destroyed. Again: no change.
    """
    copy = await _copy(request, body, services)
    session_id, person = copy.record.id, copy.person
    actor = Actor(ActorKind.PARTICIPANT, copy.record.clinic_id, role=person.role, participant_id=person.id)

    async def work() -> Answer:
        live = await services.live.of(session_id)
        await live.consent(
            actor,
            person.id,
            ConsentState.REVOKED,
            method=LINK,
            text_version="",
            message_id=None,
            seq=None,
            destroy=True,
        )
        after = await mycopy.of(services.store, await services.store.get(session_id), person.id)
        return 200, copy_view(after)

    return await once(work, clinic_id=copy.record.clinic_id, who=_who(copy))


async def _copy(request: Request, body: bodies.CopyBody, services: Services) -> Copy:
    address = request.client.host if request.client else "unknown"
    await services.limiter.check("copy-from", address, PER_ADDRESS)
    copy = await mycopy.read(services.store, body.session_id, body.code, services.clock.now())
    acting.act(copy.person.id, LINK)
    return copy


def _who(copy: Copy) -> str:
    return f"copy:{copy.record.id}:{copy.person.id}"


def copy_view(copy: Copy) -> dict[str, Any]:
    """A copy as its owner reads it."""
    record, when = copy.record, views.when
    given = views.consents(copy.person, copy.answers)
    return {
        "session_id": record.id,
        "participant": {
            "id": copy.person.id,
            "role": copy.person.role.value,
            "display_name": copy.person.display_name,
        },
        "clinic": {name: record.snapshot.get(name, "") for name in ("name", "support_contact")},
        "consent": copy.person.stands.value,
        "answers": [one | {"text": copy.texts.get(one["text_sha256"] or "")} for one in given["answers"]],
        "happened": {
            "recorded_from": when(record.captured_from),
            "recorded_to": when(record.ended_at) if record.captured_from else None,
            "audio": record.audio.value,
            "audio_destroyed_at": when(record.audio_erased_at),
            "transcript": record.transcript.value,
            "transcript_destroyed_at": when(copy.transcript_destroyed_at),
            "transcript_gone_by": when(record.purge_at),
            "note": mycopy.NOTES[record.note],
            "signed_at": when(copy.signed_at),
        },
        "withdrawal": copy.withdrawal,
        "link_until": when(copy.until),
    }
