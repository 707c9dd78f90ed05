"""What the pages say of a microphone without sound, of an end that is near, and of a recording that ended by itself."""

from __future__ import annotations

import os
import wave
from collections import deque
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from bot.control import leaving
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, recording, two_people
from tests.integration.call_world import world

SHORT = {"max_duration_min": 1, "silent_microphone_s": 3}
NEAR_S, MORE_S = 30.0, 8.0


@pytest.fixture
def unplugged(tmp_path: Path) -> Path:
    """A microphone that gives digital silence."""
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        out.writeframes(bytes(48_000 * 2))
    return path


@pytest.mark.soak
async def test_what_the_pages_say(
    playwright: Playwright,
    microphones: dict[str, Path],
    unplugged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        world(tmp_path / "data") as place,
        two_people(playwright, microphones | {"client": unplugged}) as (clinician, client),
    ):
        clinics = place.service.services.clinics
        _, config = await clinics.current("demo")
        capture = config.capture.model_copy(update=SHORT)
        await clinics.save(config.model_copy(update={"capture": capture}), author="test")
        session = await recording(clinician, client, Served(place.url, place.data_dir, deque(), os.getpid()))
        silent = clinician.page.locator("[data-notice^='warning-microphone-silent']", has_text=CLIENT_NAME)
        await expect(silent).to_contain_text("Their microphone gives no sound", timeout=20_000)
        await expect(client.page.locator("qn-notices")).to_contain_text("Your microphone", timeout=20_000)
        await expect(client.page.locator("qn-notices")).not_to_contain_text("Your microphone gives no sound")
        await client.press("Mute")
        await expect(silent).to_have_count(0, timeout=15_000)

        live: Any = await place.service.services.live.of(session)
        near = clinician.page.locator("[data-notice^='warning-ending-now']")
        monkeypatch.setattr(leaving, "MINUTE_S", live._elapsed().captured_s + NEAR_S)
        await expect(near).to_contain_text("Recording is finished within a minute", timeout=15_000)
        await clinician.page.reload()
        await expect(near).to_have_count(1, timeout=15_000)
        monkeypatch.setattr(leaving, "MINUTE_S", live._elapsed().captured_s + MORE_S)
        for somebody in (clinician, client):
            ended = somebody.page.locator("[data-notice='ended']")
            await expect(ended).to_contain_text("Recording ended by itself", timeout=40_000)
            await expect(ended).to_contain_text("It reached the longest time that your clinic allows.")
        await expect(near).to_have_count(0)
        await expect(clinician.page.locator("[data-notice='ended']")).to_contain_text("becomes a note")
        await expect(client.page.locator("[data-notice='ended']")).not_to_contain_text("note")
        assert clinician.complaints == client.complaints == []
