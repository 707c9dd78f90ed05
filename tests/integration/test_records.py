"""Whole records through their doors: an administrator's API, the command line, and a process that is killed."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import sys
import zipfile
from asyncio import create_subprocess_exec, subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.bench.forensics import bytes_in
from bot.events import NoteState
from bot.store.audit import AuditFilter
from bot.store.receipts import verify_receipt
from tests.conftest import ROOT
from tests.integration import api_world, deleting_world
from tests.integration.api_world import DEV, World, problem_of
from tests.integration.deleting_world import MASTER, PLACES
from tests.integration.test_api_audit import read_only
from tests.integration.test_cli_access import Quietnote, forks, quietnote

world = api_world.world
_ = (forks, quietnote)
REF = "c-1"


async def noted(world: World, ref: str = REF, **more: Any) -> str:
    """A session of a client with a signed note."""
    people = [
        {"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone"},
        {"id": "cl-1", "role": "client", "display_name": "Robin Fields", "client_ref": ref},
        *more.get("others", ()),
    ]
    made = await world.session(participants=people)
    session_id: str = made["session"]["id"]
    text = {"kind": "observation", "text": "He wore a green scarf."}
    answer = await world.client.post(f"/v1/sessions/{session_id}/inputs", json=text, headers=DEV)
    assert answer.status_code == 201
    note_id = await world.drafted(session_id)
    if more.get("over", True):
        await world.store.change(session_id, "audio.erased", audio="erased")
        await world.store.sign(note_id, "dr-1")
    return session_id


async def unzipped(world: World, path: str) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    answer = await world.client.get(path, headers=DEV)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["cache-control"] == "no-store"
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    assert packed.testzip() is None
    return packed, json.loads(packed.read("manifest.json"))


# -- an export ---------------------------------------------------------------------------------------------------------


async def test_a_client_is_exported_whole_and_on_record(world: World) -> None:
    session_id, other = await noted(world), await noted(world, "c-2")
    packed, manifest = await unzipped(world, f"/v1/clients/{REF}/export")
    assert (manifest["client_ref"], manifest["sessions"], manifest["notes"]) == (REF, 1, 1)
    names, folder = packed.namelist(), f"sessions/{session_id}"
    assert not [name for name in names if other in name]
    files = ("session.json", "consents.json", "inputs.json", "note.json", "note.html")
    assert {f"{folder}/{name}" for name in files} <= {*names}
    assert "The client slept badly." in packed.read(f"{folder}/note.html").decode()
    note = json.loads(packed.read(f"{folder}/note.json"))
    assert (note["state"], note["note"]["sections"][0]["sentences"][0]["text"]) == ("signed", "The client slept badly.")
    assert json.loads(packed.read(f"{folder}/inputs.json"))[0]["text"] == "He wore a green scarf."
    people = json.loads(packed.read(f"{folder}/session.json"))["participants"]
    assert {one["display_name"] for one in people} == {"Dr. Ada Stone", "Robin Fields"}
    receipt = verify_receipt(
        packed.read("receipt.json"), world.services.signer.public_key, kind="quietnote.record-receipt"
    )
    assert receipt.valid
    assert receipt.statement["kind"] == "export"
    for entry in (json.loads(line) for line in packed.read("audit.jsonl").splitlines()):
        assert {REF, session_id} & {entry["target"], entry["session_id"]}
    assert {one.external_attr >> 16 for one in packed.infolist()} == {0o100600}
    actions = [one.action async for one in world.services.audit.every(AuditFilter("demo", object=session_id))]
    assert "session.exported" in actions
    exported = [one async for one in world.services.audit.every(AuditFilter("demo", action="session.exported"))]
    assert {one.actor for one in exported} == {"dev"}


async def test_a_clinic_is_exported_whole_and_without_a_secret(world: World) -> None:
    sessions = [await noted(world, f"c-{n}") for n in range(3)]
    await world.sign_in()
    _, key = await world.services.keys.create("demo", ("notes",))
    packed, manifest = await unzipped(world, "/v1/clinics/demo/export")
    assert (manifest["sessions"], manifest["client_ref"]) == (3, None)
    for session_id in sessions:
        assert f"sessions/{session_id}/note.html" in packed.namelist()
    assert json.loads(packed.read("clinic/configuration-1.json"))["config"]["id"] == "demo"
    assert "ada@example.org" in packed.read("clinic/people.json").decode()
    everything = b"".join(packed.read(name) for name in packed.namelist())
    database = sqlite3.connect(world.services.db.url.database or "")
    secrets = [one for query in (
        "SELECT invite_sha256 FROM participants WHERE invite_sha256 IS NOT NULL", "SELECT password_hash FROM users",
        "SELECT sha256 FROM api_keys", "SELECT sha256 FROM cookies", "SELECT sha256 FROM consent_links",
    ) for (one,) in database.execute(query)]  # fmt: skip
    database.close()
    assert len(secrets) > 6
    assert not [one for one in [*secrets, key] if one.encode() in everything]


async def test_what_cannot_be_put_on_record_is_not_exported(world: World) -> None:
    await noted(world)
    with read_only(world):
        for path in (f"/v1/clients/{REF}/export", "/v1/clinics/demo/export"):
            problem_of(await world.client.get(path, headers=DEV), 503, "overloaded")


# -- deletion and holds ------------------------------------------------------------------------------------------------


async def test_a_client_is_deleted_by_an_administrator_who_knows_how_much_that_is(world: World) -> None:
    session_id = await noted(world)
    client = (await world.client.get(f"/v1/clients/{REF}", headers=DEV)).json()
    assert (client["sessions"], client["notes"], client["held"]) == (1, 1, 0)
    path = f"/v1/clients/{REF}?sessions="
    problem_of(await world.client.delete(f"{path}2", headers=DEV), 412, "precondition-failed")
    done = (await world.client.delete(f"{path}1", headers=DEV)).json()
    assert (done["kind"], done["receipt"]["client_ref"]) == ("client", REF)
    assert (await world.client.delete(f"{path}0", headers=DEV)).json() == done
    problem_of(await world.client.get(f"/v1/sessions/{session_id}", headers=DEV), 404, "not-found")
    problem_of(await world.client.get(f"/v1/clients/{REF}", headers=DEV), 404, "not-found")
    body = await world.client.get(done["href"], headers=DEV)
    assert verify_receipt(body.content, world.services.signer.public_key).valid
    listed = (await world.client.get("/v1/receipts", headers=DEV)).json()["items"]
    assert {one["kind"]: one["session_id"] for one in listed} == {"client": None, "transcript": session_id}
    entries = [one async for one in world.services.audit.every(AuditFilter("demo", action="client.deleted"))]
    assert [(one.actor, one.target, one.detail) for one in entries] == [("dev", REF, done["id"])]


async def test_what_is_held_or_under_way_is_refused_and_named(world: World) -> None:
    session_id = await noted(world)
    body = {"client_ref": REF, "matter": "2026/17"}
    placed = await world.client.post("/v1/holds", json=body, headers=DEV)
    assert placed.status_code == 201, placed.text
    held = placed.json()
    refused = problem_of(await world.client.delete(f"/v1/clients/{REF}?sessions=1", headers=DEV), 409, "session-locked")
    assert refused["sessions"] == [session_id]
    assert (await world.client.get("/v1/holds?standing=true", headers=DEV)).json()["items"][0]["id"] == held["id"]
    lifted = (await world.client.delete(f"/v1/holds/{held['id']}", headers=DEV)).json()
    assert lifted["lifted_at"]
    assert (await world.client.get("/v1/holds?standing=true", headers=DEV)).json()["items"] == []
    going_on = await noted(world, over=False)
    refused = problem_of(await world.client.delete(f"/v1/clients/{REF}?sessions=2", headers=DEV), 409, "session-locked")
    assert refused["sessions"] == [going_on]
    assert (await world.store.get(session_id)).note is NoteState.SIGNED
    for wrong in ({"client_ref": REF, "matter": "in words"}, {"matter": "m"}):
        problem_of(await world.client.post("/v1/holds", json=wrong, headers=DEV), 422, "config-invalid")
    problem_of(
        await world.client.post("/v1/holds", json={"client_ref": "x", "matter": "m"}, headers=DEV), 404, "not-found"
    )


async def test_records_are_an_administrators(world: World) -> None:
    await noted(world)
    made = await world.session()
    key = await world.key("demo", "sessions", "notes")
    elsewhere = await world.key(await world.other_clinic(), "admin")
    token = {"Authorization": f"Bearer {made['join'][0]['token']}"}
    asked = (
        ("GET", f"/v1/clients/{REF}"), ("DELETE", f"/v1/clients/{REF}?sessions=1"),
        ("GET", f"/v1/clients/{REF}/export"), ("GET", "/v1/clinics/demo/export"),
        ("GET", "/v1/holds"), ("GET", "/v1/receipts"),
    )  # fmt: skip
    for method, path in asked:
        for nobody in (key, token):
            problem_of(await world.client.request(method, path, headers=nobody), 403, "forbidden")
    for method, path in asked[:4]:
        problem_of(await world.client.request(method, path, headers=elsewhere), 404, "not-found")
    wrong = [{"id": "dr-1", "role": "clinician", "display_name": "Dr. Ada Stone", "client_ref": "c"}]
    answer = await world.client.post("/v1/sessions", json={"clinic_id": "demo", "participants": wrong}, headers=DEV)
    problem_of(answer, 422, "config-invalid")


# -- the command line --------------------------------------------------------------------------------------------------


async def test_the_command_line_exports_holds_and_deletes(quietnote: Quietnote, tmp_path: Path) -> None:
    data = Path(quietnote._environ["QUIETNOTE_DATA_DIR"])
    quietnote._environ["QUIETNOTE_MASTER_KEY"] = base64.b64encode(MASTER).decode()
    filled = deleting_world.World(data)
    await filled.db.open()
    await filled.fill()
    session_id = (await filled.sessions_of("c-2"))[0]
    await filled.db.close()
    out = tmp_path / "record.zip"
    told = await quietnote("export", "client", "c-2", "--out", str(out))
    assert (told.code, told.err) == (0, "")
    assert out.stat().st_mode & 0o777 == 0o600
    assert f"sessions/{session_id}/note.json" in zipfile.ZipFile(out).namelist()
    assert "already" in (await quietnote("export", "client", "c-2", "--out", str(out))).line
    assert (await quietnote("export", "client", "nobody")).line == "There is no such client."
    held = (await quietnote("hold", "place", "--client", "c-2", "--matter", "m-1")).out.split()[1]
    assert "legal hold" in (await quietnote("delete", "client", "c-2", "--yes")).line
    assert (await quietnote("hold", "lift", held)).code == 0
    unsure = await quietnote("delete", "client", "c-2", said="n\n")
    assert unsure.code == 1
    assert "1 sessions and 1 notes" in unsure.out
    receipt = tmp_path / "receipt.json"
    assert (await quietnote("delete", "client", "c-2", "--receipt", str(receipt), said="y\n")).code == 0
    assert json.loads(receipt.read_bytes())["client_ref"] == "c-2"
    assert "client" in (await quietnote("receipt", "list")).out
    assert (await quietnote("delete", "clinic", "demo", "--yes")).code == 0
    assert (await quietnote("audit", "verify")).code == 0
    assert "no such clinic" in (await quietnote("export", "clinic", "demo")).line


# -- killed ------------------------------------------------------------------------------------------------------------


FEW = ("client:keys-gone", "client:one-session-gone", "client:receipt-signed", "clinic:one-session-gone")
EVERY = tuple(f"{kind}:{place}" for kind in ("client", "clinic") for place in PLACES)


@pytest.mark.parametrize("places", [FEW, pytest.param(EVERY, marks=pytest.mark.soak)], ids=["few", "every"])
async def test_a_deletion_is_carried_through_wherever_the_process_is_killed(
    tmp_path: Path, places: tuple[str, ...]
) -> None:
    process = await create_subprocess_exec(
        sys.executable, "-m", "tests.integration.deleting_world", str(tmp_path), *places,
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-2000:]
    found = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    assert len(found) == len(places)
    for one in found:
        where = (one["kind"], one["place"])
        client = one["kind"] == "client"
        assert (one["sessions"], one["clinics"]) == ((1, ["demo"]) if client else (0, [])), where
        assert (one["unfinished"], one["valid"]) == ([], True), where
        wanted = 2 if client else 3
        assert (one["counted"], one["notes"]) == ([wanted], [wanted]), where
        folder = Path(one["folder"])
        for sealed in json.loads((folder.parent / f"{folder.name}.json").read_text()):
            run = bytes.fromhex(sealed)
            assert bytes_in(folder, run[:40], run[-40:]) == [], where


@pytest.mark.parametrize("path", ["/v1/clients/x/export", "/v1/clients/x", "/v1/receipts/x"])
async def test_what_there_is_not(world: World, path: str) -> None:
    problem_of(await world.client.get(path, headers=DEV), 404, "not-found")
