"""A disk that fills up: it is said, calls go on, no word that was recognised is lost, and nothing is half changed."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot import app
from bot.asr.whisper import WhisperEngine
from bot.control.keeping import DISK_FULL
from bot.control.live import LiveSession
from bot.demo.peer import CallFailed, Peer
from bot.events import CapturedAudio
from bot.media import spool
from bot.media.spool import CHUNK_SAMPLES, Spool
from bot.store.vault import FileVault
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world
from tests.integration.small_disk import small_disk

SPOKEN = (600, 12_700)
SAID = ("past week", "better than last week", "breathing exercise", "Yes")


def warnings(peer: Peer) -> set[str]:
    return {h.message["slug"] for h in peer.heard if h.message["type"] == "warning"}


async def test_a_disk_that_fills_up_in_a_call(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "24m") as disk:
        async with world(disk.folder, spool_reserve_mb=0) as place:
            recordings = {who: place.cut(who, SPOKEN) for who in (CLINICIAN, CLIENT)}
            async with two_people(place, recordings) as call:
                path = f"/v1/sessions/{call.session_id}"
                await call.admit()
                disk.fill()
                before = await place.get(path)
                refused = await place.http.post(f"{path}/capture", json={"action": "start"})
                assert (refused.status_code, refused.json()["slug"]) == (503, "overloaded")
                assert "the disk is full" in refused.json()["detail"]
                assert await place.get(path) == before
                assert call.clinician.bot is None
                disk.empty()

                await call.begin()
                disk.fill()
                call.play()
                store = place.service.services.store
                live = await place.service.services.live.of(call.session_id)
                assert isinstance(live, LiveSession)
                clinician = call.clinician
                await clinician.until(lambda: DISK_FULL in warnings(clinician), "a warning")
                assert DISK_FULL not in warnings(call.client), "clients are not troubled with it"
                words = live.media._words  # type: ignore[union-attr]
                await clinician.until(lambda: words.depth >= len(SAID), "words that wait for the disk", 60)
                session = await place.get(path)
                assert session["capture"] == "capturing"
                assert DISK_FULL in {warning["slug"] for warning in session["warnings"]}

                with pytest.raises(CallFailed, match="overloaded"):
                    await clinician.control("pause")
                await clinician.until(lambda: clinician.state["capture"] == "paused", "recording to be held")
                made = {"clinic_id": "demo", "participants": [{"role": "clinician", "display_name": "Dr. Ada Stone"}]}
                refused = await place.http.post("/v1/sessions", json=made)
                assert (refused.status_code, refused.json()["cause"]) == (503, "full")

                disk.empty()
                held = (await clinician.control("pause"))["effective_at_ms"]
                await clinician.until(lambda: clinician.ledger[CLINICIAN]["paused_ms"] > 500, "a pause to speak of")
                await clinician.control("finish")
            session = await place.until(call.session_id, "note", "draft")
            assert session["audio"] == "erased"
            assert DISK_FULL in {w["slug"] for w in (await store.warnings_of([call.session_id]))[call.session_id]}
            assert all(lane["ledger_closes"] for lane in session["lanes"])
            assert all(lane["ledger"]["lost"] == 0 for lane in session["lanes"])
            transcript = await place.get(f"{path}/transcript")
            said = " ".join(segment["text"] for segment in transcript["segments"])
            assert all(words in said for words in SAID), said
            [gap] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
            assert gap["start_ms"] == held


def test_what_stayed_in_memory_goes_to_the_disk_as_soon_as_it_has_room(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault", secrets.token_bytes(32))
    sound = np.arange(6 * CHUNK_SAMPLES, dtype=np.int16)
    with small_disk(tmp_path / "spool", "2m") as disk:
        lane = Spool(disk.folder, vault, "ses_1", "lan_1")

        def take(first: int, last: int) -> None:
            part = sound[first * CHUNK_SAMPLES : last * CHUNK_SAMPLES]
            lane.append(CapturedAudio("lan_1", first * CHUNK_SAMPLES, part))

        take(0, 1)
        disk.fill()
        take(1, 5)
        assert len(list(disk.folder.rglob("*.chunk"))) == 1
        assert (lane.depth, lane.unspooled) == (5, 0)
        disk.empty()
        take(5, 6)
        assert len(list(disk.folder.rglob("*.chunk"))) == 6
        again = Spool(disk.folder, vault, "ses_1", "lan_1")
        assert np.array_equal(np.concatenate([audio.pcm for audio in again.read()]), sound)


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The recogniser waits until this is set."""
    go = threading.Event()
    real = WhisperEngine.recognise

    def recognise(engine: WhisperEngine, pcm: Any, *, language: str, word_times: bool = False) -> Any:
        assert go.wait(60)
        return real(engine, pcm, language=language, word_times=word_times)

    monkeypatch.setattr(WhisperEngine, "recognise", recognise)
    return go


async def test_recording_pauses_before_sound_could_be_kept_nowhere_and_goes_on_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: threading.Event
) -> None:
    monkeypatch.setattr(app, "MEGABYTE", 2 * CHUNK_SAMPLES + 29)  # the session may put one chunk on the disk
    monkeypatch.setattr(spool, "MEMORY_CHUNKS", 4)
    async with world(tmp_path / "data", spool_session_mb=1) as place:
        recordings = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, (48_400, 53_400))}
        async with two_people(place, recordings) as call:
            await call.begin()
            call.play()
            clinician = call.clinician
            try:
                await clinician.until(lambda: clinician.state["capture"] == "paused", "recording to be held", 30)
                assert clinician.state["pause_reasons"] == ["storage"]
                assert DISK_FULL in warnings(clinician)
                assert len(list((tmp_path / "data" / "spool").rglob("*.chunk"))) == 1
            finally:
                go.set()
            await clinician.until(lambda: clinician.state["capture"] == "capturing", "recording to go on", 30)
            await clinician.control("finish")
        session = await place.until(call.session_id, "note", "draft")
        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
    assert all(lane["ledger_closes"] for lane in session["lanes"])
    [pause] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
    assert pause["pause_reasons"] == ["storage"]
    said = " ".join(segment["text"] for segment in transcript["segments"])
    assert "new job" in said, "what was captured before is written, from memory"
    assert not [gap for gap in transcript["gaps"] if gap["reason"] == "lost"]
