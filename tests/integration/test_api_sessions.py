"""Sessions over HTTP: made, read, listed, recorded; and who may."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from bot.clinics import load_files
from bot.control.api.bodies import MOST_PEOPLE
from bot.control.capture import ActorKind
from bot.errors import ClientNotPresent, InvalidTransition
from bot.events import CaptureAction, ConsentState, Gap, GapReason, PauseReason, Role, Segment
from bot.settings import default_config_dir
from bot.store.states import WARNED
from tests.integration import api_world
from tests.integration.api_world import DEV, World, bearer, problem_of, token_of

world = api_world.world
CROWD = [{"id": f"p{n}", "role": "guest" if n else "clinician", "display_name": "X"} for n in range(MOST_PEOPLE + 1)]


async def test_a_session_is_made_with_a_token_and_a_link_for_each(world: World) -> None:
    made = await world.session(
        appointment={"external_id": "apt-9", "starts_at": "2026-01-05T10:00:00Z", "ends_at": "2026-01-05T11:00:00Z"}
    )
    session = made["session"]
    assert session["bot"] == "absent"
    assert session["capture"] == "off"
    assert session["words"] == "Not recording"
    assert session["appointment"]["external_id"] == "apt-9"
    assert {join["participant_id"] for join in made["join"]} == {"dr-1", "cl-1"}
    for join in made["join"]:
        address, _, code = join["invite_url"].partition("#")
        assert address == f"http://127.0.0.1:8080/join/{session['id']}"
        assert len(code) >= 32
        assert code not in address
        claims = world.services.tokens.check(join["token"])
        assert (claims.session_id, claims.role.value) == (session["id"], join["role"])
    read = await world.client.get(f"/v1/sessions/{session['id']}", headers=DEV)
    assert read.json()["participants"][0]["display_name"] == "Robin Fields"
    assert read.headers["cache-control"] == "no-store"


async def test_a_link_becomes_a_token(world: World) -> None:
    made = await world.session()
    link = next(join["invite_url"] for join in made["join"] if join["role"] == "client")
    code = link.partition("#")[2]
    body = {"session_id": made["session"]["id"], "code": code}
    answer = await world.client.post("/v1/join", json=body)
    assert answer.status_code == 200
    assert answer.json()["participant"]["id"] == "cl-1"
    claims = world.services.tokens.check(answer.json()["token"])
    assert claims.participant_id == "cl-1"
    problem_of(await world.client.post("/v1/join", json=body | {"code": code[:-1] + "x"}), 404, "not-found")
    problem_of(await world.client.post("/v1/join", json=body | {"session_id": "ses_x"}), 404, "not-found")


async def test_a_list_tells_as_much_as_the_sessions_do_in_the_same_number_of_queries(world: World) -> None:
    counts = []
    for _ in range(3):
        session_id = (await world.session())["session"]["id"]
        world.clock.advance(1)
        for who, role in (("dr-1", Role.CLINICIAN), ("cl-1", Role.CLIENT)):
            await world.store.ensure_lane(session_id, who, role)
        warning = {"slug": "words-set-aside", "participant_id": "cl-1", "since_ms": 900}
        await world.store.change(session_id, WARNED, data=warning)
        live = await world.live.of(session_id)
        live.warnings = [warning, {"slug": "disk-full", "participant_id": None, "since_ms": 1200}]
        asked: list[str] = []

        def count(*what: Any, asked: list[str] = asked) -> None:
            asked.append(str(what[2]))

        engine = world.services.db.engine.sync_engine
        event.listen(engine, "before_cursor_execute", count)
        items = (await world.client.get("/v1/sessions", headers=DEV)).json()["items"]
        event.remove(engine, "before_cursor_execute", count)
        counts.append(len([statement for statement in asked if statement.startswith("SELECT")]))
        for item in items:
            assert item == (await world.client.get(f"/v1/sessions/{item['id']}", headers=DEV)).json()
            assert [person["id"] for person in item["participants"]] == ["cl-1", "dr-1"]
            assert [lane["participant_id"] for lane in item["lanes"]] == ["cl-1", "dr-1"]
            warned = [(warning["slug"], warning["since_ms"]) for warning in item["warnings"]]
            assert warned == [("words-set-aside", 900), ("disk-full", 1200)]
    assert counts[0] == counts[1] == counts[2]


async def test_lists_go_page_by_page(world: World) -> None:
    ids = []
    for _ in range(5):
        ids.append((await world.session())["session"]["id"])
        world.clock.advance(1)
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await world.client.get(f"/v1/sessions?limit=2{cursor}", headers=DEV)
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]
    problem_of(await world.client.get("/v1/sessions?cursor=!", headers=DEV), 422, "config-invalid")
    problem_of(await world.client.get("/v1/sessions?limit=0", headers=DEV), 422, "config-invalid")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"participants": [{"id": "c", "role": "client", "display_name": "X"}]}, "participants"),
        ({"participants": [{"id": "bot", "role": "clinician", "display_name": "X"}]}, "participants"),
        ({"participants": [{"id": "a b", "role": "clinician", "display_name": "X"}]}, "participants.0.id"),
        ({"participants": [{"id": "a", "role": "boss", "display_name": "X"}]}, "participants.0.role"),
        ({"participants": [{"id": "a", "role": "clinician", "display_name": "X"}] * 2}, "participants"),
        ({"participants": CROWD}, "participants"),
        ({"template": "poem"}, "template"),
        (
            {"appointment": {
                "external_id": "a", "starts_at": "2026-01-05T11:00:00Z", "ends_at": "2026-01-05T10:00:00Z"
            }},
            "appointment.ends_at",
        ),
        ({"language": "english"}, "language"),
        ({"room": {"transport": "livekit", "name": "r"}}, "room.transport"),
        ({"mode": "half"}, "mode"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_a_wrong_session_names_the_path(world: World, change: dict[str, Any], path: str) -> None:
    people = [{"id": "a", "role": "clinician", "display_name": "Xaverius"}]
    body = {"clinic_id": "demo", "participants": people} | change
    answer = await world.client.post("/v1/sessions", json=body, headers=DEV)
    problem = problem_of(answer, 422, "config-invalid")
    assert problem["detail"].startswith(f"{path}:")
    assert (await world.client.get("/v1/sessions", headers=DEV)).json()["items"] == []


async def test_a_clinic_whose_own_template_does_not_exist(world: World) -> None:
    _, config = await world.services.clinics.current("demo")
    lost = config.model_copy(update={"note": config.note.model_copy(update={"template": "gone"})})
    await world.services.clinics.save(lost, author="somebody")
    people = [{"id": "a", "role": "clinician", "display_name": "Xaverius"}]
    body = {"clinic_id": "demo", "participants": people}
    answer = await world.client.post("/v1/sessions", json=body, headers=DEV)
    assert problem_of(answer, 422, "config-invalid")["detail"].startswith("template: ")
    await world.session(template="dap")


async def test_a_clinic_that_works_by_appointment(world: World) -> None:
    _, config = await world.services.clinics.current("demo")
    await world.services.clinics.save(config.model_copy(update={"mode": "integrated"}), author="somebody")
    body = {"clinic_id": "demo", "participants": [{"id": "a", "role": "clinician", "display_name": "Xaverius"}]}
    for more in ({}, {"mode": "summary_only"}):
        answer = await world.client.post("/v1/sessions", json=body | more, headers=DEV)
        assert "by appointment" in problem_of(answer, 409, "appointment-missing")["detail"]
    assert (await world.client.get("/v1/sessions", headers=DEV)).json()["items"] == []
    made = await world.session(appointment={"external_id": "apt-9"})
    assert made["session"]["appointment"]["external_id"] == "apt-9"


async def test_the_clinician_who_signed_in_counts_as_one_of_the_call(world: World) -> None:
    headers = {"X-CSRF-Token": await world.sign_in()}
    body = {"clinic_id": "demo", "participants": CROWD[1:]}
    answer = await world.client.post("/v1/sessions", json=body, headers=headers)
    problem = problem_of(answer, 422, "config-invalid")
    assert problem["detail"] == f"participants: a call holds {MOST_PEOPLE} pages, the clinician's among them."
    full = await world.client.post("/v1/sessions", json=body | {"participants": CROWD[2:]}, headers=headers)
    assert len(full.json()["session"]["participants"]) == MOST_PEOPLE


async def test_a_clinician_needs_no_admission(world: World) -> None:
    people = (await world.session())["session"]["participants"]
    assert {one["role"]: one["admitted"] for one in people} == {"clinician": True, "client": False}


@pytest.mark.parametrize(
    ("cause", "slug"),
    [
        ("endpoint-refused", "note-generation-failed"),
        ("transcription-failed", "note-generation-failed"),
        ("audio-too-short", "audio-too-short"),
    ],
)
async def test_what_failed_is_a_slug_of_the_contract_and_its_cause(world: World, cause: str, slug: str) -> None:
    session_id = (await world.session())["session"]["id"]
    read = await world.client.get(f"/v1/sessions/{session_id}", headers=DEV)
    assert (read.json()["failure_slug"], read.json()["failure_cause"]) == (None, None)
    await world.store.change(session_id, "note.failed", failure_slug=cause)
    session = (await world.client.get(f"/v1/sessions/{session_id}", headers=DEV)).json()
    assert (session["failure_slug"], session["failure_cause"]) == (slug, cause)
    assert [warning["slug"] for warning in session["warnings"]] == [slug]


async def test_an_unknown_clinic_and_another_clinic_look_alike(world: World) -> None:
    await world.other_clinic()
    made = await world.session()
    session_id = made["session"]["id"]
    other = await world.key("other", "sessions", "notes", "admin")
    body = {"participants": [{"role": "clinician", "display_name": "X"}]}
    answers = [
        await world.client.post("/v1/sessions", json=body | {"clinic_id": clinic}, headers=other)
        for clinic in ("demo", "nowhere")
    ]
    assert answers[0].json() == answers[1].json()
    problem_of(answers[0], 404, "not-found")
    for path in ("", "/transcript", "/receipts", "/events"):
        theirs = await world.client.get(f"/v1/sessions/{session_id}{path}", headers=other)
        nobodys = await world.client.get(f"/v1/sessions/ses_nope{path}", headers=other)
        problem_of(theirs, 404, "not-found")
        assert theirs.json() == nobodys.json()
    answer = await world.client.post(f"/v1/sessions/{session_id}/capture", json={"action": "start"}, headers=other)
    problem_of(answer, 404, "not-found")
    assert world.live.sessions == {}


async def test_a_platform_acts_for_the_clinician_it_names(world: World) -> None:
    two = [
        {"id": "dr-1", "role": "clinician", "display_name": "A"},
        {"id": "dr-2", "role": "clinician", "display_name": "B"},
        {"id": "cl-1", "role": "client", "display_name": "C"},
    ]
    session_id = (await world.session(participants=two))["session"]["id"]
    address = f"/v1/sessions/{session_id}/capture"
    for wrong in ({}, {"clinician_id": "cl-1"}, {"clinician_id": "dr-9"}):
        answer = await world.client.post(address, json={"action": "start"} | wrong, headers=DEV)
        assert "clinician_id" in problem_of(answer, 422, "config-invalid")["detail"]
    body = {"action": "start", "clinician_id": "dr-2", "message_id": "m-1", "seq": 3}
    answer = await world.client.post(address, json=body, headers=DEV)
    assert answer.json() == {"state": "capturing", "effective_at_ms": 1234, "seq": 7}
    [(_, actor, action, message_id, seq)] = world.live.sessions[session_id].asked
    assert (actor.kind, actor.participant_id) == (ActorKind.PLATFORM, "dr-2")
    assert (action, message_id, seq) == (CaptureAction.START, "m-1", 3)


async def test_a_refused_action_is_a_problem(world: World) -> None:
    session_id = (await world.session())["session"]["id"]
    live = await world.live.of(session_id)
    address = f"/v1/sessions/{session_id}/capture"
    live.refuse = ClientNotPresent()
    answer = await world.client.post(address, json={"action": "start"}, headers=DEV)
    problem_of(answer, 409, "client-not-present")
    live.refuse = InvalidTransition("start is not possible while recording.", state="capturing")
    answer = await world.client.post(address, json={"action": "start"}, headers=DEV)
    assert problem_of(answer, 409, "invalid-transition")["state"] == "capturing"
    answer = await world.client.post(address, json={"action": "jump"}, headers=DEV)
    problem_of(answer, 422, "config-invalid")


async def test_consent_is_ones_own(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    client, clinician = token_of(made, Role.CLIENT), token_of(made, Role.CLINICIAN)
    address = f"/v1/sessions/{session_id}/participants/cl-1/consent"
    body = {"decision": "granted", "method": "api", "text_version": "1"}
    for nobody in (DEV, await world.key(), bearer(clinician)):
        problem_of(await world.client.put(address, json=body, headers=nobody), 403, "forbidden")
    other = f"/v1/sessions/{session_id}/participants/dr-1/consent"
    problem_of(await world.client.put(other, json=body, headers=bearer(client)), 403, "forbidden")
    assert session_id not in world.live.sessions
    answer = await world.client.put(address, json=body, headers=bearer(client))
    assert answer.json()["consent"] == "unknown", "what is recorded, and this session records nothing"
    [(_, actor, participant_id, decision, _)] = world.live.sessions[session_id].asked
    assert (actor.participant_id, participant_id, decision) == ("cl-1", "cl-1", ConsentState.GRANTED)


async def test_a_client_reads_the_bot_and_their_own_consent_and_nothing_else(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    note_id = await world.drafted(session_id)
    client = bearer(token_of(made, Role.CLIENT))
    read = await world.client.get(f"/v1/sessions/{session_id}", headers=client)
    assert read.status_code == 200
    assert set(read.json()) == {
        "id", "seq", "bot", "bot_end_reason", "capture", "pause_reasons", "words", "participants"
    }  # fmt: skip
    [own] = read.json()["participants"]
    assert own["id"] == "cl-1"
    assert set(own) == {"id", "role", "display_name", "consent", "language", "shares_with", "admitted"}
    assert read.json()["words"] == "Not recording", "nor that a draft is ready"
    forbidden = [
        ("GET", f"/v1/sessions/{session_id}/transcript", None),
        ("GET", f"/v1/sessions/{session_id}/receipts", None),
        ("POST", f"/v1/sessions/{session_id}/inputs", {"kind": "observation", "text": "x"}),
        ("POST", f"/v1/sessions/{session_id}/capture", {"action": "start"}),
        ("POST", f"/v1/sessions/{session_id}/participants/cl-1/admit", {}),
        ("POST", f"/v1/sessions/{session_id}/rejoin", {}),
        ("GET", f"/v1/notes/{note_id}", None),
        ("POST", f"/v1/notes/{note_id}/sign", {}),
        ("GET", "/v1/notes", None),
        ("GET", "/v1/inbox", None),
        ("POST", "/v1/inbox/inb_1/read", {}),
        ("GET", "/v1/sessions", None),
        ("GET", "/v1/clinics/demo/config", None),
    ]
    for method, path, body in forbidden:
        answer = await world.client.request(method, path, json=body, headers=client)
        assert answer.status_code == 403, (method, path, answer.text)
        problem_of(answer, 403, "forbidden")
    another = (await world.session())["session"]["id"]
    problem_of(await world.client.get(f"/v1/sessions/{another}", headers=client), 404, "not-found")
    clinician = bearer(token_of(made, Role.CLINICIAN))
    problem_of(await world.client.get(f"/v1/sessions/{another}", headers=clinician), 404, "not-found")


async def test_the_waiting_room_over_http(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    address = f"/v1/sessions/{session_id}/participants"
    answer = await world.client.post(f"{address}/cl-1/admit", headers=bearer(token_of(made, Role.CLINICIAN)))
    assert answer.json() == {"participant_id": "cl-1", "admitted": True}
    problem_of(await world.client.post(f"{address}/cl-7/admit", headers=DEV), 404, "not-found")


async def test_the_transcript_with_names_and_gaps(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    lane = await world.store.ensure_lane(session_id, "cl-1", Role.CLIENT)
    await world.store.commit_final(
        session_id, Segment("seg-1", 2, True, lane.id, "cl-1", Role.CLIENT, 500, 1500, "I slept badly.", confidence=0.9)
    )
    gap = Gap(2000, 3000, GapReason.PAUSED, None, (PauseReason.CLINICIAN,))
    await world.store.add_gap(session_id, gap)
    answer = await world.client.get(f"/v1/sessions/{session_id}/transcript", headers=DEV)
    body = answer.json()
    assert body["segments"] == [
        {
            "id": "seg-1",
            "participant_id": "cl-1",
            "role": "client",
            "display_name": "Robin Fields",
            "speakers": ["cl-1"],
            "attribution": "own",
            "start_ms": 500,
            "end_ms": 1500,
            "text": "I slept badly.",
            "confidence": 0.9,
        }
    ]
    assert body["gaps"][0]["pause_reasons"] == ["clinician"]
    await world.store.purge_transcript(session_id, "retention")
    problem_of(await world.client.get(f"/v1/sessions/{session_id}/transcript", headers=DEV), 410, "transcript-purged")


async def test_a_clinician_sees_their_own_sessions_only(world: World) -> None:
    theirs = (await world.session())["session"]["id"]
    csrf = {"X-CSRF-Token": await world.sign_in()}
    body = {"clinic_id": "demo", "participants": [{"role": "client", "display_name": "Robin Fields"}]}
    made = (await world.client.post("/v1/sessions", json=body, headers=csrf)).json()
    own = made["session"]["id"]
    user_id = (await world.client.get("/v1/auth/me")).json()["user"]["id"]
    assert user_id in {person["id"] for person in made["session"]["participants"]}, "the maker is the clinician"
    assert [item["id"] for item in (await world.client.get("/v1/sessions")).json()["items"]] == [own]
    problem_of(await world.client.get(f"/v1/sessions/{theirs}"), 404, "not-found")
    rejoined = await world.client.post(f"/v1/sessions/{own}/rejoin", headers=csrf)
    claims = world.services.tokens.check(rejoined.json()["token"])
    assert (claims.participant_id, claims.role) == (user_id, Role.CLINICIAN)
    problem_of(await world.client.post(f"/v1/sessions/{theirs}/rejoin", headers=csrf), 404, "not-found")


async def test_inputs_are_kept_and_sealed(world: World) -> None:
    session_id = (await world.session())["session"]["id"]
    body = {"kind": "clinician_summary", "text": "Zebra-crossing anxiety."}
    answer = await world.client.post(f"/v1/sessions/{session_id}/inputs", json=body, headers=DEV)
    assert answer.status_code == 201
    [kept] = await world.store.inputs(session_id)
    assert (kept.input_id, kept.text) == (answer.json()["id"], "Zebra-crossing anxiety.")
    assert "Zebra" not in answer.text


async def test_the_clinics_configuration(world: World) -> None:
    answer = await world.client.get("/v1/clinics/demo/config", headers=DEV)
    assert answer.json()["version"] == 1
    assert answer.json()["config"]["name"] == load_files(default_config_dir())["demo"].name
    assert answer.headers["etag"] == '"1"'
    problem_of(await world.client.get("/v1/clinics/other/config", headers=DEV), 404, "not-found")
    limited = await world.key("demo", "sessions")
    problem_of(await world.client.get("/v1/clinics/demo/config", headers=limited), 403, "forbidden")
