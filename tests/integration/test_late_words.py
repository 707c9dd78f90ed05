"""A recogniser that stands still is noticed: clinicians see how far behind the words are, and when it is over."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from bot.asr.whisper import WhisperEngine
from bot.control import stage
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world


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


async def test_words_that_are_behind_are_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: threading.Event
) -> None:
    monkeypatch.setattr(stage, "LATE_MS", 500)
    async with world(tmp_path / "data") as place:
        spoken = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, (4_000, 11_900))}
        async with two_people(place, spoken) as call:
            await call.begin()
            call.play()

            def lags() -> list[int]:
                return [h.message["lag_ms"] for h in call.clinician.heard if h.message["type"] == "lag"]

            def figure(name: str) -> float:
                lines = place.service.services.metrics.render().decode().splitlines()
                return float(next(line.split()[1] for line in lines if line.startswith(f"quietnote_{name} ")))

            try:
                await call.clinician.until(lambda: bool(lags()), "the words are behind", 30)
                assert min(lags()) >= 500
                assert figure("asr_lag_seconds") >= 0.5
            finally:
                go.set()
            await call.clinician.until(lambda: lags()[-1] == 0, "the words have caught up", 30)
            assert not [h for h in call.client.heard if h.message["type"] == "lag"], "for clinicians only"
            await call.clinician.control("discard")


async def test_a_withdrawal_takes_back_what_waits_for_words(tmp_path: Path, go: threading.Event) -> None:
    async with world(tmp_path / "data") as place:
        spoken = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}
        async with two_people(place, spoken) as call:
            await call.begin()
            call.play()

            def captured() -> int:
                return int(call.clinician.ledger.get(CLIENT, {}).get("captured_ms", 0))

            try:
                await call.clinician.until(lambda: captured() > 5_500, "the client to have spoken", 30)
                await call.client.consent("revoked")
            finally:
                go.set()
            await call.client.consent("granted")
            heard = captured()
            await call.clinician.until(lambda: captured() > heard + 2_000, "recording to go on", 30)
            await call.clinician.control("finish")
            session = await place.until(call.session_id, "audio", "erased")
            transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
    assert session["transcript"] != "live"
    said = [h.message["text"] for h in call.clinician.heard if h.message["type"] == "caption"]
    assert not any(said), "nothing that was said before the withdrawal is written afterwards"
    assert transcript["segments"] == []
