"""Keys, tokens, cookies: who gets in, and who does not."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import jwt
import pytest

from bot.control.auth import COOKIE
from bot.control.tokens import SECRET_FILE
from bot.events import Role
from bot.settings import Settings
from tests.integration import api_world
from tests.integration.api_world import BASE, DEV, PASSWORD, World, bearer, open_world, problem_of, token_of

world = api_world.world


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic ZGV2OmRldg==",
        "Bearer qn_wrong",
        "Bearer DEV",
        "Bearer a.b.c",
        "Bearer " + "x" * 5000,
    ],
)
async def test_a_wrong_key_is_refused(world: World, header: str | None) -> None:
    answer = await world.client.get("/v1/sessions", headers={} if header is None else {"Authorization": header})
    problem_of(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_refused(world: World) -> None:
    record, key = await world.services.keys.create("demo", ["sessions"])
    assert (await world.client.get("/v1/sessions", headers=bearer(key))).status_code == 200
    await world.services.keys.revoke(record.id)
    problem_of(await world.client.get("/v1/sessions", headers=bearer(key)), 401, "unauthorized")


async def test_keys_have_scopes(world: World) -> None:
    sessions, notes, admin = [await world.key("demo", scope) for scope in ("sessions", "notes", "admin")]
    expected = {
        "/v1/sessions": (200, 403, 200),
        "/v1/inbox": (403, 200, 200),
        "/v1/notes": (403, 200, 200),
        "/v1/clinics/demo/config": (403, 403, 200),
        "/v1/clinics/demo/webhooks": (403, 403, 200),
    }
    for path, wanted in expected.items():
        got = tuple([(await world.client.get(path, headers=key)).status_code for key in (sessions, notes, admin)])
        assert got == wanted, path


@pytest.mark.parametrize(
    "update", [{"dev": False}, {"host": "0.0.0.0"}, {"host": "192.168.1.9"}, {"host": "example.org"}]
)
async def test_the_development_key_needs_the_setting_and_loopback(tmp_path: Path, update: dict[str, object]) -> None:
    def change(settings: Settings) -> Settings:
        return settings.model_copy(update=update)

    async with open_world(tmp_path, change=change) as world:
        problem_of(await world.client.get("/v1/sessions", headers=DEV), 401, "unauthorized")
        problem_of(await world.client.post("/v1/auth/dev-login"), 404, "not-found")
        assert (await world.client.get("/healthz")).json()["dev"] is False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_the_development_key_works_on_loopback(tmp_path: Path, host: str) -> None:
    async with open_world(tmp_path, change=lambda s: s.model_copy(update={"host": host})) as world:
        assert (await world.client.get("/v1/sessions", headers=DEV)).status_code == 200


async def test_another_name_for_this_machine_does_not_reach_development_mode(world: World) -> None:
    rebound = await world.client.get("/v1/sessions", headers=DEV | {"Host": "evil.example:8080"})
    problem_of(rebound, 403, "forbidden")
    assert (await world.client.get("/v1/sessions", headers=DEV | {"Host": "localhost:8080"})).status_code == 200


async def test_a_stale_token_is_refused(world: World) -> None:
    made = await world.session()
    path, token = f"/v1/sessions/{made['session']['id']}", bearer(token_of(made, Role.CLIENT))
    assert (await world.client.get(path, headers=token)).status_code == 200
    world.clock.advance(12 * 3600 - 1)
    assert (await world.client.get(path, headers=token)).status_code == 200
    world.clock.advance(1)
    assert "expired" in problem_of(await world.client.get(path, headers=token), 401, "unauthorized")["detail"]


async def test_a_token_lasts_over_its_appointment(world: World) -> None:
    made = await world.session(
        appointment={"external_id": "a", "starts_at": "2026-01-07T10:00:00Z", "ends_at": "2026-01-07T11:00:00Z"}
    )
    world.clock.advance(50 * 3600)
    world.services.tokens.check(token_of(made, Role.CLIENT))


async def test_forged_tokens_are_refused(world: World) -> None:
    made = await world.session()
    path = f"/v1/sessions/{made['session']['id']}"
    token = token_of(made, Role.CLIENT)
    claims = jwt.decode(token, options={"verify_signature": False})
    secret = bytes.fromhex((world.services.settings.data_dir / "vault" / SECRET_FILE).read_text())
    head, body, signature = token.split(".")

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    clinician = claims | {"role": "clinician"}
    forged = [
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(clinician)}.",
        f"{part({'alg': 'None'})}.{part(clinician)}.{signature}",
        f"{head}.{part(clinician)}.{signature}",
        f"{head}.{body}.{signature[:-2]}AA",
        jwt.encode(claims, b"x" * 32, algorithm="HS256"),
        jwt.encode(claims, secret * 2, algorithm="HS512"),
        jwt.encode(claims | {"aud": "somebody-else"}, secret, algorithm="HS256"),
        jwt.encode(claims | {"iss": "somebody-else"}, secret, algorithm="HS256"),
        jwt.encode(claims | {"role": "boss"}, secret, algorithm="HS256"),
        jwt.encode(claims | {"session_id": 7}, secret, algorithm="HS256"),
        jwt.encode({k: v for k, v in claims.items() if k != "exp"}, secret, algorithm="HS256"),
        jwt.encode(claims | {"exp": "soon"}, secret, algorithm="HS256"),
    ]
    for bad in forged:
        problem_of(await world.client.get(path, headers=bearer(bad)), 401, "unauthorized")
    other = jwt.encode(claims | {"clinic_id": "elsewhere"}, secret, algorithm="HS256")
    problem_of(await world.client.get(path, headers=bearer(other)), 404, "not-found")


async def test_signing_in_and_out(world: World) -> None:
    problem_of(await world.client.get("/v1/auth/me"), 401, "unauthorized")
    csrf = await world.sign_in()
    cookie = next(iter(world.client.cookies.jar))
    assert cookie.name == COOKIE
    me = (await world.client.get("/v1/auth/me")).json()
    assert me["csrf"] == csrf
    assert me["dev"] is True
    assert me["user"]["display_name"] == "Dr. Ada Stone"
    problem_of(await world.client.post("/v1/auth/logout"), 403, "forbidden")
    assert (await world.client.post("/v1/auth/logout", headers={"X-CSRF-Token": csrf})).status_code == 204
    world.client.cookies.set(COOKIE, cookie.value or "", domain="127.0.0.1")
    problem_of(await world.client.get("/v1/auth/me"), 401, "unauthorized")


async def test_the_cookie_is_out_of_reach(tmp_path: Path) -> None:
    for secure in (False, True):
        folder = tmp_path / str(secure)
        folder.mkdir()

        def change(settings: Settings, on: bool = secure) -> Settings:
            return settings.model_copy(update={"cookie_secure": on})

        async with open_world(folder, change=change) as world:
            answer = await world.client.post("/v1/auth/dev-login")
            words = answer.headers["set-cookie"].lower()
            assert "httponly" in words
            assert "samesite=strict" in words
            assert "path=/" in words
            assert ("secure" in words) is secure
            again = await world.client.post("/v1/auth/dev-login")
            assert again.json()["user"] == answer.json()["user"]
            assert again.json()["csrf"] != answer.json()["csrf"]


async def test_a_change_by_cookie_needs_the_csrf_token(world: World) -> None:
    csrf = await world.sign_in()
    body = {"clinic_id": "demo", "participants": []}
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": csrf[:-1]}, {"X-CSRF-Token": "\u00e9".encode()}):
        answer = await world.client.post("/v1/sessions", json=body, headers=headers)  # type: ignore[arg-type]
        problem_of(answer, 403, "forbidden")
    answer = await world.client.post("/v1/sessions", json=body, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 201


async def test_another_sites_page_cannot_sign_somebody_in(world: World) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
        problem_of(await world.client.post("/v1/auth/dev-login", headers={"Origin": origin}), 403, "forbidden")
    assert (await world.client.post("/v1/auth/dev-login", headers={"Origin": BASE})).status_code == 200


async def test_guessing_passwords_is_slowed_down(world: World) -> None:
    await world.sign_in()
    world.client.cookies.clear()
    wrong = {"email": "ada@example.org", "password": "not this one"}
    statuses = [(await world.client.post("/v1/auth/login", json=wrong)).status_code for _ in range(11)]
    assert statuses == [401] * 9 + [429] * 2
    right = {"email": "ada@example.org", "password": PASSWORD}
    limited = await world.client.post("/v1/auth/login", json=right)
    problem_of(limited, 429, "rate-limited")
    assert limited.headers["retry-after"] == "300"
    problem_of(await world.client.post("/v1/auth/login", json=wrong | {"email": "b@example.org"}), 401, "unauthorized")
    world.clock.advance(300)
    assert (await world.client.post("/v1/auth/login", json=right)).status_code == 200


async def test_the_same_key_and_body_get_the_same_answer(world: World) -> None:
    headers = DEV | {"Idempotency-Key": "once"}
    body = {"clinic_id": "demo", "participants": [{"id": "a", "role": "clinician", "display_name": "X"}]}
    first = await world.client.post("/v1/sessions", json=body, headers=headers)
    again = await world.client.post("/v1/sessions", json=body, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await world.client.get("/v1/sessions", headers=DEV)).json()["items"]) == 1
    other = await world.client.post("/v1/sessions", json=body | {"mode": "summary_only"}, headers=headers)
    problem_of(other, 409, "idempotency-conflict")
    elsewhere = await world.client.post("/v1/inbox/inb_1/read", headers=headers)
    problem_of(elsewhere, 409, "idempotency-conflict")
    odd = await world.client.post("/v1/sessions", json=body, headers=DEV | {"Idempotency-Key": "a b"})
    problem_of(odd, 422, "config-invalid")


async def test_a_key_is_the_senders_own(world: World) -> None:
    first = await world.session(DEV | {"Idempotency-Key": "k"})
    second = await world.session(await world.key() | {"Idempotency-Key": "k"})
    assert first["session"]["id"] != second["session"]["id"]


async def test_a_failed_request_may_be_tried_again_under_its_key(world: World) -> None:
    session_id = (await world.session())["session"]["id"]
    live = await world.live.of(session_id)
    live.fault = RuntimeError("words of a client")
    headers = DEV | {"Idempotency-Key": "k"}
    address, body = f"/v1/sessions/{session_id}/capture", {"action": "start"}
    problem_of(await world.client.post(address, json=body, headers=headers), 500, "internal-error")
    live.fault = None
    assert (await world.client.post(address, json=body, headers=headers)).status_code == 200
    assert (await world.client.post(address, json=body, headers=headers)).status_code == 200
    assert len(live.asked) == 2


async def test_two_at_once_have_one_effect(world: World) -> None:
    headers = DEV | {"Idempotency-Key": "twice"}
    body = {"clinic_id": "demo", "participants": [{"id": "a", "role": "clinician", "display_name": "X"}]}
    answers = await asyncio.gather(*(world.client.post("/v1/sessions", json=body, headers=headers) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len((await world.client.get("/v1/sessions", headers=DEV)).json()["items"]) == 1
