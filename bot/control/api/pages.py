"""The pages and their files, with the headers that keep them to themselves."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from bot.errors import NotFound

UI = Path(__file__).resolve().parent.parent / "ui"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob: mediastream:",
        "connect-src 'self'",
        "font-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from anywhere else, nothing inline, in nobody's frame."""

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), speaker-selection=(self), autoplay=(self), "
    "display-capture=(), geolocation=(), payment=(), usb=()",
}
"""On every answer of the service."""

NO_STORE = "no-store"

NOT_FOUND = "notfound.html"
"""What a browser sees at an address that is no page."""
API = ("/v1", "/openapi.json", "/.well-known")
"""Where programs ask, and are always answered as programs."""

PAGES: Mapping[str, str] = {
    "/": "start.html",
    "/signin": "signin.html",
    "/call/{session_id}": "call.html",
    "/join/{session_id}": "join.html",
    "/my-consent/{session_id}": "myconsent.html",
    "/consent-form/{clinic_id}": "consentform.html",
    "/notes": "notes.html",
    "/notes/{session_id}": "notes.html",
}
"""Which file is which page. The page reads the session's id from its own address."""


class Assets(StaticFiles):
    """The files of the pages; a browser asks each time whether they changed."""

    def __init__(self, folder: Path) -> None:
        # the system's table of types is read now, not at the first request; what it says of scripts is not relied on
        mimetypes.init()
        for kind, ending in (("text/javascript", ".js"), ("text/css", ".css"), ("image/svg+xml", ".svg")):
            mimetypes.add_type(kind, ending)
        super().__init__(directory=folder)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or a problem."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def lost(request: Request) -> Response | None:
    """The page for a person at an address that does not exist; None for whoever is no browser on a page."""
    path = request.url.path
    if request.method != "GET" or any(path == part or path.startswith(f"{part}/") for part in API):
        return None
    kinds = (part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(","))
    if "text/html" not in kinds:
        return None
    return FileResponse(UI / NOT_FOUND, status_code=404, media_type="text/html", headers={"Cache-Control": NO_STORE})


def page_routes(folder: Path) -> APIRouter:
    """A route for each page."""
    pages = APIRouter(include_in_schema=False)

    def add(path: str, name: str) -> None:
        def page() -> FileResponse:  # not async: looking at the disk happens in a worker thread
            file = folder / name
            if not file.is_file():
                raise NotFound("This page is not installed.")
            return FileResponse(file, media_type="text/html", headers={"Cache-Control": NO_STORE})

        pages.add_api_route(path, page, methods=["GET"], name=name.removesuffix(".html"))

    for path, name in PAGES.items():
        add(path, name)
    return pages
