"""Start after Finish: what becomes of a draft that was made before, and a whole call in two parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import InvalidTransition, SessionLocked
from bot.events import AudioState, CaptureState, Role, Segment, TranscriptState
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration.aftercall_world import World
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world

FIRST, SECOND = (48_400, 53_500), (4_000, 12_700)
"""Parts of the dialogue, in ms: what is said before Finish, and after the second Start."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.open()
    await made.launch()
    yield made
    await made.close()


async def start(place: World, session_id: str, at_ms: int, *, waits: bool = False) -> None:
    """Start after Finish; ``waits`` for somebody's consent."""
    data = {"effective_at_ms": at_ms, "by": "doc"}
    if waits:
        state = CaptureState.CONSENT_PENDING
        await place.store.record_capture(session_id, "capture.consent_pending", data=data, capture=state)
        return
    begun = {"audio": AudioState.HELD, "transcript": TranscriptState.LIVE, "failure_slug": None, "purge_at": None}
    state = CaptureState.CAPTURING
    await place.store.record_capture(session_id, "capture.started", data=data, capture=state, **begun)


async def say(place: World, session_id: str, text: str, at_ms: int) -> None:
    """Words that were recognised while they were said."""
    lane = next(one for one in await place.store.lanes(session_id) if one.role is Role.CLIENT)
    epoch = (await place.store.get(session_id)).epoch
    segment = Segment(f"seg-{at_ms}", 1, True, lane.id, "pat", Role.CLIENT, at_ms, at_ms + 900, text)
    await place.store.commit_final(session_id, segment, epoch=epoch)


async def finish(place: World, session_id: str, at_ms: int) -> None:
    """Finish, as the call does it, without waiting for what follows."""
    now = place.clock.now()
    columns = {"ended_at": now, "purge_at": now + timedelta(days=7), "erase_by": now + timedelta(days=1)}
    data = {"effective_at_ms": at_ms, "by": "doc"}
    state = CaptureState.FINISHED
    await place.store.record_capture(session_id, "capture.finished", data=data, capture=state, **columns)
    await place.aftercall.begin(session_id)


async def first_part(place: World) -> str:
    session_id = await place.capture(seconds=2, committed=1, words="before")
    await finish(place, session_id, 2_000)
    return session_id


async def second_part(place: World, session_id: str, at_ms: int = 60_000) -> None:
    await start(place, session_id, at_ms)
    await say(place, session_id, "after", at_ms + 1_000)
    await finish(place, session_id, at_ms + 5_000)
    await place.aftercall.wait(session_id)


async def stands(place: World, session_id: str) -> dict[str, Any]:
    """The note, and what the inbox says of it."""
    note = await place.store.note_of(session_id)
    items, _ = await place.store.inbox("demo")
    return {
        "text": json.loads(note.content),
        "version": note.version,
        "state": note.state.value,
        "added": note.words_added,
        "inbox": [(item.kind, item.reason_slug, item.read_at is not None) for item in items],
    }


async def test_a_draft_nobody_edited_is_made_again_of_the_words_of_both_parts(place: World) -> None:
    session_id = await first_part(place)
    await place.aftercall.wait(session_id)
    assert (await stands(place, session_id))["inbox"] == [("draft_ready", None, False)]
    await second_part(place, session_id)
    now = await stands(place, session_id)
    assert (now["state"], now["version"], now["added"]) == ("draft", 2, False)
    assert "before pat 0" in now["text"]
    assert "after" in now["text"]
    assert now["inbox"] == [("draft_ready", "made-again", False)], "one item, which says so"
    transcript = await place.store.transcript(session_id)
    assert [(gap.start_ms, gap.end_ms, gap.reason.value) for gap in transcript.gaps] == [(2_000, 60_000, "off")]
    receipts = [json.loads(one.body) for one in await place.store.receipts(session_id, kind="audio")]
    assert [one["part"] for one in receipts] == [1, 2]
    assert [one["held"]["chunks"] for one in receipts] == [4, 0], "each states what was held in its part"
    assert [lane["captured_ms"] for lane in receipts[1]["held"]["lanes"]] == [0, 0]
    (item,), _ = await place.store.inbox("demo")
    await place.store.inbox_read(item.id, clinic_id="demo")
    await second_part(place, session_id, at_ms=120_000)
    told = (await stands(place, session_id))["inbox"]
    assert told == [("draft_ready", "made-again", False), ("draft_ready", "made-again", True)], "of what was read, anew"


@pytest.mark.parametrize("words", ["after", ""])
async def test_a_draft_that_was_edited_stays_and_says_that_words_were_added(place: World, words: str) -> None:
    session_id = await first_part(place)
    await place.aftercall.wait(session_id)
    note = await place.store.note_of(session_id)
    await place.store.edit_note(note.id, b'"in my own words"', by="u1", version=note.version)
    await start(place, session_id, 60_000)
    with pytest.raises(InvalidTransition, match="Finish it"):
        await place.store.sign(note.id, "u1")
    if words:
        await say(place, session_id, words, 61_000)
    await finish(place, session_id, 65_000)
    await place.aftercall.wait(session_id)
    written, now = place.written, await stands(place, session_id)
    assert (now["text"], now["version"], now["state"]) == ("in my own words", 2, "draft")
    assert (now["added"], now["inbox"]) == (bool(words), [("draft_ready", "words-added" if words else None, False)])
    assert written == 1
    assert (await place.store.sign(note.id, "u1")).state.value == "signed"
    with pytest.raises(SessionLocked, match="signed"):
        await start(place, session_id, 70_000)


async def test_a_draft_that_is_being_written_gives_way_to_the_one_of_both_parts(place: World) -> None:
    reached, held = asyncio.Event(), asyncio.Event()

    async def hold(name: str) -> None:
        if name == "before-draft" and place.written == 1:
            reached.set()
            await held.wait()

    place.on_place = hold
    session_id = await first_part(place)
    await asyncio.wait_for(reached.wait(), 20)
    await asyncio.wait_for(second_part(place, session_id), 20)
    now = await stands(place, session_id)
    assert (now["version"], now["inbox"]) == (1, [("draft_ready", None, False)]), "one draft, one item"
    assert "before pat 0" in now["text"]
    assert "after" in now["text"]
    assert place.written == 2


async def test_a_part_in_which_nothing_was_captured_changes_nothing(place: World) -> None:
    session_id = await first_part(place)
    await place.aftercall.wait(session_id)
    before = await stands(place, session_id)
    await start(place, session_id, 60_000, waits=True)
    data, state = {"effective_at_ms": 62_000, "by": "system"}, CaptureState.FINISHED
    await place.store.record_capture(session_id, "capture.finished", data=data, capture=state)
    await place.aftercall.begin(session_id)
    await place.aftercall.wait(session_id)
    assert await stands(place, session_id) == before
    assert [one.part for one in await place.store.receipts(session_id, kind="audio")] == [1]
    assert session_id not in [record.id for record in await place.store.unfinished()]


async def test_a_note_that_failed_is_made_with_the_words_of_both_parts(place: World) -> None:
    place.writer_failures = [InvalidTransition("no") for _ in range(4)]
    session_id = await first_part(place)
    await place.aftercall.wait(session_id)
    assert (await place.store.get(session_id)).note.value == "failed"
    place.writer_failures = []
    await second_part(place, session_id)
    record, now = await place.store.get(session_id), await stands(place, session_id)
    assert (record.note.value, record.failure_slug) == ("draft", None)
    assert "after" in now["text"]


async def test_a_whole_call_in_two_parts(tmp_path: Path) -> None:
    async with world(tmp_path / "data") as there:
        recordings = {who: there.cut(who, FIRST) for who in (CLINICIAN, CLIENT)}
        async with two_people(there, recordings) as call:
            await call.admit()
            await call.clinician.control("start")
            await call.connect()
            await call.client.consent("granted")
            await call.clinician.until(lambda: call.clinician.state.get("capture") == "capturing", "recording")
            path, began_s = f"/v1/sessions/{call.session_id}", call.play()

            async def reached(ms: int) -> None:
                await asyncio.sleep(max(0.0, began_s + ms / 1000 - asyncio.get_running_loop().time()))

            await reached(FIRST[1] - FIRST[0] + 200)
            await call.clinician.control("finish")
            first = await there.until(call.session_id, "audio", "erased")
            await there.until(call.session_id, "note", "draft")
            assert call.clinician.bot is None, "no bot between the parts"

            for peer in (call.clinician, call.client):
                peer._recording = there.cut(peer.participant_id, SECOND)
            ack = await call.clinician.control("start")
            assert ack["state"] == "capturing", "who agreed in this session has agreed"
            await call.connect()
            began_s = call.play()
            await reached(SECOND[1] - SECOND[0] + 200)
            await call.clinician.control("finish")
            await there.until(call.session_id, "audio", "erased")
            session = await there.until(call.session_id, "note", "draft")
            assert (first["part"], session["part"]) == (1, 2)

            transcript = await there.get(f"{path}/transcript")
            (between,) = [gap for gap in transcript["gaps"] if gap["reason"] == "off"]
            assert between["end_ms"] == ack["effective_at_ms"], "up to where gates opened, once it was recorded"
            before = [s for s in transcript["segments"] if s["end_ms"] <= between["start_ms"] + 100]
            after = [s for s in transcript["segments"] if s["start_ms"] >= between["end_ms"] - 100]
            assert len(before) + len(after) == len(transcript["segments"])
            assert "Sunday" in " ".join(s["text"] for s in before)
            assert "six hours" in " ".join(s["text"] for s in after)
            assert all(lane["ledger_closes"] and lane["ledger"]["lost"] == 0 for lane in session["lanes"])

            note = await there.get(f"/v1/notes/{session['note_id']}")
            assert (note["version"], note["words_added"]) == (2, False)
            sentences = [sentence for section in note["sections"] for sentence in section["sentences"]]
            cited = {evidence["source_id"] for sentence in sentences for evidence in sentence["evidence"]}
            assert cited & {s["id"] for s in before}
            assert cited & {s["id"] for s in after}
            items = [one for one in (await there.get("/v1/inbox"))["items"] if one["session_id"] == call.session_id]
            assert [(one["kind"], one["reason"]) for one in items] == [("draft_ready", "made-again")]

            receipts = (await there.get(f"{path}/receipts"))["items"]
            keys = load_public_keys((await there.http.get("/.well-known/quietnote-receipt-keys.json")).content)
            assert [one["receipt"]["part"] for one in receipts] == [1, 2]
            for one in receipts:
                assert verify_receipt((await there.http.get(one["href"])).content, keys).valid
                assert all(4_000 < lane["captured_ms"] < 15_000 for lane in one["receipt"]["held"]["lanes"])
            assert not list((there.data_dir / "spool").rglob("*.chunk"))

            token = there.service.services.tokens.issue(
                session_id=call.session_id, participant_id=CLINICIAN, role=Role.CLINICIAN, clinic_id="demo"
            )
            headers = {"Authorization": f"Bearer {token}"}
            signed = await there.http.post(f"/v1/notes/{session['note_id']}/sign", json={}, headers=headers)
            assert signed.status_code == 200, signed.text
            refused = await there.http.post(f"{path}/capture", json={"action": "start"}, headers=headers)
            assert (refused.status_code, refused.json()["slug"]) == (409, "session-locked")
            assert call.clinician.bot is None
