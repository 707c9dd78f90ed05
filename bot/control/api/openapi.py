"""The OpenAPI 3.1 document: FastAPI's, with our ways to sign in and our one shape of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bot.control.auth import COOKIE, CSRF_HEADER
from bot.control.problems import INTERNAL, MEDIA_TYPE
from bot.errors import problem_classes

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Some problems carry further members.",
    "required": ["type", "slug", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:quietnote:problem:<slug>"},
        "slug": {"type": "string", "enum": [*sorted({error.slug for error in problem_classes()}), INTERNAL]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reference": {"type": "string", "description": "Of a fault on our side: what to name when reporting it."},
    },
}
OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/v1/join", "/v1/auth/login", "/v1/auth/dev-login"})
"""Addresses that need no credentials."""
DESCRIPTION = (
    "A session scribe for telehealth calls. Errors are `application/problem+json`. An `Idempotency-Key` may be sent "
    "with every POST except those under `/v1/auth`: the same key and body get the same answer, another body gets "
    f"`idempotency-conflict`. Changes by cookie need the `{CSRF_HEADER}` header."
)


def install(app: FastAPI) -> None:
    """Serve our document at ``/openapi.json``."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["responses"] = {
        "Problem": {
            "description": "A problem.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A platform's key, or a session token (JWT)."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    for path, operations in made["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
            if path not in OPEN and not path.startswith("/.well-known/"):
                operation["security"] = [{"key": []}, {"cookie": []}]
    return made
