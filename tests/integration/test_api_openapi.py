"""The OpenAPI document says what is answered: every shape, every problem, every event; and nothing else is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from bot.control.api.answers.stream import EVENTS
from bot.control.problems import INTERNAL, MEDIA_TYPE
from bot.errors import problem_classes
from bot.events import Role, Segment
from tests.integration import api_world
from tests.integration.api_document import MODELS
from tests.integration.api_world import DEV, PASSWORD, World, bearer, token_of

world = api_world.world
REFS = "#/components/schemas/{model}"
JSON = "application/json"


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def shapes(document: Mapping[str, Any]) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """Method, path, status and schema of every JSON answer that is no problem."""
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if JSON in response.get("content", {}):
                yield method, path, int(status), response["content"][JSON]["schema"]


def without_nulls(part: Any) -> Any:
    """A schema without its members that are null: FastAPI leaves out a default that is."""
    if isinstance(part, dict):
        return {name: without_nulls(inner) for name, inner in part.items() if inner is not None}
    return [without_nulls(inner) for inner in part] if isinstance(part, list) else part


async def test_every_json_answer_has_a_shape_of_its_own(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    found = list(shapes(document))
    assert len(found) >= 24
    for method, path, status, schema in found:
        for one in schema.get("anyOf", [schema]):
            assert set(one) == {"$ref"}, (method, path, status, schema)
            assert one["$ref"].rpartition("/")[2] in MODELS
    for name in set(MODELS) & set(schemas):
        wanted = TypeAdapter(MODELS[name]).json_schema(mode="serialization", ref_template=REFS)
        wanted.pop("$defs", None)
        assert without_nulls(schemas[name]) == without_nulls(wanted), name
        assert schemas[name]["description"], name
    assert {name for name in set(MODELS) - set(schemas) if not name.startswith("_")} == set()


async def test_every_reference_leads_somewhere(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    for reference in references(document):
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


async def test_every_post_says_whether_it_may_come_again(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    for path, method, operation in operations(document):
        headers = {p["name"]: p for p in operation.get("parameters", ()) if p["in"] == "header"}
        taken = method == "POST" and not path.startswith("/v1/auth/")
        assert ("Idempotency-Key" in headers) is taken, (method, path)
        if taken:
            assert not headers["Idempotency-Key"]["required"]
            problem = operation["responses"]["409"]["content"][MEDIA_TYPE]["schema"]["allOf"][1]
            assert "idempotency-conflict" in problem["properties"]["slug"]["enum"]
            [good] = [response for status, response in operation["responses"].items() if status.startswith("2")]
            assert "Idempotent-Replayed" in good["headers"]
        elif method == "POST":
            assert "Idempotency-Key` means nothing here" in operation["description"]


async def test_problems_stand_under_their_status(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    statuses = {(kind.slug, kind.status) for kind in problem_classes()}
    listed = 0
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if status == "default" or MEDIA_TYPE not in response.get("content", {}):
                continue
            base, own = response["content"][MEDIA_TYPE]["schema"]["allOf"]
            assert base == {"$ref": "#/components/schemas/Problem"}
            assert own["properties"]["status"] == {"const": int(status)}
            slugs = own["properties"]["slug"]["enum"]
            assert slugs
            assert {(slug, int(status)) for slug in slugs} <= statuses, (method, path)
            listed += len(slugs)
    assert listed > 80
    known = document["components"]["schemas"]["Problem"]["properties"]["slug"]["enum"]
    assert set(known) == {slug for slug, _ in statuses} | {INTERNAL}
    gone = document["paths"]["/v1/sessions/{session_id}/transcript"]["get"]["responses"]["410"]
    assert gone["description"] == "`transcript-purged`"


async def test_the_stream_names_its_events(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    answer = document["paths"]["/v1/sessions/{session_id}/events"]["get"]["responses"]["200"]
    stream = answer["content"]["text/event-stream"]
    assert set(stream["x-events"]) == set(EVENTS)
    for name in EVENTS:
        assert f"`{name}`" in stream["schema"]["description"]


async def test_every_answer_of_every_route_is_as_the_document_says(world: World) -> None:
    client = world.client
    made = await world.session(DEV, appointment={"external_id": "a-1", "starts_at": "2026-01-05T10:00:00+01:00"})
    session_id = made["session"]["id"]
    path = f"/v1/sessions/{session_id}"
    clinician, person = bearer(token_of(made, Role.CLINICIAN)), bearer(token_of(made, Role.CLIENT))
    lane = await world.store.ensure_lane(session_id, "cl-1", Role.CLIENT)
    await world.store.commit_final(
        session_id, Segment("seg-1", 1, True, lane.id, "cl-1", Role.CLIENT, 0, 1000, "I slept badly.", confidence=0.5)
    )
    for headers in (DEV, person):
        await client.get(path, headers=headers)
    await client.get("/v1/sessions?limit=1", headers=DEV)
    await client.get(f"{path}/transcript", headers=DEV)
    await client.post(f"{path}/inputs", json={"kind": "observation", "text": "calm"}, headers=clinician)
    await client.post(f"{path}/participants/cl-1/admit", headers=clinician | {"Idempotency-Key": "k"})
    await client.post(f"{path}/participants/cl-1/admit", headers=clinician | {"Idempotency-Key": "k"})
    await client.post(f"{path}/capture", json={"action": "start"}, headers=clinician)
    await client.put(f"{path}/participants/cl-1/consent", json={"decision": "granted"}, headers=person)
    link = (await client.post(f"{path}/participants/cl-1/consent-link", headers=person)).json()["consent_url"]
    for what in ("my-consent", "my-consent/withdraw"):
        await client.post(f"/v1/{what}", json={"session_id": session_id, "code": link.split("#")[1]})
    await client.get(f"{path}/inputs", headers=clinician)
    typed = (await world.session())["session"]["id"]
    await world.store.change(typed, "capture.finished", capture="finished")
    await client.post(f"/v1/sessions/{typed}/note", headers=DEV)
    code = made["join"][1]["invite_url"].rpartition("#")[2]
    await client.post("/v1/join", json={"session_id": session_id, "code": code})

    note_id = await world.drafted(session_id)
    await client.get("/v1/notes", headers=DEV)
    await client.get(f"/v1/notes/{note_id}", headers=DEV)
    item = (await client.get("/v1/inbox", headers=DEV)).json()["items"][0]["id"]
    await client.post(f"/v1/inbox/{item}/read", headers=DEV)
    await client.post(f"/v1/notes/{note_id}/sign", headers=clinician)
    await world.eraser.erase_audio(session_id)
    receipts = (await client.get(f"{path}/receipts", headers=DEV)).json()["items"]
    assert {receipt["kind"] for receipt in receipts} == {"audio", "transcript"}
    for receipt in receipts:
        await client.get(receipt["href"], headers=DEV)
    await client.get("/.well-known/quietnote-receipt-keys.json")
    await client.get("/v1/audit", headers=DEV)
    await client.get("/v1/clinics/demo/config", headers=DEV)
    await client.get("/v1/clinics/demo/consent-form?lang=es", headers=DEV)
    await client.get(f"{path}/participants/cl-1/consent", headers=person)
    beside = {"role": "guardian", "display_name": "Sam"}
    await client.post(f"{path}/participants/cl-1/shared", json=beside, headers=DEV)
    await webhooks(client)
    await records(client)

    await client.get("/healthz")
    await client.get("/readyz")
    await client.get("/metrics")

    async def missing() -> str:
        return "The speech model is not installed."

    world.services.health["model"] = missing  # type: ignore[index]
    await client.get("/readyz")
    csrf = {"X-CSRF-Token": await world.sign_in()}
    await client.get("/v1/auth/me")
    mine = (await client.post("/v1/sessions", json={"clinic_id": "demo"}, headers=csrf)).json()["session"]["id"]
    await client.post(f"/v1/sessions/{mine}/rejoin", headers=csrf)
    await client.post("/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD})
    signed_in = await client.post("/v1/auth/dev-login")
    await client.post("/v1/auth/logout", headers={"X-CSRF-Token": signed_in.json()["csrf"]})

    wanted = {(method, path, status) for method, path, status, _ in shapes(world.document.document)}
    assert wanted - world.document.seen == set()


async def records(client: httpx.AsyncClient) -> None:
    people = [
        {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
        {"id": "cl-9", "role": "client", "display_name": "Kim Lake"},
    ]
    await client.post("/v1/sessions", json={"clinic_id": "demo", "participants": people}, headers=DEV)
    await client.get("/v1/clients/cl-9", headers=DEV)
    held = (await client.post("/v1/holds", json={"client_ref": "cl-9", "matter": "m-1"}, headers=DEV)).json()["id"]
    await client.get("/v1/holds", headers=DEV)
    await client.delete(f"/v1/holds/{held}", headers=DEV)
    await client.get("/v1/clients/cl-9/export", headers=DEV)
    await client.delete("/v1/clients/cl-9?sessions=1", headers=DEV)
    listed = (await client.get("/v1/receipts", headers=DEV)).json()["items"]
    assert {one["kind"] for one in listed} == {"hold", "hold_lifted", "export", "client"}
    for one in listed:
        await client.get(one["href"], headers=DEV)


async def webhooks(client: httpx.AsyncClient) -> None:
    """Every answer of the routes of webhooks."""
    hooks = "/v1/clinics/demo/webhooks"
    made = (await client.post(hooks, json={"url": "https://hooks.example/"}, headers=DEV)).json()
    await client.get(hooks, headers=DEV)
    for what in ("rotate", "enable"):
        await client.post(f"{hooks}/{made['id']}/{what}", headers=DEV)
    sent = (await client.post(f"{hooks}/{made['id']}/test", headers=DEV)).json()
    await client.post(f"{hooks}/{made['id']}/deliveries/{sent['id']}/replay", headers=DEV)
    await client.get(f"{hooks}/{made['id']}/deliveries", headers=DEV)
    await client.delete(f"{hooks}/{made['id']}", headers=DEV)


async def test_what_the_document_does_not_say_fails_the_test(world: World) -> None:
    good = {"participant_id": "cl-1", "admitted": True}
    path = "/v1/sessions/ses_1/participants/cl-1/admit"
    check = world.document.check
    check("POST", path, 200, JSON, json.dumps(good).encode())
    bodies: tuple[Any, ...] = (good | {"more": 1}, good | {"participant_id": None}, good | {"admitted": "yes"}, {}, [])
    for wrong in bodies:
        with pytest.raises(AssertionError):
            check("POST", path, 200, JSON, json.dumps(wrong).encode())
    with pytest.raises(AssertionError):
        check("POST", path, 202, JSON, json.dumps(good).encode())
    for slug, status in (("transcript-purged", 410), ("session-locked", 409)):
        with pytest.raises(AssertionError):
            check("POST", path, status, MEDIA_TYPE, json.dumps({"slug": slug}).encode())
    with pytest.raises(AssertionError):
        check("GET", "/v1/other", 200, JSON, b"{}")
