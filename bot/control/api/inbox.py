"""The Notes inbox: what waits to be read."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from bot.control.api import answers, views
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import gives
from bot.control.auth import Caller, need_scope
from bot.control.capture import Action, ActorKind, permit
from bot.errors import Forbidden, NotFound

router = APIRouter(prefix="/v1/inbox", tags=["inbox"])


@router.get("", summary="List inbox items, newest first", responses=gives(answers.Inbox))
async def inbox(
    caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None, unread: bool = False
) -> dict[str, Any]:
    """A clinician's own items, or all of a platform's clinic; ``unread`` counts them all for the badge."""
    _may_read(caller)
    clinic_id, user_id = caller.actor.clinic_id, caller.actor.user_id
    items, following = await services.store.inbox(
        clinic_id, clinician_user_id=user_id, unread_only=unread, limit=limit, cursor=cursor
    )
    count = await services.store.inbox_unread(clinic_id, clinician_user_id=user_id)
    return page([views.inbox_item(item) for item in items], following, unread=count)


@router.post("/{item_id}/read", summary="Mark an item as read", responses=gives(answers.InboxItem, NotFound))
async def read(item_id: str, caller: Called, services: Served, once: Once) -> Response:
    """Marking it again is no change."""
    _may_read(caller)
    clinic_id = caller.actor.clinic_id

    async def work() -> Answer:
        item = await services.store.inbox_read(item_id, clinic_id=clinic_id, clinician_user_id=caller.actor.user_id)
        return 200, views.inbox_item(item)

    return await once(work, clinic_id=clinic_id, who=caller.who)


def _may_read(caller: Caller) -> None:
    """The inbox is a person's or a platform's: a session token is for one session."""
    need_scope(caller, "notes")
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("Sign in to read the inbox.")
    permit(caller.actor, Action.READ_NOTE)
