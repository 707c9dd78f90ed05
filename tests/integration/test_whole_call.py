"""One call from a spoken word to a draft note, the code word nowhere, and the audio gone."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.bench.forensics import said_in, search
from bot.bench.witness import Witness, witnessing
from bot.demo.dialogue import load
from bot.events import Role
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

BEFORE, SECRET, AFTER = (4_000, 12_700), (36_000, 42_800), (48_400, 53_500)
"""Parts of the dialogue, in ms: what is said before the pause, during it, and after it."""
WORDS = ("breathing exercise", "six hours", "worry less")
NAME = b"Robin"
"""As it is written; in lower case it is the id of who bears it."""


async def sign(place: World, note_id: str, session_id: str) -> httpx.Response:
    """Sign as the clinician of the call, by their own token: a platform's key may not."""
    refused = await place.http.post(f"/v1/notes/{note_id}/sign", json={})
    assert refused.status_code == 403
    assert refused.json()["slug"] == "forbidden"
    token = place.service.services.tokens.issue(
        session_id=session_id, participant_id=CLINICIAN, role=Role.CLINICIAN, clinic_id="demo"
    )
    headers = {"Authorization": f"Bearer {token}"}
    return await place.http.post(f"/v1/notes/{note_id}/sign", json={}, headers=headers)


async def play_through(place: World, call: Call) -> dict[str, Any]:
    """Speak, pause while the code word is said, go on, finish; the pause's ack."""
    began_s = call.play()

    async def reached(ms: int) -> None:
        await asyncio.sleep(max(0.0, began_s + ms / 1000 - time.monotonic()))

    pause_at = BEFORE[1] - BEFORE[0] + 200
    await reached(pause_at)
    ack = dict(await call.clinician.control("pause", by_channel=True))
    await reached(pause_at + 400 + SECRET[1] - SECRET[0])
    await call.clinician.control("resume")
    await reached(pause_at + 800 + SECRET[1] - SECRET[0] + AFTER[1] - AFTER[0])
    await call.clinician.control("finish")
    return ack


async def test_a_call_from_a_spoken_word_to_a_signed_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    witness = Witness()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with witnessing(witness):
        await a_call_is_spoken_and_signed(tmp_path / "data", scratch, witness)
    logged = capfd.readouterr()
    for text in (logged.out, logged.err):
        assert not any(word in text for word in (*WORDS, NAME.decode(), load().code_word))


async def a_call_is_spoken_and_signed(data_dir: Path, scratch: Path, witness: Witness) -> None:
    async with world(data_dir) as place:
        recordings = {who: place.cut(who, BEFORE, SECRET, AFTER) for who in (CLINICIAN, CLIENT)}
        async with two_people(place, recordings) as call:
            await call.admit()
            assert call.clinician.bot is None
            assert not await place.service.services.store.lanes(call.session_id)
            await call.clinician.control("start")
            await call.connect()
            assert call.clinician.state["capture"] == "consent_pending"
            assert not witness.captured
            await call.client.consent("granted")
            await call.clinician.until(lambda: call.clinician.state.get("capture") == "capturing", "recording")
            ack = await play_through(place, call)
            session = await place.until(call.session_id, "note", "draft")
            captions = [heard.message for heard in call.client.heard if heard.message["type"] == "caption"]

        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
        note = await place.get(f"/v1/notes/{session['note_id']}")
        inbox = await place.get("/v1/inbox")

        # both people were heard, live and in the transcript
        said = {
            role: " ".join(s["text"] for s in transcript["segments"] if s["role"] == role)
            for role in ("clinician", "client")
        }
        assert "breathing exercise" in said["clinician"]
        assert "six hours" in said["client"]
        assert "Yes" in said["client"]
        assert "Sunday" in said["client"]
        assert any(not c["final"] for c in captions)
        finals = [c for c in captions if c["final"] and c["text"]]
        assert {c["segment_id"] for c in finals} == {s["id"] for s in transcript["segments"]}
        shown = {(c["segment_id"], c["rev"]) for c in finals}
        assert len(shown) == len(transcript["segments"]), "a final never changes"

        # what was said while paused is nowhere
        told = str([captions, transcript, note, inbox, session]).lower()
        assert place.dialogue.code_word not in told
        assert said_in((place.data_dir, scratch), place.dialogue.code_word) == []
        gap = next(gap for gap in transcript["gaps"] if gap["reason"] == "paused")
        assert gap["pause_reasons"] == ["clinician"]
        assert abs(gap["start_ms"] - ack["effective_at_ms"]) <= 1
        assert not any(s["end_ms"] > gap["start_ms"] and s["start_ms"] < gap["end_ms"] for s in transcript["segments"])

        # the books close
        for lane in session["lanes"]:
            assert lane["ledger_closes"] is True
            assert lane["ledger"]["paused"] > 6 * 16_000
            assert lane["ledger"]["lost"] == 0

        # the audio is gone and a receipt says so
        assert session["audio"] == "erased"
        looked_for = witness.done()
        assert looked_for.samples > 20 * 16_000
        assert looked_for.keys > 20
        assert search(looked_for, place.data_dir, scratch).clean
        assert not list((place.data_dir / "spool").rglob("*.chunk"))
        receipts = (await place.get(f"/v1/sessions/{call.session_id}/receipts"))["items"]
        keys = load_public_keys((await place.http.get("/.well-known/quietnote-receipt-keys.json")).content)
        body = (await place.http.get(receipts[0]["href"])).content
        assert verify_receipt(body, keys).valid
        assert not verify_receipt(body.replace(b'"audio"', b'"video"'), keys).valid

        # every sentence has its evidence; one item in the inbox
        ids = {s["id"] for s in transcript["segments"]}
        sentences = [s for section in note["sections"] for s in section["sentences"]]
        assert sentences
        assert all(e["source_id"] in ids for s in sentences for e in s["evidence"] if e["source"] == "segment")
        assert all(s["evidence"] for s in sentences)
        assert [i["kind"] for i in inbox["items"] if i["session_id"] == call.session_id] == ["draft_ready"]

        # words lie nowhere in the open, before signing and after it, and no name does
        assert said_in((place.data_dir, scratch), *WORDS) == []
        answer = await sign(place, session["note_id"], call.session_id)
        assert answer.status_code == 200, answer.text
        gone = await place.http.get(f"/v1/sessions/{call.session_id}/transcript")
        assert gone.status_code == 410
        assert gone.json()["slug"] == "transcript-purged"
        assert said_in((place.data_dir, scratch), *WORDS) == []
        assert search(witness.done(), place.data_dir, scratch).clean
        assert not [path for path in place.data_dir.rglob("*") if path.is_file() and NAME in path.read_bytes()]
