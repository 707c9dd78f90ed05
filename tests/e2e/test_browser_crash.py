"""A therapist's browser that dies while recording: on return the open recording is offered, and its gap is stated."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import PHONE, person
from tests.e2e.conftest import Served
from tests.e2e.steps import api, discard, recording, session_of, sign_in
from tests.e2e.test_browsers import process_of


@pytest.mark.soak
async def test_return_after_the_browser_was_killed(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with person(playwright, microphone=microphones["client"], viewport=PHONE) as client:
        async with person(playwright, microphone=microphones["clinician"]) as clinician:
            session = await recording(clinician, client, served)
            await expect(clinician.page.locator(".caption").first).to_be_attached(timeout=60_000)
            async with clinician.page.context.expect_event("close"):
                os.kill(await process_of(clinician), signal.SIGKILL)
        await client.sees("Paused", timeout_s=30)
        async with person(playwright, microphone=microphones["clinician"]) as clinician:
            await sign_in(clinician, served)
            opened = clinician.page.locator(f".open-recording[data-session='{session}']")
            for name in ("Finish", "Discard"):
                await expect(opened.get_by_role("button", name=name, exact=True)).to_be_visible()
            await opened.get_by_role("link", name="Return").click()
            for somebody in (clinician, client):
                await somebody.sees("Recording", timeout_s=30)
            assert session_of(clinician) == session
            status, transcript = await api(clinician, f"{served.url}/v1/sessions/{session}/transcript")
            assert status == 200
            [pause] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
            assert pause["pause_reasons"] == ["clinician_absent"]
            away = [gap for gap in transcript["gaps"] if gap["reason"] == "absent"]
            assert away, "until then only their own lane was missing, and it is said"
            assert away[0]["end_ms"] <= pause["end_ms"]
            await expect(clinician.page.locator(".caption-mark").first).to_be_visible()
            await discard(clinician)
