"""What the call page sends to the bot: nothing before there is consent and in a long pause, and all of it after."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import Person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, WATCH_BOT_LINK, discard, ledger_of, let_in, sign_in, start_call, two_people

SECOND = 16_000
SENT = """
async () => {
  const streams = [...(await toTheBot.getStats()).values()].filter(({ type }) => type === "outbound-rtp");
  return streams.reduce((sum, stream) => sum + stream.packetsSent, 0);
}
"""
CONNECTED = "window.toTheBot?.connectionState === 'connected'"
SENDS = f"{CONNECTED} && toTheBot.getSenders()[0].getParameters().encodings[0].active"
HOLDS = SENDS.replace("&& ", "&& !")
WITHIN_S = 20


async def sent(somebody: Person) -> int:
    """Packets of sound that this page has sent to the bot."""
    return int(await somebody.page.evaluate(SENT))


async def until(somebody: Person, true: str) -> None:
    """Wait for something of the connection that no element shows."""
    async with asyncio.timeout(WITHIN_S):
        while not await somebody.page.evaluate(true):  # noqa: ASYNC110 -- statistics have no event
            await asyncio.sleep(0.1)


async def accounts_go_on(clinician: Person, times: int) -> None:
    """The account on the clinician's page changes once a second."""
    ledger = clinician.page.locator(".ledger")
    for _ in range(times):
        await expect(ledger).not_to_have_text(await ledger.text_content() or "", timeout=15_000)


async def more_is_captured(clinician: Person, served: Served, role: str) -> None:
    before = (await ledger_of(clinician, served, role))["captured"]
    while (await ledger_of(clinician, served, role))["captured"] < before + SECOND:
        await accounts_go_on(clinician, 1)


async def test_the_page_sends_only_what_the_bot_takes(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(WATCH_BOT_LINK)
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))
        await clinician.press("Start recording")
        for somebody in (clinician, client):
            await until(somebody, HOLDS)
            assert await sent(somebody) == 0, "nobody has agreed yet"
        await client.press("I agree to recording")
        await client.sees("Recording")
        for somebody in (clinician, client):
            await until(somebody, SENDS)
        await more_is_captured(clinician, served, "client")

        await clinician.press("Pause recording")
        await client.sees("Paused")
        for somebody in (clinician, client):
            await until(somebody, HOLDS)
        before = await sent(clinician), await sent(client)
        await accounts_go_on(clinician, 2)
        assert (await sent(clinician), await sent(client)) == before, "not one packet"
        await expect(client.page.get_by_text("Your sound does not arrive")).to_have_count(0)

        await clinician.press("Resume recording")
        for somebody, count in zip((clinician, client), before, strict=True):
            await somebody.sees("Recording")
            await until(somebody, f"async () => await ({SENT})() > {count}")
        await more_is_captured(clinician, served, "client")
        assert (await ledger_of(clinician, served, "client"))["lost"] == 0
        await muted_is_shown_as_muted(clinician, client)
        await discard(clinician)
        assert clinician.complaints == client.complaints == []


async def muted_is_shown_as_muted(clinician: Person, client: Person) -> None:
    await client.press("Mute")
    for somebody in (clinician, client):
        row = somebody.page.locator("qn-people .person", has_text=CLIENT_NAME)
        # a phone shows the list only when it is asked for
        await expect(row.locator(".person-muted")).not_to_have_attribute("hidden", "")
        await expect(row.locator(".person-muted")).to_have_text("Muted")
        await expect(row.locator("qn-meter")).to_have_attribute("hidden", "")
        await expect(row).not_to_contain_text(re.compile("silent|absent"))
    await expect(clinician.page.locator("qn-people .person-muted:visible")).to_have_count(1)
    await client.press("Unmute")
    await expect(clinician.page.locator("qn-people .person-muted:visible")).to_have_count(0)
