"""The OpenAPI 3.1 document: FastAPI's, with our answers, our ways to sign in and our one shape of errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from bot.control.api.answers.stream import EVENTS, INBOX_EVENTS
from bot.control.api.deps import IDEMPOTENCY_KEY, REPLAYED
from bot.control.api.gives import SLUGS, by_status, problem_response
from bot.control.auth import COOKIE, CSRF_HEADER
from bot.control.problems import INTERNAL, MEDIA_TYPE
from bot.errors import (
    ConfigInvalid,
    Forbidden,
    IdempotencyConflict,
    Overloaded,
    PayloadTooLarge,
    ProblemError,
    Unauthorized,
    problem_classes,
)

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Some problems carry further members.",
    "required": ["type", "slug", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:quietnote:problem:<slug>"},
        "slug": {"type": "string", "enum": [*sorted({error.slug for error in problem_classes()}), INTERNAL]},
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string"},
        "reference": {"type": "string", "description": "Of a fault on our side: what to name when reporting it."},
    },
}
OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/v1/join", "/v1/auth/login", "/v1/auth/dev-login"}) | {
    "/v1/my-consent",
    "/v1/my-consent/withdraw",
}
"""Addresses that need no credentials."""
REFS = "#/components/schemas/{model}"
DESCRIPTION = (
    "A session scribe for telehealth calls. Errors are `application/problem+json`. An `Idempotency-Key` may be sent "
    "with every POST except those under `/v1/auth`, where it means nothing: the same key and body get the same answer, "
    f"another body gets `idempotency-conflict`. Changes by cookie need the `{CSRF_HEADER}` header. New fields may be "
    "added to answers: pass over what you do not know."
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
    streamed = (*EVENTS.values(), *INBOX_EVENTS.values())
    _, events = models_json_schema([(model, "serialization") for model in streamed], ref_template=REFS)
    schemas.update(events["$defs"])
    components["responses"] = {
        "Problem": {
            "description": "Any other problem: a fault on our side (500), or a request that is refused before its "
            "route is found.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A platform's key, or a session token (JWT)."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    for path, operations in made["paths"].items():
        for operation in operations.values():
            if path not in OPEN and not path.startswith("/.well-known/"):
                operation["security"] = [{"key": []}, {"cookie": []}]
            _describe(operation)
    return made


def _describe(operation: dict[str, Any]) -> None:
    """Put an operation's answers in order: one reference a shape, and every problem under its status."""
    responses = operation["responses"]
    shared = by_status(_shared(operation))
    for status in {*map(int, responses), *shared}:
        response = responses.setdefault(str(status), {})
        slugs = {*response.pop(SLUGS, ()), *shared.get(status, ())}
        problem = problem_response(status, slugs) if slugs else None
        if _is_the_frameworks(response):
            response = responses[str(status)] = {}
        if problem is not None and "content" not in response:
            response.update(problem)
        elif problem is not None:
            response["content"].update(problem["content"])
        if not response:
            del responses[str(status)]
        for media in response.get("content", {}).values():
            schema = media.get("schema", {})
            if "$ref" in schema or "anyOf" in schema:  # beside it stands what the framework made of the return type
                media["schema"] = {name: schema[name] for name in ("$ref", "anyOf") if name in schema}
        if 200 <= status < 300 and _takes(operation, IDEMPOTENCY_KEY):
            said = {"description": "`true` on an answer that was given before.", "schema": {"type": "string"}}
            response.setdefault("headers", {})[REPLAYED] = said
    default = {"$ref": "#/components/responses/Problem"}
    operation["responses"] = {status: responses[status] for status in sorted(responses)} | {"default": default}


def _shared(operation: dict[str, Any]) -> Iterator[type[ProblemError]]:
    """The problems an operation has in common with others of its kind."""
    if "security" in operation:
        yield from (Unauthorized, Forbidden, Overloaded)
    if "requestBody" in operation:
        yield from (PayloadTooLarge, ConfigInvalid)
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        yield ConfigInvalid
    if _takes(operation, IDEMPOTENCY_KEY):
        yield IdempotencyConflict


def _takes(operation: dict[str, Any], header: str) -> bool:
    return any(parameter["name"] == header for parameter in operation.get("parameters", ()))


def _is_the_frameworks(response: dict[str, Any]) -> bool:
    """True for the answer that FastAPI lists with whatever has parameters: ours are problems."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith("/HTTPValidationError")
