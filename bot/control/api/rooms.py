"""The page's WebSocket: hello, then everything goes to the live session.

Signalling is carried out in its own order beside the rest: a Pause never waits behind an offer that is being answered.

Close codes, beside the protocol's own:

    4001  another page of the same participant took the seat        (the live session's)
    4008  the page could not keep up with what it was sent
    4400  the first message was not a hello
    4401  the token is not valid, or is another session's
    4403  refused: another site's page, or not invited
    4408  no hello in time
    1012  the service is stopping: come again
    1013  too many pages
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from bot.control import channel
from bot.control.api.deps import services_of
from bot.control.auth import same_origin
from bot.control.outbox import Outbox
from bot.control.problems import internal_body, new_reference
from bot.control.services import LiveSession, Services
from bot.errors import ConfigInvalid, NotFound, Overloaded, PayloadTooLarge, ProblemError, Unauthorized
from bot.log import where
from bot.media.room import Member

log = structlog.get_logger()

router = APIRouter()

SUBPROTOCOL = "quietnote.room.v1"
NORMAL, NO_STATUS, INTERNAL, STOPPING, TOO_MANY = 1000, 1005, 1011, 1012, 1013
TOO_SLOW, NO_HELLO, UNAUTHORIZED, REFUSED, HELLO_LATE = 4008, 4400, 4401, 4403, 4408
PING_EVERY_S, PONG_WITHIN_S = 4.0, 6.0
"""The server's own pings: a machine that fell asleep, or lost its network, is away within ten seconds."""
CLOSE_S = 2.0
"""Longest wait for what is still to be sent, and for the closing itself."""
SIGNALS = 256
"""Signalling messages of a page that may wait; further ones are refused as overloaded."""
_END: Mapping[str, Any] = {"type": "_end"}


@router.websocket("/v1/rooms/{session_id}")
async def room(websocket: WebSocket, session_id: str) -> None:
    """A participant's page."""
    services = services_of(websocket)
    origin = websocket.headers.get("origin")
    if origin is not None and not same_origin(services.settings, origin, websocket.headers.get("host", "")):
        log.info("page_refused", reason="origin")
        await websocket.close(REFUSED)
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    pages: set[Page] = websocket.app.state.pages
    page = Page(websocket, services)
    if len(pages) >= services.limits.pages:
        await page.hang_up(TOO_MANY, "too many pages")
        return
    pages.add(page)
    services.metrics.pages.inc()
    try:
        await page.serve(session_id)
    finally:
        pages.discard(page)
        services.metrics.pages.dec()


class _Refused(Exception):
    """The page is told why and closed."""

    def __init__(self, code: int, reason: str, problem: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.code, self.reason, self.problem = code, reason, problem


@dataclass(frozen=True, slots=True)
class _Came:
    """What a hello told."""

    member: Member
    live: LiveSession
    pass_id: str
    held: tuple[Mapping[str, Any], ...]


class Page:
    """One connected page; a :class:`bot.control.lobby.PageLink`."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        self._websocket = websocket
        self._services = services
        dropped = services.metrics.outgoing_dropped
        self._outbox = Outbox(limit=services.limits.outbox, on_drop=lambda kind: dropped.labels(kind=kind).inc())
        self._signals: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(maxsize=SIGNALS)
        self._gone = False
        """True when the page itself ended the connection."""
        self._heard_s = services.clock.monotonic_s()
        """When it said something last."""
        self._broke = False
        """True when the connection ended without a word."""
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    # -- what the live session sees ----------------------------------------------------------------------------------

    async def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message; a page that is too far behind is closed."""
        if not self._outbox.put(message) and not self._ending.done():
            self._services.metrics.too_slow.inc()
            self._ending.set_result((TOO_SLOW, "could not keep up"))

    async def close(self, code: int, reason: str) -> None:
        """End the page, after what waits for it was sent."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    # -- its life ----------------------------------------------------------------------------------------------------

    async def serve(self, session_id: str) -> None:
        """From hello to the end."""
        try:
            came = await self._hello(session_id)
            member, live = came.member, came.live
        except _Refused as refused:
            log.info("page_refused", session_id=session_id, close_code=refused.code)
            with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
                await self._write({"type": "problem", "problem": refused.problem})
            await self.hang_up(refused.code, refused.reason)
            return
        except WebSocketDisconnect:
            return
        log.info("page_in", session_id=session_id, participant_id=member.participant_id)
        sender = asyncio.create_task(self._send_all(), name=f"page-send:{session_id}")
        receiver = asyncio.create_task(self._receive_all(came), name=f"page-receive:{session_id}")
        signaller = asyncio.create_task(self._signal_all(member, live), name=f"page-signal:{session_id}")
        stopping = asyncio.create_task(self._services.stopping.wait(), name=f"page-stop:{session_id}")
        try:
            waiting: set[asyncio.Future[Any]] = {sender, receiver, stopping, self._ending}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not self._gone:
                self._outbox.put(_END)
                await asyncio.wait({sender}, timeout=CLOSE_S)
        finally:
            tasks = (sender, receiver, signaller, stopping)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._outbox.close()
            await live.exit(member, self, heard_s=self._last_sign_s() if self._broke else None)
            log.info("page_out", session_id=session_id, participant_id=member.participant_id)
        if not self._gone:
            await self.hang_up(*self._end())

    def _last_sign_s(self) -> float:
        """When the page was there for certain, where its connection broke: its answers to pings are not told here."""
        return max(self._heard_s, self._services.clock.monotonic_s() - PING_EVERY_S - PONG_WITHIN_S)

    def _end(self) -> tuple[int, str]:
        if self._ending.done():
            return self._ending.result()
        if self._services.stopping.is_set():
            return STOPPING, "the service is stopping"
        return INTERNAL, "the connection broke"

    async def hang_up(self, code: int, reason: str) -> None:
        """Close the WebSocket, whatever state it is in."""
        if self._websocket.application_state is WebSocketState.DISCONNECTED:
            return
        with suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code, reason)

    async def _hello(self, session_id: str) -> _Came:
        """Who this is, by the token of the first message, which token that is, and what they could not say before."""
        try:
            async with asyncio.timeout(self._services.limits.hello_s):
                message = await self._receive()
        except TimeoutError:
            raise _refusal(HELLO_LATE, "no hello in time", Unauthorized("Nothing was said in time.")) from None
        except ProblemError as error:
            raise _refusal(NO_HELLO, "the first message must be hello", error) from None
        token = message.get("token")
        if message.get("type") != "hello" or not isinstance(token, str):
            wrong = ConfigInvalid("The first message must be a hello with a token.")
            raise _refusal(NO_HELLO, "the first message must be hello", wrong)
        try:
            claims = self._services.tokens.check(token)
            if claims.session_id != session_id:
                raise Unauthorized("This token is for another session.")
            store = self._services.store
            await store.get(session_id, clinic_id=claims.clinic_id)
            person = await store.participant(session_id, claims.participant_id)
            if person.role is not claims.role:
                raise Unauthorized("The token is not valid.")
            live = await self._services.live.of(session_id)
        except (Unauthorized, NotFound) as error:
            raise _refusal(UNAUTHORIZED, "the token is not valid here", error) from None
        except ProblemError as error:
            raise _refusal(STOPPING, error.slug, error) from None
        member = Member(person.id, person.role, person.display_name)
        return _Came(member, live, claims.pass_id, channel.held(message))

    async def _receive_all(self, came: _Came) -> None:
        member, live = came.member, came.live
        try:
            await live.enter(member, self, came.pass_id, came.held)
        except ProblemError as error:
            await self.send({"type": "problem", "problem": error.members()})
            await self.close(REFUSED, error.slug)
            return
        except Exception as error:  # noqa: BLE001 - the page is told that the fault is ours, and comes again
            await self._own_fault(error)
            await self.close(INTERNAL, "a fault on our side")
            return
        while True:
            try:
                message = _sane(await self._receive())
                if message["type"] == "signal":
                    self._signals.put_nowait(message)
                else:
                    await self._take(member, live, message)
            except WebSocketDisconnect as end:
                self._gone, self._broke = True, end.code == NO_STATUS
                return
            except ProblemError as error:
                await self.send({"type": "problem", "problem": error.members()})
            except asyncio.QueueFull:
                full = Overloaded("Too much signalling.").members()
                await self.send({"type": "problem", "problem": full} | channel.ANSWERS_SIGNAL)

    async def _signal_all(self, member: Member, live: LiveSession) -> None:
        while True:
            await self._take(member, live, await self._signals.get(), **channel.ANSWERS_SIGNAL)

    async def _take(self, member: Member, live: LiveSession, message: Mapping[str, Any], **about: str) -> None:
        try:
            await live.page_message(member, self, message)
        except ProblemError as error:
            await self.send({"type": "problem", "problem": error.members()} | about)
        except Exception as error:  # noqa: BLE001 - one bad message must not end the call
            await self._own_fault(error, **about)

    async def _own_fault(self, error: Exception, **about: str) -> None:
        reference = new_reference()
        log.error(
            "page_message_failed", reference=reference, error=type(error).__name__, where=where(error.__traceback__)
        )
        await self.send({"type": "problem", "problem": internal_body(reference)} | about)

    # -- frames ------------------------------------------------------------------------------------------------------

    async def _receive(self) -> Mapping[str, Any]:
        """The next message. Raises ProblemError for one that cannot be read, WebSocketDisconnect at the end."""
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", NORMAL))
        self._heard_s = self._services.clock.monotonic_s()
        text = event.get("text")
        if text is None:
            raise ConfigInvalid("Messages are JSON in text frames.")
        if len(text) > channel.MAX_SOCKET_BYTES:
            raise PayloadTooLarge(f"A message may have {channel.MAX_SOCKET_BYTES} bytes.")
        return channel.decode(text, limit=channel.MAX_SOCKET_BYTES)

    async def _send_all(self) -> None:
        while (message := await self._outbox.get()) is not None and message is not _END:
            try:
                await self._write(message)
            except TimeoutError:
                await self.close(TOO_SLOW, "could not keep up")
                return
            except (WebSocketDisconnect, RuntimeError, OSError):
                return  # gone: the receiver sees it too

    async def _write(self, message: Mapping[str, Any]) -> None:
        async with asyncio.timeout(self._services.limits.send_s):
            await self._websocket.send_text(json.dumps(message, ensure_ascii=False))


def _sane(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(message.get("type"), str):
        raise ConfigInvalid("type: must be a text.")
    if message["type"] == "hello":
        raise ConfigInvalid("type: hello was said already.")
    return message


def _refusal(code: int, reason: str, error: ProblemError) -> _Refused:
    return _Refused(code, reason, error.members())
