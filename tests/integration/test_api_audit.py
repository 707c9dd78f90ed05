"""What goes on record when somebody comes in, reads, or changes something; and who may read that record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from bot.events import Role, Segment
from bot.store import chain
from bot.store.audit import AuditStore
from bot.store.chain import Deed
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration import api_world
from tests.integration.api_world import DEV, PASSWORD, World, bearer, problem_of, token_of

world = api_world.world

SAID, NOTED, TYPED = "Grandmother drowned", "The client mourns", "She looked pale"
WORDS = ("Grandmother", "mourns", "pale", "Robin", "Fields", "Stone", "ada@example.org", "nobody@example.org", PASSWORD)


async def spoken(world: World, session_id: str) -> str:
    """A session with words, text that was typed, and a draft; the note's id."""
    lane = await world.store.ensure_lane(session_id, "cl-1", Role.CLIENT)
    await world.store.change(session_id, "capture.consent_pending", capture="consent_pending")
    await world.store.change(session_id, "capture.started", capture="capturing", audio="held", transcript="live")
    await world.store.commit_final(session_id, Segment("seg-1", 1, True, lane.id, "cl-1", Role.CLIENT, 0, 1000, SAID))
    await world.store.change(session_id, "capture.finished", capture="finished")
    await world.store.change(session_id, "transcript.ready", transcript="ready")
    await world.store.change(session_id, "note.queued", note="queued")
    await world.store.change(session_id, "note.generating", note="generating")
    return (await world.store.save_note(session_id, api_world.draft(NOTED))).id


async def deeds(world: World, after: int = 0) -> list[tuple[str, str, str, str]]:
    """Who did it, through what, what, to which object."""
    found = await world.services.audit.entries("demo", after_id=after, limit=500)
    return [(entry.actor, entry.through, entry.action, entry.target) for entry in found]


async def last(world: World) -> int:
    return (await world.services.audit.head()).entries


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """The database takes nothing, and gives everything."""

    def refuse(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    def allow(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=OFF")

    engine = world.services.db.engine.sync_engine
    event.listen(engine, "begin", refuse)
    try:
        yield
    finally:
        event.remove(engine, "begin", refuse)
        event.listen(engine, "begin", allow)


# -- coming in ---------------------------------------------------------------------------------------------------------


async def test_signing_in_and_out_and_failing_to(world: World) -> None:
    csrf = await world.sign_in()
    user_id = (await world.client.get("/v1/auth/me")).json()["user"]["id"]
    await world.client.post("/v1/auth/logout", headers={"X-CSRF-Token": csrf})
    before = await last(world)
    for email in ("ada@example.org", "nobody@example.org"):
        answer = await world.client.post("/v1/auth/login", json={"email": email, "password": "not this one"})
        problem_of(answer, 401, "unauthorized")
    assert await deeds(world) == [
        ("operator", "", "config.seeded", "demo"),
        ("operator", "", "user.added", user_id),
        (user_id, "", "user.signed_in", user_id),
        (user_id, "page", "user.signed_out", user_id),
        ("unknown", "", "user.sign_in_refused", user_id),
    ]
    nobodys = [entry async for entry in world.services.audit.every() if entry.id > before][-1]
    assert (nobodys.clinic_id, nobodys.target, nobodys.detail) == ("", "unknown", "not-a-user")


async def test_keys_and_links(world: World) -> None:
    before = await last(world)
    key, text_of_key = await world.services.keys.create("demo", ("sessions", "notes"))
    made = await world.session({"Authorization": f"Bearer {text_of_key}"})
    session_id = made["session"]["id"]
    theirs = next(join for join in made["join"] if join["participant_id"] == "cl-1")
    code = theirs["invite_url"].partition("#")[2]
    answer = await world.client.post("/v1/join", json={"session_id": session_id, "code": code})
    assert answer.status_code == 200
    wrong = await world.client.post("/v1/join", json={"session_id": session_id, "code": "x" * 32})
    problem_of(wrong, 404, "not-found")
    copy = theirs["consent_url"].partition("#")[2]
    read = await world.client.post("/v1/my-consent", json={"session_id": session_id, "code": copy})
    assert read.status_code == 200
    await world.services.keys.revoke(key.id)
    await world.services.keys.revoke(key.id)
    assert await deeds(world, before) == [
        ("operator", "", "key.made", key.id),
        (key.id, "", "session.created", session_id),
        ("cl-1", "link", "session.joined", "cl-1"),
        ("unknown", "", "session.join_refused", session_id),
        ("cl-1", "link", "consent_copy.read", "cl-1"),
        ("operator", "", "key.revoked", key.id),
    ]
    assert text_of_key not in json.dumps([entry.as_json() async for entry in world.services.audit.every()])


# -- reads -------------------------------------------------------------------------------------------------------------


def reads(session_id: str, note_id: str, receipt: str = "") -> dict[str, str]:
    """Every read that is put on record, by its action."""
    return {
        f"/v1/sessions/{session_id}/transcript": "transcript.read",
        f"/v1/sessions/{session_id}/inputs": "inputs.read",
        f"/v1/sessions/{session_id}/receipts": "receipts.read",
        f"/v1/sessions/{session_id}/participants/cl-1/consent": "consent.read",
        f"/v1/notes/{note_id}": "note.read",
        "/v1/audit": "audit.read",
        **({receipt: "receipt.read"} if receipt else {}),
    }


async def test_reads_are_entries_whoever_reads(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    note_id = await spoken(world, session_id)
    await world.store.add_input(session_id, "observation", TYPED, "dr-1")
    await world.eraser.erase_audio(session_id)
    href = (await world.client.get(f"/v1/sessions/{session_id}/receipts", headers=DEV)).json()["items"][0]["href"]
    token = bearer(token_of(made, Role.CLINICIAN))
    for headers, actor, through in ((DEV, "dev", ""), (token, "dr-1", "token")):
        for address, action in reads(session_id, note_id, href).items():
            before = await last(world)
            answer = await world.client.get(address, headers=headers)
            if action == "audit.read" and headers is token:
                problem_of(answer, 403, "forbidden")
                assert await deeds(world, before) == []
                continue
            assert answer.status_code == 200
            [entry] = await deeds(world, before)
            assert entry[:3] == (actor, through, action), address
    client = bearer(token_of(made, Role.CLIENT))
    before = await last(world)
    problem_of(await world.client.get(f"/v1/sessions/{session_id}/transcript", headers=client), 403, "forbidden")
    assert await deeds(world, before) == []


async def test_what_cannot_be_put_on_record_is_not_read(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    note_id = await spoken(world, session_id)
    await world.store.add_input(session_id, "observation", TYPED, "dr-1")
    await world.eraser.erase_audio(session_id)
    href = (await world.client.get(f"/v1/sessions/{session_id}/receipts", headers=DEV)).json()["items"][0]["href"]
    addresses = [*reads(session_id, note_id, href), f"/v1/sessions/{session_id}/events"]
    with read_only(world):
        for address in addresses:
            answer = await world.client.get(address, headers=DEV)
            body = problem_of(answer, 503, "overloaded")
            assert body["cause"] == "read_only"
            assert not [word for word in WORDS if word in answer.text]
        assert (await world.client.get(f"/v1/sessions/{session_id}", headers=DEV)).status_code == 200  # states only
    assert (await world.client.get(addresses[0], headers=DEV)).status_code == 200


async def test_an_answer_that_is_given_again_is_an_entry(world: World) -> None:
    csrf = {"X-CSRF-Token": await world.sign_in(), "Idempotency-Key": "sign-1"}
    body = {"clinic_id": "demo", "participants": [{"id": "cl-1", "role": "client", "display_name": "Robin"}]}
    made = await world.client.post("/v1/sessions", json=body, headers={**csrf, "Idempotency-Key": "make-1"})
    note_id = await spoken(world, made.json()["session"]["id"])
    for _ in range(2):
        assert (await world.client.post(f"/v1/notes/{note_id}/sign", headers=csrf)).status_code == 200
    before = [one[2:] for one in await deeds(world)]
    assert before.count(("note.signed", note_id)) == 1
    assert before[-1] == ("answer.repeated", f"/v1/notes/{note_id}/sign")


# -- the record itself -------------------------------------------------------------------------------------------------


async def test_no_word_of_anybody_is_in_it(world: World) -> None:
    csrf = {"X-CSRF-Token": await world.sign_in()}
    made = await world.session(csrf)
    session_id = made["session"]["id"]
    note_id = await spoken(world, session_id)
    typed = {"kind": "clinician_summary", "text": TYPED}
    await world.client.post(f"/v1/sessions/{session_id}/inputs", json=typed, headers=csrf)
    for address in reads(session_id, note_id):
        await world.client.get(address, headers=DEV)
    await world.client.post(f"/v1/notes/{note_id}/sign", headers=csrf)
    await world.client.post("/v1/auth/login", json={"email": "nobody@example.org", "password": PASSWORD})
    clinics = world.services.clinics
    _, config = await clinics.current("demo")
    await clinics.save(config.model_copy(update={"name": "Grandmother & Co"}), author="usr_1")
    async with world.services.db.read() as db:
        rows = [dict(row) for row in (await db.execute(text("SELECT * FROM audit"))).mappings()]
    told = json.dumps(rows, default=str)
    assert {"note.signed", "input.added", "transcript.purged", "config.changed"} <= {row["action"] for row in rows}
    assert not [word for word in WORDS if word in told]
    assert "withheld" not in told  # nothing even tried


async def test_an_administrator_reads_their_clinics_alone(world: World) -> None:
    await world.other_clinic()
    made = await world.session()
    session_id = made["session"]["id"]
    await world.client.get(f"/v1/sessions/{session_id}/receipts", headers=DEV)
    for headers in (
        await world.key("demo", "sessions", "notes"),
        bearer(token_of(made, Role.CLINICIAN)),
        {"X-CSRF-Token": await world.sign_in()},
    ):
        problem_of(await world.client.get("/v1/audit", headers=headers), 403, "forbidden")
    world.client.cookies.clear()
    problem_of(await world.client.get("/v1/audit"), 401, "unauthorized")
    await world.sign_in("root@example.org", role="admin")
    mine = (await world.client.get("/v1/audit", params={"object": session_id})).json()
    assert [one["action"] for one in mine["items"]] == ["receipts.read", "session.created"]
    assert {one["clinic_id"] for one in mine["items"]} == {"demo"}
    world.client.cookies.clear()
    others = (await world.client.get("/v1/audit", headers=await world.key("other", "admin"))).json()
    assert {one["clinic_id"] for one in others["items"]} == {"other"}
    assert session_id not in json.dumps(others)


async def test_pages_filters_and_the_signed_head(world: World) -> None:
    made = await world.session()
    session_id = made["session"]["id"]
    for _ in range(5):
        await world.client.get(f"/v1/sessions/{session_id}/receipts", headers=DEV)
        world.clock.advance(60)

    async def asked(**wanted: Any) -> dict[str, Any]:
        answer = await world.client.get("/v1/audit", params=wanted, headers=DEV)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    first = await asked(action="receipts.read", limit=3)
    second = await asked(action="receipts.read", limit=3, cursor=first["next_cursor"])
    ids = [one["id"] for one in (*first["items"], *second["items"])]
    assert len(ids) == 5
    assert ids == sorted(ids, reverse=True)
    assert second["next_cursor"] is None
    moment = first["items"][0]["at"]
    assert len((await asked(action="receipts.read", since=moment))["items"]) == 1
    assert len((await asked(action="receipts.read", until=moment))["items"]) == 4
    assert (await asked(actor="usr_nobody"))["items"] == []
    assert len((await asked(actor="dev", object=session_id))["items"]) == 6
    for wrong in ({"cursor": "x"}, {"since": "2026-01-01T00:00:00"}, {"object": "a b"}, {"limit": "0"}):
        problem_of(await world.client.get("/v1/audit", params=wrong, headers=DEV), 422, "config-invalid")

    head = (await asked())["head"]
    keys = load_public_keys((await world.client.get("/.well-known/quietnote-receipt-keys.json")).content)
    document = json.dumps(head, separators=(",", ":"), sort_keys=True).encode()
    assert verify_receipt(document, keys, kind="quietnote.audit-head").valid
    assert not verify_receipt(document, keys).valid  # it is no receipt
    audit: AuditStore = world.services.audit
    assert (await audit.verify(head["sha256"])).ok


@pytest.mark.parametrize("entries", [1200])
async def test_a_long_chain_is_read_in_pieces(world: World, entries: int) -> None:
    async with world.services.db.write() as db:
        await chain.record(db, world.clock.now(), [Deed("demo", "note.read", f"note_{n}") for n in range(entries)])
    verdict = await world.services.audit.verify()
    assert (verdict.ok, verdict.entries) == (True, entries + 1)
    assert sum([1 async for _ in world.services.audit.every()]) == entries + 1
