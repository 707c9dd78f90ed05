"""A call between two makes of browser: Firefox on either side, Chromium on the other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import person
from tests.e2e.conftest import Served
from tests.e2e.firefox import FirefoxPage, firefox, firefox_path
from tests.e2e.steps import BOT, CLIENT_NAME, WATCH_BOT_LINK, admit, ledger_of, sign_in, start_call

FINALS = "[...document.querySelectorAll('.caption[data-final=\"true\"]')].map((one) => one.textContent)"
SENT_SECONDS = 3
SENT = f"""
(async () => {{
  const sent = async () => {{
    for (const one of (await toTheBot.getStats()).values())
      if (one.type === "outbound-rtp") return [one.packetsSent, one.timestamp];
  }};
  const [before, since] = await sent();
  await new Promise((done) => setTimeout(done, {SENT_SECONDS * 1000}));
  const [after, until] = await sent();
  return [toTheBot.remoteDescription.sdp, ((after - before) * {SENT_SECONDS * 1000}) / (until - since)];
}})()
"""
"""What the bot asked for, and how many packets were sent in that time."""
PICTURE = "document.querySelector('.tiles .tile[data-picture=\"yes\"]')"


@pytest_asyncio.fixture(loop_scope="session")
async def fox(tmp_path: Path) -> AsyncIterator[FirefoxPage]:
    """A Firefox, or a skip: it is no part that a build must have."""
    if firefox_path() is None:
        pytest.skip("Firefox is missing (Debian's package `firefox-esr`, or the one that QUIETNOTE_FIREFOX names)")
    async with firefox(tmp_path / "firefox") as page:
        yield page


async def test_a_client_who_uses_firefox(
    served: Served, playwright: Playwright, microphones: dict[str, Path], fox: FirefoxPage
) -> None:
    async with person(playwright, microphone=microphones["clinician"]) as clinician:
        await fox.add_init_script(WATCH_BOT_LINK)
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call")
        await fox.goto(link)
        await fox.shows("heading", "Who will be listening")
        assert "#" not in await fox.evaluate("location.href"), "the code stays in the address"
        await admit(clinician)

        # they see each other
        await fox.until(PICTURE)
        await expect(clinician.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1, timeout=15_000)
        await fox.sees("Not recording")

        # asked, agreed, captured
        await clinician.press("Start recording")
        await fox.sees("Waiting for consent")
        await fox.shows("dialog")
        await fox.press("I agree to recording")
        for somebody in (clinician, fox):
            await somebody.sees("Recording")
        assert await fox.evaluate(f"document.querySelector({BOT!r}).textContent.includes('Listening')")
        asked, packets = await fox.evaluate(SENT)
        assert "a=ptime:60" in asked
        assert packets == pytest.approx(1000 / 60 * SENT_SECONDS, rel=0.1)
        ledger = clinician.page.locator(".ledger")
        await expect(ledger).to_contain_text(re.compile(r"0:0[3-9] captured"), timeout=15_000)
        meter = clinician.page.get_by_label(f"Loudness of {CLIENT_NAME}")
        await expect(meter).not_to_have_attribute("aria-valuenow", "0")

        # paused for both; on again
        await clinician.press("Pause recording")
        for somebody in (clinician, fox):
            await somebody.sees("Paused")
        await expect(ledger).to_contain_text(re.compile(r"0:0[2-9] paused"), timeout=10_000)
        await clinician.press("Resume recording")
        for somebody in (clinician, fox):
            await somebody.sees("Recording")

        # taken back with one tap
        await fox.press("Withdraw consent")
        await fox.shows("dialog")
        await clinician.sees("Paused")
        account = await ledger_of(clinician, served, "client")

        assert account["captured"] > 3 * 16_000
        assert account["paused"] > 16_000
        assert account["lost"] == 0
        assert clinician.complaints == fox.complaints == []


@pytest.mark.soak
async def test_a_clinician_who_uses_firefox(
    served: Served, playwright: Playwright, microphones: dict[str, Path], fox: FirefoxPage
) -> None:
    async with person(playwright, microphone=microphones["client"]) as client:
        await fox.goto(f"{served.url}/")
        await fox.press("Continue as the demo clinician")
        await fox.shows("heading", "New call")
        await fox.fill("Client", CLIENT_NAME)
        await fox.press("Start Call does not record")
        link = await fox.until(f"document.querySelector('input[aria-label=\"Link for {CLIENT_NAME}\"]')?.value")
        await client.page.goto(link)
        await fox.press(f"Admit {CLIENT_NAME}")
        await expect(client.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1, timeout=15_000)
        await fox.press("Start recording")
        await client.press("I agree to recording")
        for somebody in (fox, client):
            await somebody.sees("Recording")

        # what the client says is captioned; their own tone is not
        said = await fox.until(f"{FINALS}.length && {FINALS}", timeout_s=60)
        assert all(line.startswith(CLIENT_NAME) for line in said)
        await fox.press("Pause recording")
        for somebody in (fox, client):
            await somebody.sees("Paused")
        await fox.press("Finish and Generate Note")
        await fox.sees("Draft ready", timeout_s=90)

        # the note, and the receipt that this browser checks by itself
        session = await fox.evaluate("location.pathname.split('/')[2]")
        await fox.goto(f"{served.url}/notes/{session}")
        await fox.until("document.querySelector('.sentence')")
        await fox.press("Receipts")
        await fox.until("document.querySelector('.receipt[data-verdict=valid]')")
        assert client.complaints == fox.complaints == []
