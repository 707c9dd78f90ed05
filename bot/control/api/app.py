"""The web application: routes, pages, one shape of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from bot import __version__
from bot.control import problems
from bot.control.api import (
    audit,
    auth,
    capture,
    clinics,
    events,
    health,
    inbox,
    join,
    mycopy,
    notes,
    openapi,
    receipts,
    records,
    rooms,
    sessions,
    sharing,
    webhooks,
    writing,
)
from bot.control.api.edge import Edge
from bot.control.api.pages import UI, Assets, lost, page_routes
from bot.control.services import Services
from bot.events import SessionEvent

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""The framework's own records hold exception texts and addresses: they stay off."""


def create_app(services: Services) -> FastAPI:
    """The application over ``services``. Whoever stops the server sets ``services.stopping`` first."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        services.stopping.set()
        await app.state.inbox.end()

    app = FastAPI(
        title="Quietnote",
        version=__version__,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    app.state.pages = set()
    app.state.streams = events.StreamHub()

    def count(event: SessionEvent) -> None:
        services.metrics.session_events.labels(kind=event.kind).inc()

    app.state.inbox = inbox.InboxHub(services)
    services.store.listen(app.state.streams.on_event)
    services.store.listen(app.state.inbox.on_event)
    services.store.listen(count)
    problems.install(app, lost=lost)
    openapi.install(app)
    for part in (
        health, auth, join, sessions, capture, sharing, mycopy, events, writing, notes, inbox, receipts, records, audit,
        clinics, webhooks, rooms,
    ):  # fmt: skip
        app.include_router(part.router)
    app.include_router(page_routes(UI))
    app.mount("/ui", Assets(UI), name="ui")
    app.add_middleware(Edge, services=services)
    return app
