"""The Notes inbox: what waits to be read, and a stream that keeps badge and list up to date.

    event: inbox   id: <number>   {"seq", "unread", "items"}   what changed in the reader's inbox
    event: moved                  {"type", "session_id"}       a session's line in the list of notes has changed

``Last-Event-ID`` resumes: every item that changed since then, as it is now. What changes in another process is told
over the bus, in ids; without it, it is seen at the next sign of life.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response

from bot.control.api import answers, views
from bot.control.api.answers.stream import INBOX_EVENTS
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import gives
from bot.control.api.streaming import EVENT_STREAM, Hub, Stream, after_of, frame
from bot.control.auth import Caller, need_scope
from bot.control.capture import Action, ActorKind, permit
from bot.control.services import Services
from bot.errors import Forbidden, NotFound, QuietnoteError
from bot.events import SessionEvent
from bot.store.bus import inbox_channel
from bot.store.inbox_store import PLATFORM

log = structlog.get_logger()

router = APIRouter(prefix="/v1/inbox", tags=["inbox"])

MOVES = ("capture.", "transcript.", "note.", "inbox.")
"""Kinds of events that change a line of the list of notes, or the inbox."""
DESCRIBED: Mapping[str, Any] = {
    "schema": {
        "type": "string",
        "description": "Blocks of `event:`, `data:` (JSON on one line) and, for `inbox`, `id:`. The events: "
        + ", ".join(f"`{name}` ({model.__name__})" for name, model in INBOX_EVENTS.items())
        + ". A comment, `: heartbeat`, comes while nothing else does; `retry:` (milliseconds) stands first.",
    },
    "x-events": {name: {"$ref": f"#/components/schemas/{model.__name__}"} for name, model in INBOX_EVENTS.items()},
    "example": 'id: 7\nevent: inbox\ndata: {"seq": 7, "unread": 1, "items": []}\n\n',
}


@router.get("", summary="List inbox items, newest first", responses=gives(answers.Inbox))
async def inbox(
    caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None, unread: bool = False
) -> dict[str, Any]:
    """A clinician's own items, or all of a platform's clinic; ``unread`` counts them all for the badge."""
    _may_read(caller)
    clinic_id, mine = caller.actor.clinic_id, whose(caller)
    items, following = await services.store.inbox(clinic_id, **mine, unread_only=unread, limit=limit, cursor=cursor)
    count = await services.store.inbox_unread(clinic_id, **mine)
    contact = await contact_of(services, clinic_id)
    return page([views.inbox_item(item, contact) for item in items], following, unread=count)


@router.post("/{item_id}/read", summary="Mark an item as read", responses=gives(answers.InboxItem, NotFound))
async def read(request: Request, item_id: str, caller: Called, services: Served, once: Once) -> Response:
    """For whoever asks; for others it stays as it was. Marking it again is no change."""
    _may_read(caller)
    clinic_id = caller.actor.clinic_id
    hub: InboxHub = request.app.state.inbox

    async def work() -> Answer:
        item = await services.store.inbox_read(item_id, clinic_id=clinic_id, **whose(caller))
        hub.was_read(clinic_id)
        return 200, views.inbox_item(item, await contact_of(services, clinic_id))

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.get(
    "/events",
    summary="Follow the inbox by server-sent events",
    response_class=Response,
    responses=gives(None, says="A stream of events until the reader goes, or its credentials end.")
    | {200: {"content": {EVENT_STREAM: DESCRIBED}}},
)
async def events(
    request: Request,
    caller: Called,
    services: Served,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=20, description="The last `id` that was read: resumes after it."),
    ] = None,
) -> Response:
    """The badge, items as they come, and which line of the list of notes has changed."""
    _may_read(caller)
    after = after_of(last_event_id)
    hub: InboxHub = request.app.state.inbox
    hub.admit(services.limits.streams - request.app.state.streams.count)
    return InboxStream(services, hub, caller, after=after)


def whose(caller: Caller) -> dict[str, Any]:
    """Whose items, and whose read state, a caller sees."""
    return {"clinician_user_id": caller.actor.user_id, "reader": caller.actor.user_id or PLATFORM}


async def contact_of(services: Services, clinic_id: str) -> str:
    """Whom the clinic names for what failed."""
    return (await services.clinics.current(clinic_id))[1].support_contact


def _may_read(caller: Caller) -> None:
    """The inbox is a person's or a platform's: a session token is for one session."""
    need_scope(caller, "notes")
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("Sign in to read the inbox.")
    permit(caller.actor, Action.READ_NOTE)


class InboxHub(Hub):
    """The open inboxes of this process, and what it tells the others."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._me = secrets.token_hex(8)
        self._tasks: set[asyncio.Task[None]] = set()

    def on_event(self, event: SessionEvent) -> None:
        """A change was committed here."""
        if event.kind.startswith(MOVES):
            self._spawn(self._moved(event.session_id))

    def was_read(self, clinic_id: str) -> None:
        """Somebody read an item: their other pages are told."""
        self._spawn(self._tell(clinic_id, {}))

    async def end(self) -> None:
        """Wait for what is being told."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_own(self, message: Mapping[str, Any]) -> bool:
        """True for what this process told: its streams know it already."""
        return message.get("from") == self._me

    async def _moved(self, session_id: str) -> None:
        clinic_id, clinician = await self._services.store.whose(session_id)
        await self._tell(clinic_id, {"session_id": session_id, "clinician": clinician})

    async def _tell(self, clinic_id: str, moved: Mapping[str, Any]) -> None:
        for stream in self.about(clinic_id):
            assert isinstance(stream, InboxStream)
            stream.learn(moved)
        message = json.dumps({**moved, "from": self._me}).encode()
        await self._services.bus.publish(inbox_channel(clinic_id), message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if not self.count and not self._services.settings.is_shared:  # nobody follows
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guarded(work), name="inbox-tell")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except QuietnoteError as error:
            log.warning("inbox_not_told", error=type(error).__name__)  # seen at the next sign of life


class InboxStream(Stream):
    """One open inbox."""

    def __init__(self, services: Services, hub: InboxHub, caller: Caller, *, after: int | None) -> None:
        clinic_id = caller.actor.clinic_id
        super().__init__(services, hub, caller, clinic_id, inbox_channel(clinic_id))
        self._inbox = hub
        self._mine = whose(caller)
        self._after = after

    def learn(self, moved: Mapping[str, Any]) -> None:
        """Something moved in the clinic: told on if it is in this reader's list, and looked after in any case."""
        clinician = self._mine["clinician_user_id"]
        if "session_id" in moved and clinician in {None, moved["clinician"]}:
            self._outbox.put({"type": "moved", "session_id": moved["session_id"]})
        self.poke()

    async def _greeting(self) -> AsyncIterator[str]:
        async for text in self._news(always=True):
            yield text

    async def _changes(self) -> AsyncIterator[str]:
        async for text in self._news():
            yield text

    async def _news(self, *, always: bool = False) -> AsyncIterator[str]:
        news = await self._services.store.inbox_since(self.subject, self._after, **self._mine)
        self._after = news.seq
        if always or news.items:
            contact = await contact_of(self._services, self.subject)
            items = [views.inbox_item(item, contact) for item in news.items]
            yield frame("inbox", {"seq": news.seq, "unread": news.unread, "items": items}, event_id=news.seq)

    async def _heard(self, message: bytes) -> None:
        try:
            moved = json.loads(message)
        except ValueError:
            return
        if isinstance(moved, dict) and not self._inbox.is_own(moved):
            self.learn(moved)
