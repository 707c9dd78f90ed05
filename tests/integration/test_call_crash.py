"""kill -9 during a call and just after its end: what was sealed is heard, and the books reach the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.call_world import CLIENT, CLINICIAN, Call, Place, two_people
from tests.integration.test_stopping import WITHIN_S, Process, serving

GREETING = (500, 6_000)
"""The clinician speaks first."""


async def killed(served: Process) -> None:
    served.process.kill()
    await served.process.wait()


def books(session: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {lane["participant_id"]: lane["ledger"] for lane in session["lanes"]}


async def a_caption(call: Call) -> None:
    heard = call.clinician.heard
    await call.clinician.until(lambda: any(h.message["type"] == "caption" for h in heard), "a caption", WITHIN_S)


async def finished(place: Place, session_id: str) -> dict[str, Any]:
    body = {"action": "finish", "message_id": "m1", "clinician_id": CLINICIAN}
    answer = await place.http.post(f"/v1/sessions/{session_id}/capture", json=body)
    assert answer.status_code == 200, answer.text
    return await place.until(session_id, "note", "draft")


@pytest.mark.timeout(240)
async def test_what_the_clinician_said_before_the_crash_is_written_though_nobody_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as (served, place):
        recordings = {CLINICIAN: place.cut(CLINICIAN, GREETING), CLIENT: place.cut(CLIENT, (0, 400))}
        async with two_people(place, recordings) as call:
            await call.begin()
            call.play()
            spoke = "the clinician to be heard"
            chunks = tmp_path / "data" / "spool"
            await call.clinician.until(lambda: len(list(chunks.rglob("*.chunk"))) >= 5, spoke, WITHIN_S)
            await killed(served)

    async with serving(tmp_path) as (served, place):
        async with asyncio.timeout(WITHIN_S):
            while True:
                session = await place.get(f"/v1/sessions/{call.session_id}")
                if "clinician_absent" in session["pause_reasons"]:
                    break
                await asyncio.sleep(0.2)
        assert session["capture"] == "paused"
        session = await finished(place, call.session_id)
        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
        assert (session["bot"], session["bot_end_reason"]) == ("done", "stopped_by_clinician")
    said = " ".join(s["text"] for s in transcript["segments"] if s["participant_id"] == CLINICIAN)
    assert "morning" in said.lower(), transcript
    away = next(gap for gap in transcript["gaps"] if gap["reason"] == "interrupted")
    assert all(s["end_ms"] <= away["start_ms"] + 100 or s["start_ms"] >= away["end_ms"] for s in transcript["segments"])
    ledger = books(session)[CLINICIAN]
    assert ledger["absent"] >= 16_000, "the outage: nobody was heard"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("action", ["finish", pytest.param("discard", marks=pytest.mark.soak)])
async def test_a_crash_right_after_the_end_changes_nothing_about_it(tmp_path: Path, action: str) -> None:
    async with serving(tmp_path) as (served, place):
        recordings = {CLINICIAN: place.cut(CLINICIAN, GREETING), CLIENT: place.cut(CLIENT, (4_000, 8_200))}
        async with two_people(place, recordings) as call:
            await call.begin()
            call.play()
            await a_caption(call)
            ack = await call.clinician.control(action)
            await killed(served)

    async with serving(tmp_path) as (served, place):
        wanted = ("note", "draft") if action == "finish" else ("transcript", "purged")
        await place.until(call.session_id, *wanted)
        session = await place.until(call.session_id, "audio", "erased")
        assert (session["bot"], session["bot_end_reason"]) == ("done", "stopped_by_clinician")
    ends = {ledger["elapsed"] for ledger in books(session).values()}
    assert len(ends) == 1, "every lane's account reaches the end of the call"
    assert abs(ends.pop() / 16 - ack["effective_at_ms"]) < 2_000


@pytest.mark.timeout(240)
async def test_a_pause_goes_on_over_a_crash_and_is_one_entry(tmp_path: Path) -> None:
    async with serving(tmp_path) as (served, place):
        recordings = {CLINICIAN: place.cut(CLINICIAN, GREETING), CLIENT: place.cut(CLIENT, (4_000, 8_200))}
        async with two_people(place, recordings) as call:
            await call.begin()
            call.play()
            await a_caption(call)
            first = await call.clinician.control("pause")
            await asyncio.sleep(0.5)  # a pause that is worth an entry
            await call.clinician.control("resume")
            paused = await call.clinician.control("pause")
            await killed(served)

    async with serving(tmp_path) as (served, place):
        session = await place.get(f"/v1/sessions/{call.session_id}")
        assert (session["capture"], session["pause_reasons"]) == ("paused", ["clinician"])
        session = await finished(place, call.session_id)
        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
    holes = [gap for gap in transcript["gaps"] if gap["participant_id"] is None]
    ends = {ledger["elapsed"] for ledger in books(session).values()}
    begun = [("paused", ack["effective_at_ms"]) for ack in (first, paused)]
    assert [(gap["reason"], gap["start_ms"]) for gap in holes] == begun, "one entry each, however often it is restated"
    assert abs(holes[-1]["end_ms"] - ends.pop() / 16) < 2_000, "to the end, the crash within"
    assert all(segment["end_ms"] <= paused["effective_at_ms"] for segment in transcript["segments"])
