"""Every route of the OpenAPI document, asked wrongly in every way there is: always a known problem, never a fault.

The service is the real one on a real socket. What is asked comes from the document itself, so that a route that is
added is walked too.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from bot.control.problems import MEDIA_TYPE
from bot.errors import problem_classes
from tests.integration.api_document import Document
from tests.integration.call_world import CLIENT, CLINICIAN, World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

KNOWN = {kind.slug for kind in problem_classes()}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
IDS = (
    "x" * 8_000, "0", "-1", "%00", "%FF%FE", "%F0%9F%92%A9", "%E2%80%AE", "..%2F..%2Fetc%2Fpasswd", "%27%20OR%201=1--",
    "a%0d%0aSet-Cookie:%20x=y", "%20", "%ED%A0%80", "9" * 400,
)  # fmt: skip
"""What stands in an address where an id belongs, percent-encoded."""
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1.5e308, "", " ", "x" * 20_000, "\x00", "\u202e\U0001f4a9", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59", [], [[]], {}, {"a": {"b": None}}, [None] * 40,
)  # fmt: skip
"""What stands in a body where something else belongs."""
RAW = (
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe\x00", b"[" * 50_000, b'{"a":' * 20_000, b'{"a": NaN}',
    b'{"clinic_id": "\\ud800"}', b'{"a": ' + b"9" * 6_000 + b"}", b"\x1f\x8b\x08\x00", b"a=1&b=2",
)  # fmt: skip
"""Bodies that are no JSON object, or none that can be used."""
TYPES = ("application/json", "text/plain", "multipart/form-data; boundary=x", "", "application/json; charset=x", "x")
JSON = {"Content-Type": "application/json"}
QUERIES = (
    "limit=0", "limit=many", "limit=1e9", "cursor=%00", "cursor=bm90aGluZw", "cursor=" + "x" * 401, "unread=perhaps",
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = (
    {"Idempotency-Key": ""},
    {"Idempotency-Key": "x" * 300},
    {"If-Match": "what"},
    {"If-Match": '"' + "9" * 30 + '"'},
    {"Last-Event-ID": "soon"},
    {"Last-Event-ID": "-5"},
    {"Last-Event-ID": "9" * 40},
    {"Cookie": "qn_session=%00; qn_session=" + "x" * 5_000},
    {"Authorization": "Basic eDp5"},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer " + "x" * 6_000},
    {"Authorization": "Bearer a.b.c"},
    {"Authorization": "Bearer qn_nobody"},
)

GOOD: Mapping[str, Any] = {
    "/v1/sessions": {
        "clinic_id": "demo",
        "participants": [{"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"}],
    },
    "/v1/sessions/{session_id}/capture": {"action": "pause"},
    "/v1/sessions/{session_id}/inputs": {"kind": "observation", "text": "calm"},
    "/v1/sessions/{session_id}/participants/{participant_id}/consent": {"decision": "granted"},
    "/v1/auth/login": {"email": "nobody@example.org", "password": "a long password"},
    "/v1/join": {"session_id": "ses_0", "code": "abcdefgh"},
}
"""A body that would be taken, or nearly: what is then spoiled in one place."""


@dataclass
class Walk:
    """The service, its document, and who asks."""

    place: World
    document: dict[str, Any]
    described: Document
    session_id: str
    people: Mapping[str, dict[str, str]]
    """Headers of a platform, a clinician, a client and a stranger."""
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Slugs of the answers."""

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                yield path, method.upper(), operation

    def address(self, path: str, name: str = "") -> str:
        """The address of a route with an id in each place; the session's own where a session belongs."""
        made = path.replace("{session_id}", name or self.session_id).replace("{participant_id}", name or CLIENT)
        while "{" in made:
            head, _, rest = made.partition("{")
            made = head + (name or "demo") + rest.partition("}")[2]
        return made

    async def ask(
        self, method: str, address: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> tuple[int, str]:
        """Ask; status and slug. Whatever is not as it must be is written down."""
        self.place.http.cookies.clear()
        request = self.place.http.build_request(method, address, headers=dict(headers), content=content)
        if "Authorization" not in headers:
            del request.headers["authorization"]
        answer = await self.place.http.send(request, stream=True)
        try:
            body = b""
            if answer.status_code >= 400:
                body = await answer.aread()
        finally:
            await answer.aclose()
        status, slug = answer.status_code, ""
        if status >= 400 and method != "HEAD":
            slug = slug_of(status, answer.headers.get("content-type", ""), body)
        if status >= 500 or (status >= 400 and method != "HEAD" and not slug):
            self.wrong.append(
                f"{method} {address[:120]} {list(headers)} {(content or b'')[:80]!r} -> {status} {body[:200]!r}"
            )
        if slug and not self.described.knows_problem(method, answer.request.url.path, status, slug):
            self.wrong.append(f"{method} {address[:120]} -> {status} {slug}: not in the document")
        self.seen.add(slug)
        return status, slug

    def end(self) -> None:
        """Fail with everything that was answered wrongly."""
        assert not self.wrong, "\n".join(dict.fromkeys(self.wrong))


def slug_of(status: int, kind: str, body: bytes) -> str:
    """The slug of a problem that is as problems are; else nothing."""
    try:
        problem = json.loads(body)
        good = problem["status"] == status and problem["type"] == f"urn:quietnote:problem:{problem['slug']}"
    except (ValueError, KeyError, TypeError):
        return ""
    if not good or not problem["detail"] or problem["slug"] not in KNOWN or kind != MEDIA_TYPE or b"Traceback" in body:
        return ""
    return str(problem["slug"])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("walk")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def walk(place: World) -> Walk:
    people = [
        {"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"},
        {"id": CLIENT, "role": "client", "display_name": "Robin"},
    ]
    made = (await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people})).json()
    tokens = {join["role"]: {"Authorization": f"Bearer {join['token']}"} for join in made["join"]}
    document = (await place.http.get("/openapi.json")).json()
    who = {"platform": {"Authorization": "Bearer dev"}, **tokens, "stranger": {}}
    return Walk(place, document, Document(document), made["session"]["id"], who)


async def test_methods(walk: Walk) -> None:
    known: dict[str, set[str]] = {}
    for path, method, _ in walk.operations():
        known.setdefault(path, set()).add(method)
    for path, methods in known.items():
        for method in METHODS:
            if method in methods:
                continue
            for headers in (walk.people["platform"], {}):
                status, slug = await walk.ask(method, walk.address(path), headers)
                assert status == 405, (method, path, status)
                assert slug == ("" if method == "HEAD" else "not-found")
    walk.end()


async def test_ids(walk: Walk) -> None:
    for path, method, _ in walk.operations():
        if "{" not in path:
            continue
        for name in IDS:
            for who, headers in walk.people.items():
                body = None if method == "GET" else b"{}"
                status, _slug = await walk.ask(method, walk.address(path, name), {**headers, **JSON}, body)
                assert status in {401, 403, 404, 422}, (method, path, name[:20], who, status)
    walk.end()


async def test_headers_and_queries(walk: Walk) -> None:
    for path, method, operation in walk.operations():
        body = b"{}" if "requestBody" in operation else None
        for headers in HEADERS:
            await walk.ask(method, walk.address(path), {**walk.people["platform"], **JSON, **headers}, body)
        for query in QUERIES:
            await walk.ask(method, f"{walk.address(path)}?{query}", {**walk.people["platform"], **JSON}, body)
    walk.end()
    assert walk.seen >= {"unauthorized", "not-found", "config-invalid"}


async def test_bodies_that_are_none(walk: Walk) -> None:
    for path, method, operation in walk.operations():
        if "requestBody" not in operation:
            continue
        for raw in RAW:
            for kind in TYPES:
                await walk.ask(method, walk.address(path), {**walk.people["clinician"], "Content-Type": kind}, raw)
        status, _ = await walk.ask(method, walk.address(path), {**walk.people["platform"], **JSON}, b" " * 1_000_001)
        assert status == 413, path
    walk.end()


def fields(schema: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """A body that fits a schema, as far as it can be told, and the way to each of its fields."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for one in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in one or one.get("type") == "object":
            return fields(one, document)
    body: dict[str, Any] = {}
    ways: list[tuple[str, ...]] = []
    for name, part in schema.get("properties", {}).items():
        inner, below = fields(part, document)
        ways += [(name,), *((name, *way) for way in below)]
        if below:
            body[name] = inner
    return body, ways


async def test_fields_of_bodies(walk: Walk) -> None:
    for path, method, operation in walk.operations():
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        _, ways = fields(schema, walk.document)
        assert ways, path
        good = GOOD.get(path, {})
        for way in ways:
            for value in VALUES:
                body = json.loads(json.dumps(good))
                part = body
                for name in way[:-1]:
                    part = part.setdefault(name, {}) if isinstance(part.get(name, {}), dict) else {}
                part[way[-1]] = value
                raw = json.dumps(body).encode()
                await walk.ask(method, walk.address(path), {**walk.people["platform"], **JSON}, raw)
    walk.end()
