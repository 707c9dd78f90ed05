"""A note is asked for: from a typed summary where nothing was recorded, or once more where it could not be made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.durable import Durable
from bot.errors import InvalidTransition, NoteGenerationFailed, NotFound
from bot.events import CaptureState
from bot.notes import material
from tests.integration.aftercall_world import World
from tests.integration.call_world import world as service

WAIT_S = 30


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    await world.launch()
    yield world
    await world.close()


async def ended(world: World, session_id: str, work: Awaitable[object]) -> list[str]:
    """Let the workflow run; the states of capture, audio, transcript and note."""
    await work
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    record = await world.store.get(session_id)
    return [record.capture.value, record.audio.value, record.transcript.value, record.note.value]


async def noted(world: World, session_id: str) -> Any:
    return json.loads((await world.store.note_of(session_id)).content)


async def refused(world: World, session_id: str) -> str:
    """Why no note may be asked for; that changes nothing."""
    before = await world.store.get(session_id)
    with pytest.raises(InvalidTransition) as raised:
        await world.aftercall.write_note(session_id, "u1")
    assert await world.store.get(session_id) == before
    return raised.value.detail


async def test_a_session_that_was_not_recorded_gets_its_note_from_what_was_typed(world: World) -> None:
    session_id = await world.typed("one", "two")
    asked = await world.aftercall.write_note(session_id, "u1")
    assert (asked.capture, asked.note) == ("finished", "queued")
    made = await ended(world, session_id, world.aftercall.begin(session_id))
    assert made == ["finished", "absent", "absent", "draft"]
    assert await noted(world, session_id) == "one two"
    events = await world.store.events(session_id, 0)
    assert [event.kind for event in events][-5:] == [
        "capture.finished", "note.queued", "note.generating", "note.draft_ready", "inbox.item_created",
    ]  # fmt: skip
    assert next(event.data for event in events if event.kind == "note.queued") == {"by": "u1"}
    assert await refused(world, session_id) == material.STANDS[asked.note.DRAFT]


async def test_without_a_word_there_is_nothing_to_write_from(world: World) -> None:
    for session_id in (await world.typed(), await world.typed("  \n")):
        assert await refused(world, session_id) == material.NOTHING
    with pytest.raises(NotFound):
        await world.aftercall.write_note("ses_unknown", "u1")


async def test_while_it_is_recorded_or_done_with_no_note_may_be_asked_for(world: World) -> None:
    session_id = await world.capture()
    await world.store.add_input(session_id, "clinician_summary", "typed", "u1")
    assert await refused(world, session_id) == material.NOT_OVER
    await world.store.change(session_id, "capture.paused", capture=CaptureState.PAUSED)
    assert await refused(world, session_id) == material.NOT_OVER
    await world.finish(session_id)
    assert await refused(world, session_id) == material.UNDER_WAY
    assert (await ended(world, session_id, world.aftercall.begin(session_id)))[-1] == "draft"
    note = await world.store.note_of(session_id)
    await world.store.sign(note.id, "u1")
    assert "signed" in await refused(world, session_id)
    thrown_away = await world.capture()
    await world.finish(thrown_away, discard=True)
    assert await refused(world, thrown_away) == material.THROWN_AWAY


@pytest.mark.parametrize("broken", [True, False], ids=["failed", "silent"])
async def test_a_recording_without_words_gets_its_note_from_what_is_typed(world: World, broken: bool) -> None:
    session_id = await world.capture(words="needle" if broken else "", committed=1 if broken else 0)
    await world.finish(session_id)
    world.recogniser_failures = [RuntimeError() for _ in range(4 if broken else 0)]
    transcript = "failed" if broken else "ready"
    made = await ended(world, session_id, world.aftercall.begin(session_id))
    assert made == ["finished", "erased", transcript, "absent"]
    assert await refused(world, session_id) == material.NOTHING
    await world.store.add_input(session_id, "clinician_summary", "typed", "u1")
    made = await ended(world, session_id, world.aftercall.write_note(session_id, "u1"))
    assert made == ["finished", "erased", transcript, "draft"]
    assert await noted(world, session_id) == "typed", "of a recording that is not whole nothing is used"
    assert (await world.store.get(session_id)).failure_slug is None
    assert len(await world.store.receipts(session_id)) == 1


async def test_what_was_typed_before_the_transcription_failed_makes_the_note(world: World) -> None:
    session_id = await world.capture()
    await world.store.add_input(session_id, "clinician_summary", "typed", "u1")
    await world.finish(session_id)
    world.recogniser_failures = [RuntimeError() for _ in range(4)]
    made = await ended(world, session_id, world.aftercall.begin(session_id))
    assert made == ["finished", "erased", "failed", "draft"]
    assert await noted(world, session_id) == "typed"


async def test_a_failed_note_is_tried_again_with_what_was_typed_since(world: World) -> None:
    session_id = await world.capture(seconds=1)
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed() for _ in range(4)]
    assert (await ended(world, session_id, world.aftercall.begin(session_id)))[-1] == "failed"
    await world.store.add_input(session_id, "clinician_summary", "typed", "u1")
    assert (await ended(world, session_id, world.aftercall.write_note(session_id, "u1")))[-1] == "draft"
    assert sorted((await noted(world, session_id)).split()) == ["0", "0", "doc", "needle", "needle", "pat", "typed"]


async def test_words_that_are_gone_by_now_are_not_tried_again_for_ever(world: World) -> None:
    session_id = await world.capture()
    await world.finish(session_id)
    world.writer_failures = [NoteGenerationFailed() for _ in range(4)]
    await ended(world, session_id, world.aftercall.begin(session_id))
    await world.store.queue_note(session_id, by="u1")
    await world.store.purge_transcript(session_id, "retention")
    assert (await ended(world, session_id, world.aftercall.sweep()))[-1] == "failed"
    assert (await world.store.get(session_id)).failure_slug == "nothing-to-write-from"
    assert await refused(world, session_id) == material.NOTHING


async def test_one_that_is_asked_for_while_the_run_before_ends_is_made_all_the_same(world: World) -> None:
    session_id = await world.capture(words="")
    await world.finish(session_id)
    delivering, go_on = asyncio.Event(), asyncio.Event()

    async def hold(place: str) -> None:
        if place == "delivered" and not delivering.is_set():
            delivering.set()
            await go_on.wait()

    world.on_place = hold
    await world.aftercall.begin(session_id)
    await asyncio.wait_for(delivering.wait(), WAIT_S)
    await world.store.add_input(session_id, "clinician_summary", "typed", "u1")
    made = asyncio.Event()
    world.store.listen(lambda event: made.set() if event.kind == "note.draft_ready" else None)
    await world.aftercall.write_note(session_id, "u1")
    go_on.set()
    await asyncio.wait_for(made.wait(), WAIT_S)
    assert await noted(world, session_id) == "typed"
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)


async def test_what_could_not_begin_is_taken_up_by_the_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = await world.typed("typed")

    async def locked(*_: object, **__: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Durable, "start", locked)
        assert (await world.aftercall.write_note(session_id, "u1")).note == "queued"
    assert (await ended(world, session_id, world.aftercall.sweep()))[-1] == "draft"


async def test_two_who_ask_at_once_get_one_note(world: World) -> None:
    session_id = await world.typed("typed")
    asking = (world.aftercall.write_note(session_id, "u1") for _ in range(4))
    asked = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(one, InvalidTransition) for one in asked) == 3
    await asyncio.wait_for(world.aftercall.wait(session_id), WAIT_S)
    assert (await world.store.note_of(session_id)).version == 1


# -- over the real service ---------------------------------------------------------------------------------------------


async def test_by_http_from_a_typed_summary_to_a_draft(tmp_path: Path) -> None:
    text = "Jo slept badly for two weeks. Plan to meet next Thursday."
    people = [
        {"id": "doc", "role": "clinician", "display_name": "Dr. Who"},
        {"id": "jo", "role": "client", "display_name": "Jo"},
    ]
    async with service(tmp_path) as place:
        made = (await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people})).json()
        path = f"/v1/sessions/{made['session']['id']}"
        clinician = {"Authorization": f"Bearer {made['join'][0]['token']}"}

        async def post(key: str, **headers: str) -> httpx.Response:
            return await place.http.post(f"{path}/note", headers={"Idempotency-Key": key} | headers)

        nothing = await post("k1")
        assert (nothing.status_code, nothing.json()["slug"]) == (409, "invalid-transition")
        assert nothing.json()["detail"] == material.NOTHING
        assert nothing.json()["cause"] == "nothing-to-write-from"
        assert (await place.get(path))["capture"] == "off"
        assert (await place.get("/v1/notes"))["items"] == []

        added = await place.http.post(
            f"{path}/inputs", json={"kind": "clinician_summary", "text": text}, headers=clinician
        )
        [kept] = (await place.get(f"{path}/inputs"))["items"]
        assert kept == {"id": added.json()["id"], "kind": "clinician_summary", "text": text, "author_id": "doc"}
        [line] = (await place.get("/v1/notes"))["items"]
        assert (line["state"], line["inputs"], line["ended_at"]) == ("absent", 1, None)

        asked, again = await post("k1", **clinician), await post("k1", **clinician)
        assert (asked.status_code, asked.json()["capture"], asked.json()["note"]) == (202, "finished", "queued")
        assert asked.json()["words"] == "Processing"
        assert again.json() == asked.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (await post("k2")).status_code == 409
        session = await place.until(made["session"]["id"], "note", "draft")
        assert (session["words"], session["audio"]) == ("Draft ready", "absent")

        note = await place.get(f"/v1/notes/{session['note_id']}")
        assert note["notice"].startswith("Made from a typed summary and not from a recording")
        sentences = [sentence for section in note["sections"] for sentence in section["sentences"]]
        assert " ".join(one["text"] for one in sentences) == text
        assert {one["status"] for one in sentences} == {"clinician_entered"}
        assert {e["source_id"] for one in sentences for e in one["evidence"]} == {kept["id"]}

        # the session is over: nothing is recorded in it any more
        start = await place.http.post(f"{path}/capture", json={"action": "start"}, headers=clinician)
        assert (start.status_code, start.json()["slug"]) == (409, "invalid-transition")
        signed = await place.http.post(f"/v1/notes/{note['id']}/sign", headers=clinician)
        assert signed.json()["state"] == "signed"


async def test_a_key_needs_the_scope_of_notes(tmp_path: Path) -> None:
    async with service(tmp_path) as place:
        _, key = await place.service.services.keys.create("demo", ("sessions",))
        headers = {"Authorization": f"Bearer {key}"}
        people = [{"role": "clinician", "display_name": "Dr. Who"}]
        body = {"clinic_id": "demo", "participants": people}
        made = (await place.http.post("/v1/sessions", json=body, headers=headers)).json()
        path = f"/v1/sessions/{made['session']['id']}"
        for answer in (
            await place.http.post(f"{path}/note", headers=headers),
            await place.http.get(f"{path}/inputs", headers=headers),
        ):
            assert (answer.status_code, answer.json()["slug"], answer.json()["scope"]) == (403, "forbidden", "notes")
