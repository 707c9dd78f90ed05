"""What one agreed to, kept by a link; taking it back in the call and after it, and what the clinician sees of that."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.axe import accessible
from tests.e2e.browsers import NARROW, PHONE, Person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, api, recording, two_people


async def the_clinician_reads_of_it(clinician: Person, served: Served, session: str) -> None:
    """An item in the inbox, the session in the list, and what became of it."""
    _, inbox = await api(clinician, f"{served.url}/v1/inbox?limit=100")
    [item] = [one for one in inbox["items"] if one["session_id"] == session and not one["read"]]
    assert (item["kind"], item["reason"]) == ("consent_withdrawn", "consent-revoked")
    async with asyncio.timeout(20):
        while True:
            _, now = await api(clinician, f"{served.url}/v1/sessions/{session}")
            if now["transcript"] == "purged":
                break
            await asyncio.sleep(0.1)
    await clinician.page.goto(f"{served.url}/notes/{session}")
    page = clinician.page
    await expect(page.locator(f"[data-session='{session}']")).to_contain_text("Consent withdrawn")
    await expect(page.get_by_text(f"{CLIENT_NAME} withdrew consent. The sound, the words")).to_be_visible()
    await page.get_by_role("tab", name="Receipts").click()
    receipt = page.locator(".receipt[data-kind='transcript']")
    await expect(receipt).to_have_attribute("data-verdict", "valid")
    await expect(receipt).to_contain_text("Consent was withdrawn")
    await accessible(clinician)


async def test_by_the_link_after_the_call(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        session = await recording(clinician, client, served)
        await clinician.press("Finish and Generate Note")
        await client.press("What you agreed to")
        dialog = client.page.get_by_role("dialog", name="Keep this: what you agreed to, and how to withdraw")
        link = await dialog.get_by_label("Your own link").input_value()
        assert re.fullmatch(re.escape(f"{served.url}/my-consent/{session}#") + r"[\w-]{32}", link)
        await accessible(client, behind_a_dialog=True)
        await client.press("Back to the session")
        await client.press("Leave")
        await expect(client.page.get_by_role("heading", name="Keep this")).to_be_visible()
        assert await client.page.get_by_label("Your own link").input_value() == link, "one link a tab"
        await accessible(client)

        # the link works without anything else the tab knows
        await client.page.evaluate("sessionStorage.clear()")
        await client.page.goto(link)
        await expect(client.page.get_by_role("heading", name="What you agreed to")).to_be_visible()
        assert "#" not in client.page.url, "the code stays in the address"
        await expect(client.page.locator("blockquote")).to_contain_text("write down what is said")
        await expect(client.page.locator(".mine-version")).to_contain_text("Version built-in-")
        await client.page.reload()
        for viewport in (PHONE, NARROW):
            await client.page.set_viewport_size(viewport)
            await expect(client.page.get_by_role("button", name="Withdraw my consent")).to_be_visible()
            wide = await client.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"], "no sideways scrolling"
        await accessible(client)

        await client.press("Withdraw my consent")
        await client.page.get_by_role("dialog").get_by_role("button", name="Withdraw", exact=True).click()
        await expect(client.page.get_by_text("What was recorded is destroyed. Your clinician")).to_be_visible()
        await expect(client.page.get_by_role("button", name="Withdraw my consent")).to_have_count(0)
        told = clinician.page.get_by_text(f"{CLIENT_NAME} withdrew consent and had the recording destroyed")
        await expect(told.first).to_be_visible()
        await the_clinician_reads_of_it(clinician, served, session)
        assert client.complaints == []
        assert clinician.complaints == []


async def test_in_the_call(served: Served, playwright: Playwright, microphones: dict[str, Path]) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        session = await recording(clinician, client, served)
        captions = clinician.page.locator("qn-captions .caption")
        await expect(captions.first).to_be_attached(timeout=30_000)
        await client.press("Withdraw consent")
        await expect(client.page.get_by_role("dialog", name="Recording has stopped")).to_be_visible()
        await accessible(client, behind_a_dialog=True)
        await client.press("Back to the session")
        await clinician.sees("Paused")
        await client.press("Destroy what was recorded")
        sure = client.page.get_by_role("dialog", name="Destroy what was recorded so far?")
        await expect(sure).to_contain_text("everybody else's")
        await sure.get_by_role("button", name="Destroy it").click()
        await expect(client.page.get_by_text("Recording has ended, and nothing of it is kept.")).to_be_visible()
        for somebody in (clinician, client):
            await somebody.sees("Not recording")
            await expect(somebody.page.locator("qn-captions .caption")).to_have_count(0)
        await expect(clinician.page.get_by_text("Consent was withdrawn. Nothing of this")).to_be_visible()
        await the_clinician_reads_of_it(clinician, served, session)
        assert client.complaints == []
        assert clinician.complaints == []
