"""Is it alive, is it ready, and its figures."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from bot.control.api import answers
from bot.control.api.deps import Served
from bot.control.api.gives import gives
from bot.control.auth import dev_mode
from bot.control.services import HealthCheck
from bot.metrics import CONTENT_TYPE

log = structlog.get_logger()

router = APIRouter(tags=["health"])

CHECK_TIMEOUT_S = 5.0


@router.get("/healthz", summary="Liveness", responses=gives(answers.Liveness))
async def healthz(services: Served) -> dict[str, Any]:
    """Answers while the process serves at all. ``dev`` tells the pages that the demo sign-in exists."""
    return {"status": "ok", "dev": dev_mode(services.settings)}


@router.get(
    "/readyz",
    summary="Readiness",
    responses=gives(answers.Readiness)
    | gives(answers.Readiness, status=503, says="Something is missing; it is named."),
)
async def readyz(services: Served) -> Response:
    """200 when the main job can be done, else 503 with what is missing."""
    names = sorted(services.health)
    found = await asyncio.gather(*(_ask(name, services.health[name]) for name in names))
    missing = {name: reason for name, reason in zip(names, found, strict=True) if reason is not None}
    if services.stopping.is_set():
        missing["service"] = "It is stopping."
    body = {"ready": not missing, "missing": missing, "checked": names}
    return JSONResponse(body, status_code=503 if missing else 200)


async def _ask(name: str, check: HealthCheck) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return "It does not answer in time."
    except Exception as error:  # noqa: BLE001 - whatever breaks a check, the answer is: not ready
        log.warning("health_check_failed", what=name, error=type(error).__name__)
        return "Its check failed."


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: Served) -> Response:
    """Numbers of this process: no ids, no words."""
    text = await asyncio.to_thread(services.metrics.render)  # it reads the process's own figures from the system
    return Response(text, media_type=CONTENT_TYPE)
