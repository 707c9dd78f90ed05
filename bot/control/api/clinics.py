"""Clinics: what an administrator configured."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from bot.control import consentform
from bot.control.api import answers
from bot.control.api.deps import Called, Served
from bot.control.api.gives import ETAG, gives
from bot.control.auth import need_scope
from bot.control.capture import ActorKind
from bot.errors import Forbidden, NotFound

router = APIRouter(prefix="/v1/clinics", tags=["clinics"])


@router.get(
    "/{clinic_id}/config",
    summary="Read a clinic's configuration",
    responses=gives(answers.ClinicConfiguration, NotFound, headers=ETAG),
)
async def config(clinic_id: str, response: Response, caller: Called, services: Served) -> dict[str, Any]:
    """The current version. The ``ETag`` is its number."""
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("A session token does not reach the clinic's configuration.")
    need_scope(caller, "admin")
    if clinic_id != caller.actor.clinic_id:
        raise NotFound("There is no such clinic.")
    version, current = await services.clinics.current(clinic_id)
    response.headers["ETag"] = f'"{version}"'
    return {"clinic_id": clinic_id, "version": version, "config": current.model_dump(mode="json")}


@router.get(
    "/{clinic_id}/consent-form",
    summary="Read the clinic's consent form, to print and sign",
    responses=gives(answers.ConsentForm, NotFound),
)
async def consent_form(
    clinic_id: str,
    caller: Called,
    services: Served,
    lang: Annotated[
        str,
        Query(max_length=35, description="A BCP 47 tag. Not there in it: the clinic's own, else English."),
    ] = "",
) -> dict[str, Any]:
    """Filled from the clinic's settings as they are now. Its `version` is what an attestation on file names."""
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("A session token does not reach the clinic's forms.")
    need_scope(caller, "sessions")
    if clinic_id != caller.actor.clinic_id:
        raise NotFound("There is no such clinic.")
    version, clinic = await services.clinics.current(clinic_id)
    form = consentform.choose(services.forms, lang, clinic)
    if form is None:
        raise NotFound("No consent form is installed: the configuration has none in consent/.")
    languages = [{"language": one.language, "name": one.name} for one in services.forms.values()]
    return form.fill(clinic, version) | {"languages": languages}
