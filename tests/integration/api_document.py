"""Holds every answer of the API against the OpenAPI document: its shape, its status, its problem.

The document names a shape; the models it was made from check it, strictly and closed: a field that the document does
not know, a null it does not allow, a date that is none, all fail the test whose request it answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from bot.clinics import ClinicConfig
from bot.control.api.answers import Reply
from bot.control.api.answers.stream import EVENTS
from bot.control.problems import INTERNAL, MEDIA_TYPE

ELSEWHERE = {(500, INTERNAL), (403, "forbidden"), (413, "payload-too-large")}
"""Problems any address may answer with, before its route is reached or instead of it."""


def models(base: type[BaseModel] = Reply) -> Iterator[type[BaseModel]]:
    """Every model of an answer."""
    for model in base.__subclasses__():
        yield model
        yield from models(model)


MODELS: Mapping[str, type[BaseModel]] = {model.__name__: model for model in models()} | {"ClinicConfig": ClinicConfig}


class Document:
    """An OpenAPI document that answers are held against."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        """Method, path and status of every answer that had a JSON shape."""
        self._paths = [
            (re.compile("[^/]+".join(map(re.escape, re.split(r"\{[^}]*\}", path)))), path)
            for path in sorted(document["paths"])
        ]

    def path_of(self, address: str) -> str | None:
        """The document's path for an address; None when it has none."""
        if address in self.document["paths"]:
            return address
        return next((path for pattern, path in self._paths if pattern.fullmatch(address)), None)

    def operation(self, method: str, address: str) -> Mapping[str, Any] | None:
        """The operation that serves a request; None when there is none."""
        found: Mapping[str, Any] | None = self.document["paths"].get(self.path_of(address), {}).get(method.lower())
        return found

    def knows_problem(self, method: str, address: str, status: int, slug: str) -> bool:
        """True when the document says that this request may have this problem."""
        operation = self.operation(method, address)
        if (status, slug) in ELSEWHERE:
            return True
        if operation is None:
            return slug == "not-found"
        content = operation["responses"].get(str(status), {}).get("content", {})
        if MEDIA_TYPE not in content:
            return False
        return slug in content[MEDIA_TYPE]["schema"]["allOf"][1]["properties"]["slug"]["enum"]

    async def hear(self, answer: httpx.Response) -> None:
        """An httpx event hook: fails the request whose answer the document does not describe."""
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if kind == "text/event-stream":
            return
        await answer.aread()
        self.check(answer.request.method, answer.request.url.path, answer.status_code, kind, answer.content)

    def check(self, method: str, address: str, status: int, kind: str, raw: bytes) -> None:
        """Hold one answer against the document."""
        operation = self.operation(method, address)
        what = f"{method} {address} -> {status} {kind}"
        if kind == MEDIA_TYPE:
            slug = json.loads(raw)["slug"]
            assert self.knows_problem(method, address, status, slug), f"{what}: {slug} is not in the document"
            return
        if operation is None:
            assert kind != "application/json" or address == "/openapi.json", f"{what}: not in the document"
            return
        described = operation["responses"].get(str(status))
        assert described is not None, f"{what}: this status is not in the document"
        if kind != "application/json":
            assert set(described.get("content", {})) <= {kind}, f"{what}: this form is not in the document"
            return
        wrong = mismatch(described["content"][kind]["schema"], raw)
        assert not wrong, f"{what}: {wrong}"
        self.seen.add((method, str(self.path_of(address)), status))


def mismatch(schema: Mapping[str, Any], raw: bytes) -> str:
    """What of a body does not fit its schema; nothing when it fits."""
    wrong = ""
    for one in schema.get("anyOf", [schema]):
        model = MODELS[one["$ref"].rpartition("/")[2]]
        try:
            model.model_validate_json(raw, strict=True, extra="forbid")
        except ValidationError as error:
            wrong += f"{model.__name__}: {error}\n"
        else:
            return ""
    return wrong


def check_event(kind: str, data: str) -> None:
    """Hold an event of a stream against its model."""
    EVENTS[kind].model_validate_json(data, strict=True, extra="forbid")
