"""The outermost layer: every request and answer passes it.

It refuses other names than the machine's own in development mode (a name that somebody else's DNS points at loopback
would reach the development key) and changes that another site's page makes a browser send; it bounds bodies, sets the
security headers, counts, and turns whatever escapes into one problem with a reference, without a stack.
"""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.control.api.pages import NO_STORE, SECURITY_HEADERS
from bot.control.auth import dev_mode, is_loopback, same_origin
from bot.control.problems import answer, internal, new_reference
from bot.control.services import Services
from bot.errors import Forbidden
from bot.log import where
from bot.settings import Settings
from bot.store import acting

log = structlog.get_logger()

UNMATCHED = "unmatched"
"""Route label of what no route serves: never the address that was asked for."""


class Edge:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        with acting.request():
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not host_allowed(self._services.settings, headers.get("host", "")):
            await self._refuse(scope, receive, send, "In development mode this service answers to loopback names only.")
        elif scope["type"] == "http" and forged(self._services.settings, scope["method"], headers):
            await self._refuse(scope, receive, send, "Another site's page may not do this.")
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, why: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403})
            return
        await answer(Forbidden(why))(scope, receive, _with_headers(send))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            _record(error, scope)
            with suppress(RuntimeError, OSError):
                await send({"type": "websocket.close", "code": 1011})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._services.metrics
        began = time.perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        dressed = _with_headers(watch)
        try:
            await self._app(scope, _bounded(receive, self._services.limits.body_bytes), dressed)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            reference = _record(error, scope)
            if status == 0:
                await internal(reference)(scope, receive, dressed)
        finally:
            route, method = _route(scope), _method(scope)
            metrics.requests.labels(method=method, route=route, status=str(status)).inc()
            if not route.endswith("/events"):
                metrics.request_seconds.labels(method=method, route=route).observe(time.perf_counter() - began)


def forged(settings: Settings, method: str, headers: Headers) -> bool:
    """True for a change by another site's page without credentials of its own: only a cookie could vouch for it."""
    origin = headers.get("origin")
    if method in {"GET", "HEAD", "OPTIONS"} or origin is None or "authorization" in headers:
        return False
    return not same_origin(settings, origin, headers.get("host", ""))


def _bounded(receive: Receive, limit: int) -> Receive:
    """Take at most ``limit`` bytes of a body; the framework's own exception passes through its own parsing."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413)
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", NO_STORE)
        await send(message)

    return dressed


def _record(error: Exception, scope: Scope) -> str:
    """Log a fault of ours, without its text; the reference it has in the log."""
    reference = new_reference()
    log.error(
        "request_failed",
        reference=reference,
        route=_route(scope),
        error=type(error).__name__,
        where=where(error.__traceback__),
    )
    return reference


def _route(scope: Scope) -> str:
    """The template of the route that served, such as ``/v1/notes/{note_id}``."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNMATCHED


def _method(scope: Scope) -> str:
    method = str(scope.get("method", ""))
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "OTHER"


def host_allowed(settings: Settings, host: str) -> bool:
    """False when development mode is asked under a name that is not this machine's."""
    if not dev_mode(settings):
        return True
    name = (urlsplit(f"//{host}").hostname or "") if host else ""
    own = urlsplit(settings.public_url).hostname if settings.public_url else None
    return is_loopback(name) or (own is not None and name == own)
