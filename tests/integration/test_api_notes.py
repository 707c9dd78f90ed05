"""Notes, the inbox and receipts over HTTP; and whose signature counts."""

from __future__ import annotations

from bot.events import Role, Segment
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration import api_world
from tests.integration.api_world import DEV, World, bearer, draft, problem_of, token_of

world = api_world.world


async def test_the_sessions_clinician_signs_and_the_transcript_goes(world: World) -> None:
    csrf = {"X-CSRF-Token": await world.sign_in()}
    body = {"clinic_id": "demo", "participants": [{"id": "cl-1", "role": "client", "display_name": "Robin"}]}
    session_id = (await world.client.post("/v1/sessions", json=body, headers=csrf)).json()["session"]["id"]
    lane = await world.store.ensure_lane(session_id, "cl-1", Role.CLIENT)
    await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
    await world.store.change(session_id, "capture.started", capture="capturing", audio="held", transcript="live")
    await world.store.commit_final(
        session_id, Segment("seg-1", 1, True, lane.id, "cl-1", Role.CLIENT, 0, 1000, "I slept badly.")
    )
    await world.store.change(session_id, "capture.finished", capture="finished")
    await world.store.change(session_id, "transcript.ready", transcript="ready")
    await world.store.change(session_id, "note.queued", note="queued")
    await world.store.change(session_id, "note.generating", note="generating")
    note = await world.store.save_note(session_id, draft("The client slept badly."))

    inbox = (await world.client.get("/v1/inbox")).json()
    assert inbox["unread"] == 1
    [item] = inbox["items"]
    assert (item["kind"], item["note_id"], item["read"]) == ("draft_ready", note.id, False)
    read = await world.client.post(f"/v1/inbox/{item['id']}/read", headers=csrf)
    assert read.json()["read"] is True
    assert (await world.client.get("/v1/inbox?unread=true")).json() == {"items": [], "next_cursor": None, "unread": 0}

    unsigned = await world.client.get(f"/v1/notes/{note.id}")
    assert unsigned.headers["etag"] == '"1"'
    assert unsigned.json()["state"] == "draft"
    for header in ('"2"', 'W/"9"'):
        stale = await world.client.post(f"/v1/notes/{note.id}/sign", headers=csrf | {"If-Match": header})
        problem_of(stale, 412, "precondition-failed")
    odd = await world.client.post(f"/v1/notes/{note.id}/sign", headers=csrf | {"If-Match": "x"})
    problem_of(odd, 422, "config-invalid")
    problem_of(await world.client.post(f"/v1/notes/{note.id}/sign"), 403, "forbidden")
    signed = await world.client.post(f"/v1/notes/{note.id}/sign", headers=csrf | {"If-Match": '"1"'})
    assert signed.json()["state"] == "signed"
    user_id = (await world.client.get("/v1/auth/me")).json()["user"]["id"]
    assert signed.json()["signed_by"] == user_id
    problem_of(await world.client.get(f"/v1/sessions/{session_id}/transcript"), 410, "transcript-purged")
    problem_of(await world.client.post(f"/v1/notes/{note.id}/sign", headers=csrf), 409, "session-locked")

    [receipt] = (await world.client.get(f"/v1/sessions/{session_id}/receipts")).json()["items"]
    assert receipt["kind"] == "transcript"
    file = await world.client.get(receipt["href"])
    keys = load_public_keys((await world.client.get("/.well-known/quietnote-receipt-keys.json")).content)
    assert verify_receipt(file.content, keys).valid
    assert receipt["receipt"] == file.json()
    assert "attachment" in file.headers["content-disposition"]
    [summary] = (await world.client.get("/v1/notes")).json()["items"]
    assert (summary["note_id"], summary["state"], summary["transcript"]) == (note.id, "signed", "purged")


async def test_a_platforms_key_never_signs(world: World) -> None:
    made = await world.session()
    note_id = await world.drafted(made["session"]["id"])
    for key in (DEV, await world.key("demo", "sessions", "notes", "admin")):
        problem_of(await world.client.post(f"/v1/notes/{note_id}/sign", headers=key), 403, "forbidden")
    client = bearer(token_of(made, Role.CLIENT))
    problem_of(await world.client.post(f"/v1/notes/{note_id}/sign", headers=client), 403, "forbidden")
    assert (await world.client.get(f"/v1/notes/{note_id}", headers=DEV)).json()["state"] == "draft"


async def test_a_token_that_names_the_clinician_signs(world: World) -> None:
    made = await world.session()
    note_id = await world.drafted(made["session"]["id"])
    token = bearer(token_of(made, Role.CLINICIAN))
    signed = await world.client.post(f"/v1/notes/{note_id}/sign", json={"version": 1}, headers=token)
    assert signed.json()["signed_by"] == "dr-1"


async def test_somebody_elses_note_is_not_there(world: World) -> None:
    await world.other_clinic()
    made = await world.session()
    note_id = await world.drafted(made["session"]["id"])
    item = (await world.client.get("/v1/inbox", headers=DEV)).json()["items"][0]["id"]
    other = await world.key("other", "sessions", "notes", "admin")
    assert (await world.client.get("/v1/inbox", headers=other)).json()["items"] == []
    problem_of(await world.client.get(f"/v1/notes/{note_id}", headers=other), 404, "not-found")
    problem_of(await world.client.post(f"/v1/inbox/{item}/read", headers=other), 404, "not-found")
    another = bearer(token_of(await world.session(), Role.CLINICIAN))
    problem_of(await world.client.get(f"/v1/notes/{note_id}", headers=another), 404, "not-found")
    csrf = {"X-CSRF-Token": await world.sign_in("colleague@example.org")}
    problem_of(await world.client.get(f"/v1/notes/{note_id}"), 404, "not-found")
    problem_of(await world.client.post(f"/v1/notes/{note_id}/sign", headers=csrf), 404, "not-found")
    assert (await world.client.get("/v1/inbox")).json()["items"] == []
    assert (await world.client.get("/v1/notes")).json()["items"] == []


async def test_an_administrator_reads_no_notes(world: World) -> None:
    await world.sign_in("boss@example.org", role="admin")
    for path in ("/v1/notes", "/v1/inbox"):
        problem_of(await world.client.get(path), 403, "forbidden")
    assert (await world.client.get("/v1/clinics/demo/config")).status_code == 200
