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
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response
from starlette.types import Receive, Scope, Send

from bot.clinics import ClinicConfig
from bot.control import channel
from bot.control.api import views
from bot.control.api.answers.stream import EVENTS
from bot.control.api.deps import Called, Served
from bot.control.api.gives import gives
from bot.control.auth import Caller, session_for
from bot.control.capture import Action, permit
from bot.control.outbox import Outbox
from bot.control.services import Services
from bot.control.telling import SEEN_BY
from bot.errors import ConfigInvalid, NotFound, Overloaded, TranscriptPurged
from bot.events import CaptureState, SessionEvent
from bot.store.bus import live_channel
from bot.store.ground import words_scope
from bot.store.records import SessionRecord
from bot.store.vault import KeyDestroyed, SealBroken

log = structlog.get_logger()

router = APIRouter(tags=["sessions"])

LIVE_PURPOSE = "live"
"""Vault purpose of what travels on the bus."""
RETRY_MS = 2000
FORWARDED = frozenset({"caption", "levels", "ledger", "lag", "warning", "progress"})
BATCH = 500
"""Changes read from the database at once."""
_CHANGED: Mapping[str, Any] = {"type": "_changed"}
EVENT_STREAM = "text/event-stream"
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


class StreamHub:
    """The open streams of this process: told of each change the moment it is committed."""

    def __init__(self) -> None:
        self._streams: defaultdict[str, set[EventStream]] = defaultdict(set)
        self.count = 0

    def on_event(self, event: SessionEvent) -> None:
        """A change was committed here."""
        for stream in self._streams.get(event.session_id, ()):
            stream.poke()

    def add(self, stream: EventStream) -> None:
        """A stream opened."""
        self._streams[stream.session_id].add(stream)
        self.count += 1

    def remove(self, stream: EventStream) -> None:
        """A stream ended."""
        mine = self._streams[stream.session_id]
        mine.discard(stream)
        if not mine:
            del self._streams[stream.session_id]
        self.count -= 1


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
    after: int | None = None
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise ConfigInvalid("Last-Event-ID: must be an id that this stream gave.")
        after = int(last_event_id)
    hub: StreamHub = request.app.state.streams
    if hub.count >= services.limits.streams:
        raise Overloaded("Too many event streams are open.")
    return EventStream(services, hub, caller, record, after=after)


class EventStream(Response):
    """One open stream. It owns its tasks: they end when the reader goes, the service stops, or the time is up."""

    media_type = EVENT_STREAM

    def __init__(
        self, services: Services, hub: StreamHub, caller: Caller, record: SessionRecord, *, after: int | None
    ) -> None:
        super().__init__()
        self.session_id = record.id
        self._hub = hub
        self._services = services
        self._caller = caller
        self._after = after
        self._seq = record.seq if after is None else after
        self._whole = views.reads_all(caller.actor)
        self._captions = self._whole or ClinicConfig.model_validate(record.snapshot).capture.client_captions
        self._me = caller.actor.participant_id
        self._outages = services.bus.stats.outages
        self._poked = False
        self._outbox = Outbox(
            limit=services.limits.outbox, on_drop=lambda kind: services.metrics.outgoing_dropped.labels(kind=kind).inc()
        )

    def poke(self) -> None:
        """Something changed in the database: have a look."""
        if not self._poked:
            self._poked = True
            self._outbox.put(_CHANGED)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = False
        try:
            left = await self._run(receive, send)
        except asyncio.CancelledError:
            if not self._services.stopping.is_set():
                raise
            # the service stops, and the server's patience ended first: that is the stream's end and no fault
        if not left:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run(self, receive: Receive, send: Send) -> bool:
        """Send until it is over; True when the reader left."""
        self._hub.add(self)
        self._services.metrics.streams.inc()
        pump = asyncio.create_task(self._pump(send), name=f"stream:{self.session_id}")
        gone = asyncio.create_task(_until_gone(receive), name=f"stream-gone:{self.session_id}")
        stop = asyncio.create_task(self._services.stopping.wait(), name=f"stream-stop:{self.session_id}")
        tasks: set[asyncio.Task[Any]] = {pump, gone, stop}
        try:
            await asyncio.wait(tasks, timeout=self._time_left_s(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.remove(self)
            self._services.metrics.streams.dec()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        fault = None if pump.cancelled() else pump.exception()
        if fault is not None and not isinstance(fault, OSError):  # an OSError is a reader who went away
            # the reader comes back with its last id; nothing that matters is lost
            log.error("event_stream_failed", session_id=self.session_id, error=type(fault).__name__)
        return not gone.cancelled()

    def _time_left_s(self) -> float | None:
        until = self._caller.expires_at_s
        return None if until is None else max(0.0, until - self._services.clock.now().timestamp())

    async def _pump(self, send: Send) -> None:
        """Send what there is, then what comes."""

        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        async with self._services.bus.subscribe(live_channel(self.session_id)) as live:
            reader = asyncio.create_task(self._read_live(live), name=f"stream-live:{self.session_id}")
            try:
                await write(f"retry: {RETRY_MS}\n\n")
                async for text in self._greeting():
                    await write(text)
                await self._follow(write)
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _follow(self, write: Callable[[str], Awaitable[None]]) -> None:
        while True:
            try:
                async with asyncio.timeout(self._services.limits.heartbeat_s):
                    message = await self._outbox.get()
            except TimeoutError:
                await write(": heartbeat\n\n")
                message = _CHANGED
            if message is None:
                self._services.metrics.too_slow.inc()
                return
            if message is not _CHANGED:
                await write(frame(str(message["type"]), message))
                continue
            self._poked = False
            async for text in self._changes():
                await write(text)
            if self._services.bus.stats.outages != self._outages:
                self._outages = self._services.bus.stats.outages
                async for text in self._finals():
                    await write(text)

    # -- what is sent ------------------------------------------------------------------------------------------------

    async def _greeting(self) -> AsyncIterator[str]:
        async for text in self._changes(always_state=True):
            yield text
        if self._after is not None:
            async for text in self._finals():
                yield text

    async def _changes(self, *, always_state: bool = False) -> AsyncIterator[str]:
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

    async def _read_live(self, live: AsyncIterator[bytes]) -> None:
        async for sealed in live:
            message = await self._open(sealed)
            if message is None:
                continue
            kind = message.get("type")
            seen_by = message.pop(SEEN_BY, ())
            if kind == "state":
                self.poke()
            elif kind in FORWARDED and (self._whole or (self._captions and self._me in seen_by)):
                self._outbox.put(message)

    async def _open(self, sealed: bytes) -> dict[str, Any] | None:
        scope = words_scope(self.session_id)
        try:
            raw = await asyncio.to_thread(self._services.vault.unseal, scope, LIVE_PURPOSE, sealed)
            message = json.loads(raw)
        except (KeyDestroyed, SealBroken, ValueError) as error:
            log.debug("live_message_unreadable", session_id=self.session_id, error=type(error).__name__)
            return None
        return message if isinstance(message, dict) else None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def frame(event: str, data: Mapping[str, Any], *, event_id: int | None = None) -> str:
    """One event as the stream carries it. JSON has no line breaks of its own."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


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
