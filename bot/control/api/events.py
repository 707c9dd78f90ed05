"""Server-sent events of one session: changes of state, captions, levels, progress.

    event: change    id: <seq>   {"seq", "kind", "at", "data"}     a row of the session's log
    event: state     id: <seq>   the four machines as they stand now
    event: caption   levels, ledger, warning, progress             live, as the room's WebSocket words them

``Last-Event-ID`` resumes: every change since then, the state, and all finals again, rebuilt from the database; a
reader knows a final it already has by its ``segment_id``. Partials are not made up for. What is live travels on the
bus; without it the changes still come.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response

from bot.clinics import ClinicConfig
from bot.control import channel
from bot.control.api import views
from bot.control.api.answers.stream import EVENTS
from bot.control.api.deps import Called, Served
from bot.control.api.gives import gives
from bot.control.api.streaming import EVENT_STREAM, Hub, Stream, after_of, frame
from bot.control.auth import Caller, session_for
from bot.control.capture import Action, permit
from bot.control.services import Services
from bot.control.telling import SEEN_BY
from bot.errors import NotFound, TranscriptPurged
from bot.events import CaptureState, SessionEvent
from bot.store.bus import live_channel
from bot.store.ground import words_scope
from bot.store.records import SessionRecord
from bot.store.vault import KeyDestroyed, SealBroken

log = structlog.get_logger()

router = APIRouter(tags=["sessions"])

LIVE_PURPOSE = "live"
"""Vault purpose of what travels on the bus."""
FORWARDED = frozenset({"caption", "levels", "ledger", "lag", "warning", "progress"})
BATCH = 500
"""Changes read from the database at once."""
DESCRIBED: Mapping[str, Any] = {
    "schema": {
        "type": "string",
        "description": "Blocks of `event:`, `data:` (JSON on one line) and, for `change` and `state`, `id:`. The "
        "events: "
        + ", ".join(f"`{name}` ({model.__name__})" for name, model in EVENTS.items())
        + ". A comment, `: heartbeat`, comes while nothing else does; `retry:` (milliseconds) stands first.",
    },
    "x-events": {name: {"$ref": f"#/components/schemas/{model.__name__}"} for name, model in EVENTS.items()},
    "example": 'id: 12\nevent: change\ndata: {"seq": 12, "kind": "capture.paused", "at": '
    '"2026-03-02T10:00:00.000Z", "data": {}}\n\n',
}
"""The stream as the OpenAPI document tells it: each event's ``data`` has a schema of its own."""


class StreamHub(Hub):
    """The open streams of this process: told of each change the moment it is committed."""

    def on_event(self, event: SessionEvent) -> None:
        """A change was committed here."""
        self.poke(event.session_id)


@router.get(
    "/v1/sessions/{session_id}/events",
    summary="Follow a session by server-sent events",
    response_class=Response,
    responses=gives(None, NotFound, says="A stream of events until the reader goes, or its credentials end.")
    | {200: {"content": {EVENT_STREAM: DESCRIBED}}},
)
async def events(
    request: Request,
    session_id: str,
    caller: Called,
    services: Served,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=20, description="The last `id` that was read: resumes after it."),
    ] = None,
) -> Response:
    """States, captions, levels and progress until the reader goes, or its credentials end."""
    record = await session_for(services, caller, session_id)
    permit(caller.actor, Action.READ_STATE)
    after = after_of(last_event_id)
    hub: StreamHub = request.app.state.streams
    hub.admit(services.limits.streams)
    await services.audit.append(record.clinic_id, "", "session.followed", session_id, session_id=session_id)
    return EventStream(services, hub, caller, record, after=after)


class EventStream(Stream):
    """One open stream of a session."""

    def __init__(
        self, services: Services, hub: StreamHub, caller: Caller, record: SessionRecord, *, after: int | None
    ) -> None:
        super().__init__(services, hub, caller, record.id, live_channel(record.id))
        self.session_id = record.id
        self._after = after
        self._seq = record.seq if after is None else after
        self._whole = views.reads_all(caller.actor)
        self._captions = self._whole or ClinicConfig.model_validate(record.snapshot).capture.client_captions
        self._me = caller.actor.participant_id
        self._outages = services.bus.stats.outages

    # -- what is sent ------------------------------------------------------------------------------------------------

    async def _greeting(self) -> AsyncIterator[str]:
        async for text in self._rows(always_state=True):
            yield text
        if self._after is not None:
            async for text in self._finals():
                yield text

    async def _changes(self) -> AsyncIterator[str]:
        async for text in self._rows():
            yield text
        if self._services.bus.stats.outages != self._outages:
            self._outages = self._services.bus.stats.outages
            async for text in self._finals():
                yield text

    async def _rows(self, *, always_state: bool = False) -> AsyncIterator[str]:
        """The log's rows since the last one sent, then the state they led to."""
        store, anything = self._services.store, always_state
        while rows := await store.events(self.session_id, self._seq, limit=BATCH):
            for row in rows:
                self._seq = row.seq
                anything = True
                if self._may_see(row):
                    data = {"seq": row.seq, "kind": row.kind, "at": views.when(row.at), "data": dict(row.data)}
                    yield frame("change", data, event_id=row.seq)
        if anything:
            record = await store.get(self.session_id)
            # the id is the last row's that was sent, even if the state is newer: resuming skips nothing
            yield frame("state", self._state(record), event_id=self._seq)

    def _state(self, record: SessionRecord) -> dict[str, Any]:
        shown = views.states(record) if self._whole else views.states_for_client(record)
        return {
            "session_id": record.id,
            **shown,
            "now_ms": _now_ms(record, self._services.clock.now()),
            "attributes": {"scribe.state": scribe_state(record.capture)},
        }

    async def _finals(self) -> AsyncIterator[str]:
        """Every final so far, from the sealed segments; for those who may read the transcript."""
        if not self._whole:
            return
        try:
            words = await self._services.store.transcript(self.session_id)
        except TranscriptPurged:
            return
        for segment in words.segments:
            yield frame("caption", channel.caption(segment))

    def _may_see(self, row: SessionEvent) -> bool:
        if self._whole or row.kind.startswith(("bot.", "capture.")):
            return True
        return row.kind.startswith("consent.") and row.data.get("participant_id") == self._caller.actor.participant_id

    # -- what is live ------------------------------------------------------------------------------------------------

    async def _heard(self, message: bytes) -> None:
        opened = await self._open(message)
        if opened is None:
            return
        kind = opened.get("type")
        seen_by = opened.pop(SEEN_BY, ())
        if kind == "state":
            self.poke()
        elif kind in FORWARDED and (self._whole or (self._captions and self._me in seen_by)):
            self._outbox.put(opened)

    async def _open(self, sealed: bytes) -> dict[str, Any] | None:
        scope = words_scope(self.session_id)
        try:
            raw = await asyncio.to_thread(self._services.vault.unseal, scope, LIVE_PURPOSE, sealed)
            message = json.loads(raw)
        except (KeyDestroyed, SealBroken, ValueError) as error:
            log.debug("live_message_unreadable", session_id=self.session_id, error=type(error).__name__)
            return None
        return message if isinstance(message, dict) else None


def scribe_state(capture: CaptureState) -> str:
    """What the bot's ``scribe.state`` attribute says."""
    return {
        CaptureState.CAPTURING: "capturing",
        CaptureState.PAUSED: "paused",
        CaptureState.CONSENT_PENDING: "waiting",
    }.get(capture, "off")


def _now_ms(record: SessionRecord, now: datetime) -> int:
    started = record.call_started_at
    return max(0, int((now - started).total_seconds() * 1000)) if started is not None else 0
