"""What a route says of its answers in the OpenAPI document: their shape, and the problems that are its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bot.control.problems import MEDIA_TYPE
from bot.errors import ProblemError

Responses = dict[int | str, dict[str, Any]]
"""As the framework takes them with a route."""
SLUGS = "x-slugs"
"""Where a route's own problems wait until the document is made."""

ETAG: Mapping[str, Any] = {
    "ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string"}},
}


def gives(
    model: Any,
    *problems: type[ProblemError],
    status: int = 200,
    says: str = "",
    headers: Mapping[str, Any] | None = None,
) -> Responses:
    """The answer's model (None: no body), and the problems of this route alone.

    What many routes share (credentials, bodies, idempotency, storage) is added when the document is made.
    """
    given: dict[str, Any] = {"model": model} if model is not None else {}
    if says:
        given["description"] = says
    if headers:
        given["headers"] = dict(headers)
    found: Responses = {status: given}
    for number, slugs in by_status(problems).items():
        found.setdefault(number, {"description": ""})[SLUGS] = slugs
    return found


def by_status(problems: Iterable[type[ProblemError]]) -> dict[int, list[str]]:
    """Slugs by HTTP status, each once."""
    slugs: defaultdict[int, set[str]] = defaultdict(set)
    for problem in problems:
        slugs[problem.status].add(problem.slug)
    return {status: sorted(found) for status, found in slugs.items()}


def problem_response(status: int, slugs: Iterable[str]) -> dict[str, Any]:
    """The response object for the problems of one status."""
    known = sorted(slugs)
    return {
        "description": ", ".join(f"`{slug}`" for slug in known),
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"status": {"const": status}, "slug": {"enum": known}}},
                    ]
                }
            }
        },
    }
