"""Start recording again after Finish, as both people see it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.axe import accessible
from tests.e2e.conftest import Served
from tests.e2e.steps import discard, recording, two_people


async def test_after_finish_recording_can_be_started_again(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await recording(clinician, client, served)
        await expect(clinician.page.locator(".caption[data-final='true']").first).to_be_visible(timeout=60_000)
        await clinician.press("Finish and Generate Note")
        await expect(client.page.get_by_text("Recording has ended.").first).to_be_visible()
        again = clinician.page.get_by_role("button", name="Start recording", exact=True)
        await expect(again).to_be_visible(timeout=60_000)
        await expect(clinician.page.get_by_text("What is said is added to this session")).to_be_visible()
        await expect(clinician.page.get_by_role("link", name="Open the note")).to_be_visible()
        await accessible(clinician)

        await clinician.press("Start recording")
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await expect(client.page.get_by_role("button", name="Withdraw consent")).to_be_visible()
        await expect(clinician.page.get_by_role("link", name="Open the note")).to_be_hidden()
        await clinician.press("Discard")
        await expect(clinician.page.get_by_role("dialog")).to_contain_text("what was recorded before Finish too")
        await clinician.page.get_by_role("dialog").get_by_role("button", name="Keep recording").click()
        await discard(clinician)
        await expect(clinician.page.locator("qn-transcription")).to_be_hidden()
