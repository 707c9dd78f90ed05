"""Consent in the participant's language, on file, and said aloud: through the doors of a running service."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest

from bot.control.consentform import FormTemplate
from bot.demo.packets import RTP_RATE_HZ, Recording
from bot.demo.peer import CallFailed, Peer
from bot.settings import default_config_dir
from tests.integration import api_world
from tests.integration.api_world import DEV, bearer, problem_of
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, world

api = api_world.world

GERMAN = "Ein Programm soll mitschreiben.\n\nSie können Nein sagen."
CHOSEN = f"""
[consent]
on_file = true
verbal_attested = true
wording_version = "7"
[consent.wording]
de = {GERMAN!r}
en = "A program is to write this down."
""".replace("'", '"')
FILED = {
    "method": "on_file", "attested_by": CLINICIAN, "text_version": "form-en-1-0a1b2c3d", "date": "2025-05-03",
    "document_id": "DOC-77",
}  # fmt: skip
QUIET = Recording(np.zeros((RTP_RATE_HZ // 5, 1), np.int16))


def configured(folder: Path) -> Path:
    """The configuration, in which the demo clinic chose more."""
    shutil.copytree(default_config_dir(), folder)
    file = folder / "clinics" / "demo.toml"
    file.write_text(file.read_text("utf-8") + CHOSEN, "utf-8")
    return folder


def people(**client: Any) -> list[dict[str, Any]]:
    return [
        {"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"},
        {"id": CLIENT, "role": "client", "display_name": "Robin", **client},
    ]


@asynccontextmanager
async def call_of(place: World, **client: Any) -> AsyncIterator[Call]:
    answer = await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people(**client)})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    session_id = made["session"]["id"]
    tokens = {one["participant_id"]: one["token"] for one in made["join"]}
    peers = {who: Peer(place.url, session_id, tokens[who], recording=QUIET) for who in (CLINICIAN, CLIENT)}
    try:
        for peer in peers.values():
            await peer.join()
        call = Call(session_id, peers[CLINICIAN], peers[CLIENT])
        await call.admit()
        yield call
    finally:
        for peer in peers.values():
            await peer.leave()


async def recorded(place: World, call: Call, who: str = CLIENT) -> list[dict[str, Any]]:
    """What the platform reads of somebody's answers."""
    body = await place.get(f"/v1/sessions/{call.session_id}/participants/{who}/consent")
    answers: list[dict[str, Any]] = body["answers"]
    return answers


def vouched(viewer: Peer, who: str = CLIENT) -> Mapping[str, Any] | None:
    """What the roster shows ``viewer`` of who vouches for somebody."""
    found: Mapping[str, Any] | None = next(
        one["attested"] for one in viewer.roster["members"] if one["participant_id"] == who
    )
    return found


async def in_their_language(place: World) -> None:
    async with call_of(place, language="de-AT") as call:
        shown = call.client.welcome["consent_wording"]
        assert (shown["language"], shown["text"]) == ("de", GERMAN)
        assert call.clinician.welcome["consent_wording"]["language"] == "en"
        assert "start_wording" not in call.client.welcome
        beside = call.clinician.welcome["start_wording"]
        await call.clinician.control("start", consent={"text_version": beside["version"]})
        await call.client.consent("granted")
        [given] = await recorded(place, call)
        digest = hashlib.sha256(GERMAN.encode()).hexdigest()
        wanted = {"decision": "granted", "method": "in_call", "language": "de", "text_sha256": digest, "by": CLIENT}
        assert wanted.items() <= given.items()
        assert (given["text_version"], given["attested"]) == (f"7-{digest[:8]}", None)
        [pressed] = await recorded(place, call, CLINICIAN)
        assert (pressed["method"], pressed["text_version"]) == ("pressed_start", beside["version"])
        assert pressed["text_sha256"] == hashlib.sha256(beside["text"].encode()).hexdigest()
        own = bearer(call.client._token)
        mine = f"/v1/sessions/{call.session_id}/participants/{CLIENT}/consent"
        assert (await place.http.get(mine, headers=own)).json()["answers"] == [given]
        await call.clinician.control("discard")


async def on_file_in_a_call(place: World) -> None:
    async with call_of(place, consent=FILED) as call:
        assert [one["consent"] for one in call.client.roster["members"]] == [None, "granted"]
        wanted = {"method": "on_file", "by": "Dr. Ellis", "date": "2025-05-03", "until": None}
        for viewer in (call.clinician, call.client):
            assert vouched(viewer) == wanted
        ack = await call.clinician.control("start")
        assert ack["state"] == "capturing", "nobody is asked"
        await call.connect()
        [given] = await recorded(place, call)
        assert given["attested"] == {
            "attested_by": CLINICIAN, "date": "2025-05-03", "document_id": "DOC-77", "until": None,
        }  # fmt: skip
        assert (given["by"], given["text_sha256"], given["language"]) == ("platform", None, None)
        [pressed] = await recorded(place, call, CLINICIAN)
        assert (pressed["text_version"], pressed["text_sha256"]) == (None, None), "no text was beside this Start"
        await call.client.consent("revoked")
        await call.clinician.until(lambda: call.clinician.state["capture"] == "paused", "the pause")
        await call.client.until(lambda: vouched(call.client) is None, "that nobody vouches any more")
        assert [one["decision"] for one in await recorded(place, call)] == ["granted", "revoked"]
        await call.clinician.control("discard")


async def it_ends_in_the_call(place: World) -> None:
    until = datetime.now(UTC) + timedelta(seconds=4)
    async with call_of(place, consent=FILED | {"until": until.isoformat()}) as call:
        await call.clinician.control("start")
        await call.connect()
        await call.clinician.until(
            lambda: call.clinician.state["pause_reasons"] == ["consent"], "the end of the consent", 20
        )
        assert datetime.now(UTC) >= until
        consents = [one["consent"] for one in call.clinician.roster["members"] if one["participant_id"] == CLIENT]
        assert consents == ["requested"], "asked anew"
        await call.client.consent("granted")
        await call.clinician.until(lambda: call.clinician.state["capture"] == "capturing", "recording to go on")
        decisions = [(one["decision"], one["method"]) for one in await recorded(place, call)]
        assert decisions == [("granted", "on_file"), ("expired", "on_file"), ("granted", "in_call")]
        await call.clinician.control("discard")


async def said_aloud(place: World) -> None:
    async with call_of(place) as call:
        path = f"/v1/sessions/{call.session_id}/participants/{CLIENT}/consent"
        aloud = {"decision": "granted", "method": "verbal_attested"}
        clinician = bearer(call.clinician._token)

        async def put(body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
            return await place.http.put(path, json=body, headers=headers)

        await call.clinician.control("start")
        problem_of(await put(aloud, {}), 403, "forbidden")
        problem_of(await put(aloud, bearer(call.client._token)), 403, "forbidden")
        problem_of(await put(aloud | {"decision": "declined"}, clinician), 422, "config-invalid")
        problem_of(await put(aloud | {"text_version": "another"}, clinician), 412, "precondition-failed")
        for ours in ("on_file", "pressed_start", "asked"):
            body = {"decision": "granted", "method": ours}
            problem_of(await put(body, bearer(call.client._token)), 422, "config-invalid")
        with pytest.raises(CallFailed, match="forbidden"):
            await call.clinician.control("consent", consent=aloud | {"participant_id": CLIENT})
        assert await recorded(place, call) == []
        answer = await put(aloud, clinician)
        assert (answer.status_code, answer.json()["state"]) == (200, "capturing")
        [given] = await recorded(place, call)
        assert (given["method"], given["by"], given["text_version"]) == ("verbal_attested", CLINICIAN, None)
        assert given["attested"]["attested_by"] == CLINICIAN
        await call.client.until(lambda: vouched(call.client) is not None, "who vouches")
        assert vouched(call.client) == {"method": "verbal_attested", "by": "Dr. Ellis", "date": None, "until": None}
        await call.client.consent("revoked")
        problem_of(await put(aloud, clinician), 403, "forbidden")
        others = await place.http.get(path.replace(CLIENT, CLINICIAN), headers=bearer(call.client._token))
        problem_of(others, 403, "forbidden")
        await call.clinician.control("discard")


async def test_consent_by_every_way_a_clinic_may_allow(tmp_path: Path) -> None:
    async with world(tmp_path / "data", config_dir=configured(tmp_path / "config")) as place:
        await in_their_language(place)
        await on_file_in_a_call(place)
        await it_ends_in_the_call(place)
        await said_aloud(place)
    with closing(sqlite3.connect(tmp_path / "data" / "quietnote.db")) as db:
        answers = "kind like 'consent.%' and kind != 'consent.requested'"
        told = db.execute(f"select count(*) from session_events where {answers}")
        kept = db.execute("select count(*) from consents")
        assert told.fetchone() == kept.fetchone(), "every decision is an event"


# -- what is refused when a session is made ---------------------------------------------------------------------------


async def allow(api: api_world.World, **policy: bool) -> None:
    _, clinic = await api.services.clinics.current("demo")
    consent = clinic.consent.model_copy(update=policy)
    await api.services.clinics.save(clinic.model_copy(update={"consent": consent}), author="test")


async def make(api: api_world.World, headers: Mapping[str, str] = DEV, **change: Any) -> httpx.Response:
    body = {"clinic_id": "demo", "participants": people(consent=FILED | change)}
    return await api.client.post("/v1/sessions", json=body, headers=dict(headers))


async def test_consent_on_file_is_refused_unless_the_clinic_takes_it(api: api_world.World) -> None:
    refused = problem_of(await make(api), 403, "forbidden")
    assert refused["policy"] == "consent.on_file"
    await allow(api, on_file=True)
    assert (await make(api)).status_code == 201


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"attested_by": CLIENT}, "attested_by"),
        ({"attested_by": None}, "attested_by"),
        ({"attested_by": "nobody"}, "attested_by"),
        ({"date": "2999-01-01"}, "date"),
        ({"date": "yesterday"}, "date"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2999-01-01T00:00:00"}, "until"),
        ({"text_version": ""}, "text_version"),
        ({"document_id": "Robin Fields, signed"}, "document_id"),
        ({"method": "verbal_attested"}, "method"),
        ({"signed": True}, "signed"),
    ],
)
async def test_an_attestation_that_cannot_be_is_refused_and_named(
    api: api_world.World, change: dict[str, Any], path: str
) -> None:
    await allow(api, on_file=True)
    assert path in problem_of(await make(api, **change), 422, "config-invalid")["detail"]


async def test_a_clinician_is_not_attested_for_and_a_language_is_a_tag(api: api_world.World) -> None:
    await allow(api, on_file=True)
    for extra, path in (({"consent": FILED}, "consent"), ({"language": "German"}, "language")):
        clinician, client = people()
        body = {"clinic_id": "demo", "participants": [clinician | extra, client]}
        answer = await api.client.post("/v1/sessions", json=body, headers=DEV)
        assert path in problem_of(answer, 422, "config-invalid")["detail"]


async def test_who_is_signed_in_attests_for_themselves_only(api: api_world.World) -> None:
    await allow(api, on_file=True)
    csrf = {"X-CSRF-Token": await api.sign_in()}
    own = {"clinic_id": "demo", "participants": [people()[1] | {"consent": FILED | {"attested_by": None}}]}
    made = (await api.client.post("/v1/sessions", json=own, headers=csrf)).json()["session"]
    [client] = [one for one in made["participants"] if one["role"] == "client"]
    assert client["consent"] == "granted"
    path = f"/v1/sessions/{made['id']}/participants/{client['id']}/consent"
    [given] = (await api.client.get(path)).json()["answers"]
    assert given["attested"]["attested_by"] == given["by"] == made["clinician_id"]
    both = people(consent=FILED)
    both.append({"role": "clinician", "display_name": "Dr. Ada Stone"})
    answer = await api.client.post("/v1/sessions", json={"clinic_id": "demo", "participants": both}, headers=csrf)
    problem_of(answer, 403, "forbidden")
    await api.client.post("/v1/auth/logout", headers=csrf)
    csrf = {"X-CSRF-Token": await api.sign_in("root@example.org", role="admin")}
    problem_of(await make(api, csrf), 403, "forbidden")


# -- the form ---------------------------------------------------------------------------------------------------------


async def test_the_form_is_the_clinics_own_and_read_by_its_people(api: api_world.World) -> None:
    path = "/v1/clinics/demo/consent-form"
    form = (await api.client.get(f"{path}?lang=de-CH", headers=DEV)).json()
    assert form["language"] == "de"
    assert {one["language"] for one in form["languages"]} == {"en", "de", "es"}
    assert form["version"].startswith("form-de-2-")
    assert (await api.client.get(path, headers=DEV)).json()["language"] == "en"
    problem_of(await api.client.get(path), 401, "unauthorized")
    problem_of(await api.client.get("/v1/clinics/other/consent-form", headers=DEV), 404, "not-found")
    problem_of(await api.client.get(path, headers=await api.key("demo", "notes")), 403, "forbidden")
    made = await api.session()
    for join in made["join"]:
        problem_of(await api.client.get(path, headers=bearer(join["token"])), 403, "forbidden")
    cast("dict[str, FormTemplate]", api.services.forms).clear()
    problem_of(await api.client.get(path, headers=DEV), 404, "not-found")
