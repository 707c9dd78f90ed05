"""A stream of server-sent events: the connection, its signs of life, and its end. What is sent is the stream's own."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import structlog
from fastapi import Response
from starlette.types import Receive, Scope, Send

from bot.control.auth import Caller
from bot.control.outbox import Outbox
from bot.control.services import Services
from bot.errors import ConfigInvalid, Overloaded

log = structlog.get_logger()

RETRY_MS = 2000
EVENT_STREAM = "text/event-stream"
_CHANGED: Mapping[str, Any] = {"type": "_changed"}


def frame(event: str, data: Mapping[str, Any], *, event_id: int | None = None) -> str:
    """One event as the stream carries it. JSON has no line breaks of its own."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def after_of(last_event_id: str | None) -> int | None:
    """The number in a ``Last-Event-ID``. Raises ConfigInvalid for one that no stream gave."""
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit()):
        raise ConfigInvalid("Last-Event-ID: must be an id that this stream gave.")
    return int(last_event_id)


class Hub:
    """The open streams of this process, by what they are about."""

    def __init__(self) -> None:
        self._streams: defaultdict[str, set[Stream]] = defaultdict(set)
        self.count = 0

    def about(self, subject: str) -> frozenset[Stream]:
        """The streams about it."""
        return frozenset(self._streams.get(subject, ()))

    def poke(self, subject: str) -> None:
        """Something about it was committed here."""
        for stream in self.about(subject):
            stream.poke()

    def admit(self, most: int) -> None:
        """Raise Overloaded where no further stream can be opened."""
        if self.count >= most:
            raise Overloaded("Too many event streams are open.")

    def add(self, stream: Stream) -> None:
        """A stream opened."""
        self._streams[stream.subject].add(stream)
        self.count += 1

    def remove(self, stream: Stream) -> None:
        """A stream ended."""
        mine = self._streams[stream.subject]
        mine.discard(stream)
        if not mine:
            del self._streams[stream.subject]
        self.count -= 1


class Stream(Response, ABC):
    """One open stream. It owns its tasks: they end when the reader goes, the service stops, or the time is up."""

    media_type = EVENT_STREAM

    def __init__(self, services: Services, hub: Hub, caller: Caller, subject: str, channel: str) -> None:
        """``subject`` is what it is about, ``channel`` where other processes tell of that."""
        super().__init__()
        self.subject = subject
        self._channel = channel
        self._hub = hub
        self._services = services
        self._caller = caller
        self._poked = False
        self._outbox = Outbox(
            limit=services.limits.outbox, on_drop=lambda kind: services.metrics.outgoing_dropped.labels(kind=kind).inc()
        )

    def poke(self) -> None:
        """Something changed in the database: have a look."""
        if not self._poked:
            self._poked = True
            self._outbox.put(_CHANGED)

    # -- what is sent ------------------------------------------------------------------------------------------------

    @abstractmethod
    def _greeting(self) -> AsyncIterator[str]:
        """What there is when it opens."""

    @abstractmethod
    def _changes(self) -> AsyncIterator[str]:
        """What changed since."""

    @abstractmethod
    async def _heard(self, message: bytes) -> None:
        """Something came over the bus."""

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
        pump = asyncio.create_task(self._pump(send), name=f"stream:{self.subject}")
        gone = asyncio.create_task(_until_gone(receive), name=f"stream-gone:{self.subject}")
        stop = asyncio.create_task(self._services.stopping.wait(), name=f"stream-stop:{self.subject}")
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
            log.error("event_stream_failed", session_id=self.subject, error=type(fault).__name__)
        return not gone.cancelled()

    def _time_left_s(self) -> float | None:
        until = self._caller.expires_at_s
        return None if until is None else max(0.0, until - self._services.clock.now().timestamp())

    async def _pump(self, send: Send) -> None:
        """Send what there is, then what comes."""

        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        async with self._services.bus.subscribe(self._channel) as live:
            reader = asyncio.create_task(self._read_live(live), name=f"stream-live:{self.subject}")
            try:
                await write(f"retry: {RETRY_MS}\n\n")
                async for text in self._greeting():
                    await write(text)
                await self._follow(write)
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _read_live(self, live: AsyncIterator[bytes]) -> None:
        async for message in live:
            await self._heard(message)

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


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
