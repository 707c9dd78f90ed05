"""What every route needs: the services, who calls, pages of lists, and answers that come again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from bot.control.auth import Caller, identify, refuse_forged
from bot.control.services import Services
from bot.errors import ConfigInvalid

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""On an answer that was given before."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})

Answer = tuple[int, Mapping[str, Any]]
"""An HTTP status and a JSON body."""


def services_of(connection: HTTPConnection) -> Services:
    """The services the application was made with."""
    services = connection.app.state.services
    assert isinstance(services, Services)
    return services


async def caller_of(request: Request) -> Caller:
    """Who calls. Raises Unauthorized; Forbidden for a change by cookie without its CSRF token."""
    services = services_of(request)
    caller = await identify(services, request)
    if request.method in UNSAFE:
        refuse_forged(caller, request.headers.get("x-csrf-token"))
    return caller


Served = Annotated[Services, Depends(services_of)]
Called = Annotated[Caller, Depends(caller_of)]
Limit = Annotated[int, Query(ge=1, le=200, description="Items of one page.")]
Cursor = Annotated[str | None, Query(max_length=400, description="Where the page before ended.")]


def page(items: Sequence[Mapping[str, Any]], next_cursor: str | None, **more: Any) -> dict[str, Any]:
    """One page of a list."""
    return {"items": list(items), "next_cursor": next_cursor, **more}


class Repeatable:
    """Carries out a POST; under an Idempotency-Key that the caller sent before, gives the first answer again."""

    def __init__(self, request: Request, services: Services, key: str | None) -> None:
        self._request, self._services, self._key = request, services, key

    async def __call__(self, work: Callable[[], Awaitable[Answer]], *, clinic_id: str, who: str) -> Response:
        """The answer of ``work``, or the one ``who`` got before.

        A request that failed is not kept: it changed nothing, and the same key may try again.
        """
        if self._key is None:
            status, body = await work()
            return JSONResponse(dict(body), status_code=status)
        if not _KEY.fullmatch(self._key):
            raise ConfigInvalid("Idempotency-Key: 1 to 255 visible ASCII characters.")
        request, store = self._request, self._services.store
        own_key = hashlib.sha256(f"{who}\n{self._key}".encode()).hexdigest()
        sent = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body()).hexdigest()
        known = await store.idempotency_begin(clinic_id, own_key, sent)
        if known is not None:
            await self._services.audit.append(clinic_id, "", "answer.repeated", request.url.path)
            return _json(known.body, known.status, {REPLAYED: "true"})
        try:
            status, body = await work()
        except BaseException:
            await asyncio.shield(store.idempotency_abandon(clinic_id, own_key))
            raise
        raw = json.dumps(body, ensure_ascii=False).encode()
        await store.idempotency_finish(clinic_id, own_key, status, raw)
        return _json(raw, status, {})


def _repeatable(
    request: Request,
    services: Served,
    key: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description="1 to 255 visible ASCII characters, new for each new request. The same key and body again get "
            "the same answer for 24 hours; another request under it gets `idempotency-conflict`.",
            json_schema_extra={"minLength": 1, "maxLength": 255},
        ),
    ] = None,
) -> Repeatable:
    return Repeatable(request, services, key)


Once = Annotated[Repeatable, Depends(_repeatable)]
"""What every POST takes that may come again."""


def _json(raw: bytes, status: int, headers: Mapping[str, str]) -> Response:
    return Response(raw, status_code=status, headers=dict(headers), media_type="application/json")
