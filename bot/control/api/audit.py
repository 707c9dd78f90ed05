"""The audit chain, for whoever administers a clinic: its own entries, and a signed head to keep elsewhere."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from bot.control.api import answers
from bot.control.api.deps import Called, Cursor, Limit, Served, page
from bot.control.api.gives import gives
from bot.control.auth import Caller, need_scope
from bot.control.capture import ActorKind
from bot.errors import Forbidden
from bot.store.audit import AuditFilter

router = APIRouter(prefix="/v1/audit", tags=["audit"])

ADMIN = "admin"
Id = Annotated[str | None, Query(max_length=128, pattern=r"^[A-Za-z0-9_.:/@+#,-]+$")]


@router.get("", summary="List audit entries, newest first", responses=gives(answers.Audit))
async def audit(
    caller: Called,
    services: Served,
    object: Annotated[Id, Query(description="Id of what it was done to, or of the session.")] = None,  # noqa: A002
    actor: Annotated[Id, Query(description="Who did it, or the id of the key by which it was done.")] = None,
    action: Annotated[Id, Query(description="Such as `note.read`.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Not before this moment.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this moment.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Who did what to which object and when, in the caller's clinic: ids only. Reading this is an entry too.

    `head` is where the chain of the whole installation ends now, signed with the key that signs receipts. Keep it
    elsewhere: `quietnote audit verify --head` shows whether the chain still contains it.
    """
    _may_read(caller)
    wanted = AuditFilter(caller.actor.clinic_id, object, actor, action, since, until)
    found, following = await services.audit.page(wanted, limit=limit, cursor=cursor)
    await services.audit.append(caller.actor.clinic_id, "", "audit.read", object or caller.actor.clinic_id)
    head = services.audit.sign(await services.audit.head())
    return page([one.as_json() for one in found], following, head=json.loads(head))


def _may_read(caller: Caller) -> None:
    """A platform's key needs the scope ``admin``, a person the role."""
    if caller.actor.kind is ActorKind.PARTICIPANT or (caller.user is not None and caller.user.role != ADMIN):
        raise Forbidden("Only an administrator of the clinic reads its audit.")
    need_scope(caller, ADMIN)
