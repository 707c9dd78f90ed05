"""The web server around the application: one socket, bound early, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn

from bot.app import Running, running
from bot.control.api.rooms import PING_EVERY_S, PONG_WITHIN_S
from bot.errors import NotOurAddress, PortBusy, PortForbidden
from bot.settings import Settings

STOP_WITHIN_S = 2
"""Longest wait for open requests when the server stops."""
MAX_SOCKET_BYTES = 1_000_000
NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_FAMILY})
"""What looking up a name ends with: the number only, because :func:`socket.create_server` makes another class of it."""


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Running, str]]:
    """A service that listens, and the address it listens on. Raises as :func:`listen_on` does."""
    with listen_on(settings.host, settings.port) as sock:
        settings = settings.model_copy(update={"port": sock.getsockname()[1]})
        async with running(settings) as service:
            server = uvicorn.Server(_config(service))
            task = asyncio.create_task(server._serve([sock]), name="server")  # noqa: SLF001  serve() takes the signals
            try:
                while not server.started and not task.done():  # noqa: ASYNC110  uvicorn has no event to wait for
                    await asyncio.sleep(0.01)
                yield service, settings.base_url
            finally:
                service.services.stopping.set()
                server.should_exit = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(task, STOP_WITHIN_S + 1)


async def serve(settings: Settings) -> None:
    """Serve until the task is cancelled."""
    async with serving(settings) as (service, url):
        await _say_where(service, url)
        await asyncio.Event().wait()


async def _say_where(service: Running, url: str) -> None:
    """Tell the terminal where it is, and, once in a clinic's life, its first key."""
    settings = service.services.settings
    print(f"Quietnote listens on {url}  (model {service.model}, data in {settings.data_dir})", file=sys.stderr)
    for line in service.warnings:
        print(f"Warning: {line}", file=sys.stderr)
    if settings.dev:
        print("Development mode: API key `dev`, demo sign-in on the sign-in page.", file=sys.stderr)
        return
    keys = service.services.keys
    async with service.services.db.turn("first keys"):  # of several processes that start together one makes them
        for clinic_id in await service.services.clinics.ids():
            if not await keys.list(clinic_id):
                _, key = await keys.create(clinic_id, ("sessions", "notes", "admin"), label="first")
                print(f"First API key of clinic {clinic_id}, shown once: {key}", file=sys.stderr)


def _config(service: Running) -> uvicorn.Config:
    return uvicorn.Config(
        service.app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MAX_SOCKET_BYTES * 2,
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PONG_WITHIN_S,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        lifespan="off",
    )


def listen_on(host: str, port: int) -> socket.socket:
    """A listening socket. Raises :class:`PortBusy`, :class:`NotOurAddress` or :class:`PortForbidden`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(host, port) from None
        if error.errno == errno.EACCES:
            raise PortForbidden(host, port) from None
        if error.errno == errno.EADDRNOTAVAIL or error.errno in NO_SUCH_NAME:
            raise NotOurAddress(host) from None
        raise
    # connections inherit it; asyncio sets it only on sockets made with the protocol's number, and without it an answer
    # in two pieces waits 40 ms for the other side's acknowledgement
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
