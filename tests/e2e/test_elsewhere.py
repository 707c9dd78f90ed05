"""Who is away: a page whose place another page took, and what the others are told while somebody is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import Person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, agreed, let_in, session_of, sign_in, start_call, two_people

CLAIMS = re.compile("paused|recording|hears|connecting", re.IGNORECASE)
SAID = (
    "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map((one) => one.textContent).join('')"
)


async def claims_nothing(somebody: Person) -> None:
    """In the place of the call stands a card; pill, title and live regions say nothing of the recording."""
    page = somebody.page
    card = page.locator("main .card")
    await expect(card).to_contain_text("This call is open on another device or in another tab")
    await somebody.sees("Open elsewhere")
    await expect(page.get_by_role("group", name="Call controls")).to_have_count(0)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert not CLAIMS.search(await page.locator("body").inner_text())
    assert await page.evaluate(SAID) == ""


async def test_a_page_that_was_replaced_and_people_who_are_away(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call")
        session = session_of(clinician)
        await let_in(clinician, client, link)
        await agreed(clinician, client)

        # the clinician opens the call in another tab, even while a question is open, and takes it back
        await clinician.press("Discard")
        other = await clinician.page.context.new_page()
        await other.goto(clinician.page.url)
        await claims_nothing(clinician)
        await clinician.press("Use it here")
        await clinician.sees("Recording")
        await expect(other.locator("main .card")).to_contain_text("This call is open on another device")
        await other.close()

        # the client opens their link on another device, which waits there; the recording runs on for some seconds
        other = await client.page.context.new_page()
        await other.goto(link)
        await claims_nothing(client)
        left = clinician.page.locator("[data-notice='client-away']")
        await expect(left).to_contain_text(f"{CLIENT_NAME} left the call")
        await expect(left).to_contain_text("Recording runs on for some seconds.")
        await client.press("Use it here")
        await client.sees("Recording")
        await expect(left).to_have_count(0)
        await other.close()

        # the clinician is away: what the client reads of the recording is true at each moment
        await clinician.page.goto(f"{served.url}/")
        away = client.page.locator(".card.invite")
        await expect(away).to_contain_text("Your clinician is away for a moment")
        await expect(away).to_contain_text("Recording pauses by itself in a moment if they stay away.")
        await client.sees("Paused", timeout_s=30)
        await expect(away).to_contain_text("Recording is paused meanwhile.")

        # what was discarded is still listed, with its receipts
        opened = clinician.page.locator(f".open-recording[data-session='{session}']")
        await opened.get_by_role("button", name="Discard").click()
        await clinician.page.get_by_role("dialog").get_by_role("button", name="Discard").click()
        await expect(opened).to_have_count(0)
        await expect(away).to_contain_text("Nothing is recorded meanwhile.")
        await clinician.page.locator(f"a.session-link[href='/notes/{session}']").click()
        await expect(clinician.page.get_by_text("This recording was discarded")).to_be_visible()
        await clinician.page.get_by_role("tab", name="Receipts").click()
        receipt = clinician.page.locator(".receipt[data-kind='audio'][data-verdict='valid']")
        await expect(receipt).to_contain_text(f"{CLIENT_NAME}: 0:")
        await expect(receipt).to_contain_text("Demo Clinician: 0:")
        assert clinician.complaints == client.complaints == []


async def test_a_session_in_which_nothing_was_said_says_so(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))
        for somebody in (clinician, client):
            await somebody.press("Mute")
        await clinician.press("Start recording")
        await client.press("I agree to recording")
        await clinician.sees("Recording")
        await expect(clinician.page.locator(".ledger")).to_contain_text(re.compile("0:0[1-9] captured"))
        await clinician.press("Finish and Generate Note")
        ended = clinician.page.locator(".after")
        await expect(ended).to_contain_text("Nothing was said, so there is no note.", timeout=30_000)
        await expect(ended.get_by_role("link")).to_have_text("Open the session")
        await clinician.page.goto(f"{served.url}/notes/{session_of(clinician)}")
        page = clinician.page
        nothing = page.locator(".card.nothing")
        await expect(nothing).to_contain_text("Nothing was said", timeout=30_000)
        await expect(nothing).to_contain_text("There is no note.")
        for words in ("The transcript is kept", "If it does not mend itself"):
            await expect(page.get_by_text(words)).to_have_count(0)
        await page.get_by_role("button", name="Type a summary").click()
        await page.get_by_label("What was the session about?").fill("We sat in silence.")
        await page.get_by_role("button", name="Keep the summary").click()
        await expect(nothing).to_contain_text("Your summary is kept with this session.")
        await page.get_by_role("tab", name="Receipts").click()
        await expect(page.locator(".receipt[data-kind='audio']")).to_contain_text(f"{CLIENT_NAME}: 0:")
        assert clinician.complaints == client.complaints == []
