"""One shape for every error the outside sees: ``application/problem+json`` (RFC 9457) with a ``slug``.

The framework's own answers (no such route, wrong method, a body that does not validate, a crash) take the same shape.
No answer repeats what was sent, and none shows a stack: a crash gets a reference id that the log knows.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bot.errors import (
    PROBLEM_TYPE,
    ConfigInvalid,
    Forbidden,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    ProblemError,
    RateLimited,
    Unauthorized,
    WorkerUnreachable,
)

MEDIA_TYPE = "application/problem+json"
INTERNAL = "internal-error"
"""Slug of a fault of ours; the one slug that no error class has, because nobody raises it."""

_BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: NotFound,
    413: PayloadTooLarge,
    429: RateLimited,
    503: Overloaded,
}
_PLACE = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_ECHOING = frozenset({"union_tag_invalid", "value_error", "assertion_error", "json_invalid"})
"""Kinds of validation errors whose text may repeat what was sent."""
_OWN_WORDS = {"union_tag_invalid": "is not one of the known kinds", "json_invalid": "is not JSON"}


def body_of(error: ProblemError) -> dict[str, Any]:
    """The members of the problem document."""
    return {**error.extra, **error.members()}


def answer(error: ProblemError, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The HTTP answer for an error."""
    body = body_of(error)
    sent = dict(headers or {})
    if status is not None:
        body["status"] = status
    if isinstance(error, Unauthorized):
        sent.setdefault("WWW-Authenticate", "Bearer")
    if isinstance(error, RateLimited | Overloaded | WorkerUnreachable):
        sent.setdefault("Retry-After", str(error.extra.get("retry_after_s", 5)))
    return JSONResponse(body, status_code=body["status"], headers=sent, media_type=MEDIA_TYPE)


def internal_body(reference: str) -> dict[str, Any]:
    """The members of the problem document for a fault of ours."""
    return {
        "type": PROBLEM_TYPE + INTERNAL,
        "slug": INTERNAL,
        "title": "Something went wrong here.",
        "status": 500,
        "detail": "The fault is on our side and was recorded. Give the reference when you report it.",
        "reference": reference,
    }


def internal(reference: str) -> JSONResponse:
    """The HTTP answer for a fault of ours."""
    return JSONResponse(internal_body(reference), status_code=500, media_type=MEDIA_TYPE)


def new_reference() -> str:
    """An id a person can read out on the telephone."""
    return secrets.token_hex(6)


def validation_problem(errors: Iterable[Mapping[str, Any]]) -> ConfigInvalid:
    """What is wrong with a request, by path, without repeating a value."""
    wrong = [f"{_path(error['loc'])}: {_words(error)}" for error in errors]
    return ConfigInvalid("; ".join(wrong[:20]), paths=wrong[:20])


def _path(location: Iterable[Any]) -> str:
    parts = [str(part) for part in location]
    if parts and parts[0] in {"body", "query", "path", "header"}:
        kind = parts.pop(0)
        if not parts or (kind == "body" and parts[0].isdigit()):
            return kind
    # a key that somebody sent may be anything; only what looks like a field's name is repeated
    return ".".join(part if _PLACE.fullmatch(part) else "?" for part in parts)


def _words(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in _ECHOING or "parsing" in kind or "parse" in kind:
        return _OWN_WORDS.get(kind, "is not valid")
    return str(error["msg"])


def install(app: FastAPI, *, lost: Callable[[Request], Response | None] = lambda _request: None) -> None:
    """Give every error of ``app`` the one shape. ``lost`` may answer a browser at an unknown address with a page."""

    @app.exception_handler(ProblemError)
    async def problem(_request: Request, error: ProblemError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(validation_problem(error.errors()))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and (page := lost(request)) is not None:
            return page
        if error.status_code == 400:  # a body that is not even text
            return answer(ConfigInvalid("body: cannot be read."))
        kind = _BY_STATUS.get(error.status_code, ConfigInvalid if error.status_code < 500 else Overloaded)
        detail = "This address does not know that method." if error.status_code == 405 else ""
        return answer(kind(detail), status=error.status_code, headers=error.headers)
