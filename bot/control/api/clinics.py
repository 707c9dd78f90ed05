"""Clinics: what an administrator configured."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

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
