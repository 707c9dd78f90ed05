"""A press whose page changes between finger down and finger up does what was meant, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Locator, Page, Playwright, expect

from tests.e2e.browsers import person
from tests.e2e.conftest import Served
from tests.e2e.steps import api, recording


async def finger_down(page: Page, button: Locator) -> None:
    await button.scroll_into_view_if_needed()
    box = await button.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.down()


async def test_the_page_changes_under_the_finger(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with (
        person(playwright, microphone=microphones["clinician"]) as clinician,
        person(playwright, microphone=microphones["client"]) as client,
    ):
        session_id = await recording(clinician, client, served)
        control = clinician.page.locator("qn-transcription button")

        # meant to pause, and it was paused meanwhile: it does not resume
        await finger_down(clinician.page, control)
        await clinician.page.keyboard.press("r")
        for somebody in (clinician, client):
            await somebody.sees("Paused")
        await clinician.page.mouse.up()
        await expect(control).to_have_text("Resume recording")
        _, session = await api(clinician, f"{served.url}/v1/sessions/{session_id}")
        assert (session["capture"], session["pause_reasons"]) == ("paused", ["clinician"])

        # meant to withdraw, and recording went on meanwhile: it is withdrawn
        await finger_down(client.page, client.page.get_by_role("button", name="Withdraw consent"))
        await clinician.press("Resume recording")
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await client.page.mouse.up()
        await expect(client.page.get_by_role("dialog", name="Recording has stopped")).to_be_visible()
        await clinician.sees("Paused")
        _, session = await api(clinician, f"{served.url}/v1/sessions/{session_id}")
        assert "consent" in session["pause_reasons"]
