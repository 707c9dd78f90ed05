"""Every error has one shape, names no value that was sent, and shows no stack."""

from __future__ import annotations

import json
import logging
from io import StringIO
from pathlib import Path

import pytest
import structlog

from bot import log
from bot.errors import problem_classes
from bot.store.sessions import SessionStore
from tests.integration import api_world
from tests.integration.api_world import DEV, World, open_world, problem_of

world = api_world.world
SECRET = "Robin told me about the fire"


async def test_what_the_framework_answers_is_a_problem_too(world: World) -> None:
    problem_of(await world.client.get("/v1/nothing"), 404, "not-found")
    problem_of(await world.client.get("/v1/sessions/", headers=DEV), 404, "not-found")
    problem_of(await world.client.get("/ui/nothing.js"), 404, "not-found")
    problem_of(await world.client.get("/ui/..%2f..%2fauth.py"), 404, "not-found")
    wrong = await world.client.request("DELETE", "/v1/sessions", headers=DEV)
    problem_of(wrong, 405, "not-found")
    assert "POST" in wrong.headers["allow"]
    for raw in (b"{", b"\xff\xfe", b"[1]", b'"x"', b"", b'{"clinic_id": NaN', b"[" * 100_000):
        headers = DEV | {"Content-Type": "application/json"}
        problem_of(await world.client.post("/v1/sessions", content=raw, headers=headers), 422, "config-invalid")
    form = await world.client.post("/v1/sessions", data={"clinic_id": "demo"}, headers=DEV)
    problem_of(form, 422, "config-invalid")


async def test_too_large_a_body(world: World) -> None:
    body = {"clinic_id": "x" * 1_000_001}
    problem_of(await world.client.post("/v1/sessions", json=body, headers=DEV), 413, "payload-too-large")


@pytest.mark.parametrize(
    "body",
    [
        {"clinic_id": {"x": SECRET}},
        {"clinic_id": "demo", SECRET: 1},
        {"clinic_id": "demo", "mode": SECRET},
        {"clinic_id": "demo", "language": SECRET},
        {"clinic_id": "demo", "appointment": {"external_id": "a", "starts_at": SECRET}},
        {"clinic_id": "demo", "participants": [{"role": SECRET, "display_name": "x"}]},
        {"clinic_id": "demo", "participants": {SECRET: 1}},
        {"clinic_id": "demo", "template": SECRET, "participants": [{"role": "clinician", "display_name": "x"}]},
    ],
)
async def test_what_was_sent_is_not_repeated(world: World, body: dict[str, object]) -> None:
    answer = await world.client.post("/v1/sessions", json=body, headers=DEV)
    problem_of(answer, 422, "config-invalid")
    for word in SECRET.split():
        if len(word) > 3:
            assert word not in answer.text


async def test_a_fault_of_ours_has_a_reference_and_no_stack(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = StringIO()
    root, old = logging.getLogger(), logging.getLogger().handlers[:]
    log.setup(json=True, stream=lines)

    async def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(SessionStore, "list", broken)
    try:
        answer = await world.client.get("/v1/sessions", headers=DEV)
    finally:
        structlog.reset_defaults()
        root.handlers[:] = old
    body = problem_of(answer, 500, "internal-error")
    assert "fire" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["content-security-policy"]
    [line] = [json.loads(text) for text in lines.getvalue().splitlines() if "request_failed" in text]
    assert line["reference"] == body["reference"]
    assert line["error"] == "RuntimeError"
    assert line["route"] == "/v1/sessions"
    assert line["where"].startswith("tests.integration.test_api_errors:")
    assert "fire" not in lines.getvalue()


async def test_a_database_that_fails_is_an_overload_and_says_so(world: World) -> None:
    await world.services.db.close()
    answer = await world.client.get("/v1/sessions", headers=DEV)
    problem_of(answer, 503, "overloaded")
    assert answer.headers["retry-after"]


async def test_the_openapi_document_names_every_slug(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    slugs = set(document["components"]["schemas"]["Problem"]["properties"]["slug"]["enum"])
    assert slugs >= {error.slug for error in problem_classes()}
    assert "HTTPValidationError" not in json.dumps(document)
    wanted = {
        "/v1/sessions", "/v1/sessions/{session_id}", "/v1/sessions/{session_id}/capture",
        "/v1/sessions/{session_id}/participants/{participant_id}/consent",
        "/v1/sessions/{session_id}/participants/{participant_id}/admit", "/v1/sessions/{session_id}/transcript",
        "/v1/sessions/{session_id}/events", "/v1/sessions/{session_id}/inputs", "/v1/sessions/{session_id}/receipts",
        "/v1/notes/{note_id}", "/v1/notes/{note_id}/sign", "/v1/inbox", "/v1/inbox/{item_id}/read",
        "/v1/clinics/{clinic_id}/config", "/healthz", "/readyz", "/metrics", "/.well-known/quietnote-receipt-keys.json",
        "/v1/auth/login", "/v1/auth/logout", "/v1/auth/me", "/v1/auth/dev-login", "/v1/join",
        "/v1/sessions/{session_id}/rejoin",
    }  # fmt: skip
    assert wanted <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}


async def test_metrics_name_routes_and_never_ids(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    await world.client.get(f"/v1/sessions/{session_id}", headers=DEV)
    await world.client.get(f"/v1/unknown/{SECRET}")
    await world.client.request("BREW", "/v1/sessions")
    text = (await world.client.get("/metrics")).text
    assert 'route="/v1/sessions/{session_id}"' in text
    assert 'route="unmatched"' in text
    assert 'method="OTHER"' in text
    assert 'quietnote_session_events_total{kind="session.created"} 1.0' in text
    for word in (session_id, "demo", "Robin", "cl-1", "fire", "BREW"):
        assert word not in text


async def test_readiness_names_what_is_missing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        health: dict[str, object] = world.services.health  # type: ignore[assignment]

        async def fine() -> None:
            return None

        async def missing() -> str:
            return "The speech model is not installed."

        async def broken() -> None:
            raise OSError(SECRET)

        health["database"] = fine
        assert (await world.client.get("/readyz")).json() == {"ready": True, "missing": {}, "checked": ["database"]}
        health["model"] = missing
        health["bus"] = broken
        answer = await world.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["missing"] == {"model": "The speech model is not installed.", "bus": "Its check failed."}
        assert (await world.client.get("/healthz")).json()["status"] == "ok"


