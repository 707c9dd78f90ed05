"""A page without its connection claims nothing, and what is pressed there meanwhile is told as soon as it is back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.axe import accessible
from tests.e2e.browsers import Person
from tests.e2e.conftest import Served
from tests.e2e.steps import BOT, CLIENT_NAME, WATCH_BOT_LINK, WEAK, api, discard, recording, two_people

REFUSED = re.compile("WebSocket connection to .*nowhere")
SENDS_NOTHING = """
async () => {
  while (toTheBot.getSenders().some((one) => one.track && one.getParameters().encodings[0].active))
    await new Promise(requestAnimationFrame);
}
"""
AT_ONCE_MS = 6_000
"""The start page looks every two seconds while a recording is open, and every ten otherwise."""
CLAIMS = re.compile("listening|is not changed|recording (runs|goes) on", re.IGNORECASE)
SPOKEN = "[...document.querySelectorAll('[data-live]')].map((one) => one.textContent).join(' ')"


async def loses_it(somebody: Person) -> None:
    """The page says that it lost its connection, and nothing of the recording."""
    await somebody.page.evaluate("lose()")
    await somebody.sees("Connection lost")
    await expect(somebody.page.locator(BOT)).to_contain_text("cannot be seen from here")
    assert not CLAIMS.search(await somebody.page.locator("main").inner_text())


async def consent_of_client(clinician: Person, served: Served, session: str) -> str:
    _, told = await api(clinician, f"{served.url}/v1/sessions/{session}")
    [consent] = [person["consent"] for person in told["participants"] if person["role"] == "client"]
    return str(consent)


async def withdraws_without_a_connection(clinician: Person, client: Person, served: Served, session: str) -> None:
    await loses_it(client)
    await client.press("Withdraw consent")
    told = client.page.get_by_text("Withdrawn on this device: nothing more is sent to Quietnote.")
    await expect(told).to_be_visible()
    await client.page.evaluate(SENDS_NOTHING)
    assert await consent_of_client(clinician, served, session) == "granted", "it cannot be known there yet"
    # not even a reload forgets it
    await client.page.reload()
    await client.sees("Connection lost")
    await expect(told).to_be_visible()
    await client.page.evaluate("find()")
    for somebody in (clinician, client):
        await somebody.sees("Paused", timeout_s=30)
    await expect(told).to_have_count(0)
    await expect(clinician.page.get_by_text(f"{CLIENT_NAME} withdrew consent")).to_be_visible()
    await expect(client.page.get_by_text("You withdrew consent.")).to_be_visible()
    assert await consent_of_client(clinician, served, session) == "revoked"


async def pauses_without_a_connection(clinician: Person, served: Served, session: str) -> None:
    start, opened = await clinician.page.context.new_page(), f".open-recording[data-session='{session}'] .pill-word"
    await start.goto(f"{served.url}/")
    await expect(start.locator(opened)).to_have_text("Recording")
    await loses_it(clinician)
    control = clinician.page.locator("qn-transcription button")
    await expect(control).to_have_text("Pause recording")
    await expect(control).to_be_enabled()
    await clinician.page.keyboard.press("r")
    held = clinician.page.locator("[data-notice='held-pause']")
    await expect(held).to_contain_text("Pause will be told as soon as the connection is back")
    await accessible(clinician)
    await clinician.page.evaluate(SENDS_NOTHING)
    # what was pressed can be taken back, and pressed again
    await held.get_by_role("button", name="Do not pause").click()
    await expect(held).to_have_count(0)
    await control.click()
    await expect(held).to_be_visible()
    await clinician.page.evaluate("find()")
    await clinician.sees("Paused", timeout_s=30)
    await expect(held).to_have_count(0)
    _, told = await api(clinician, f"{served.url}/v1/sessions/{session}")
    assert (told["capture"], told["pause_reasons"]) == ("paused", ["clinician"])
    await expect(start.locator(opened)).to_have_text("Paused", timeout=AT_ONCE_MS)
    await start.close()


async def comes_back_to_its_captions(clinician: Person) -> None:
    """A page that is loaded again shows what was said so far, and says that nothing is added while paused."""
    said = await clinician.finals()
    assert said
    await clinician.page.reload()
    await clinician.sees("Paused")
    for segment in said:
        await expect(clinician.page.locator(f".caption[data-final='true'][data-segment='{segment}']")).to_be_attached()
    assert said.items() <= (await clinician.finals()).items()
    await expect(clinician.page.locator("qn-captions .empty p")).to_contain_text("Paused.")
    read_out = await clinician.page.evaluate(SPOKEN)
    assert not any(words.split(": ", 1)[1] in read_out for words in said.values())


async def test_what_is_pressed_without_a_connection_is_told_when_it_is_back(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(WATCH_BOT_LINK)
            await somebody.page.add_init_script(WEAK)
        session = await recording(clinician, client, served)
        await expect(client.page.get_by_role("group", name="Your consent")).to_be_focused()
        await expect(clinician.page.locator(".caption[data-final='true']").first).to_be_attached(timeout=60_000)
        for somebody in (clinician, client):
            await accessible(somebody)
        await withdraws_without_a_connection(clinician, client, served, session)

        await client.press("I agree to recording")
        question = client.page.get_by_role("dialog")
        await expect(question).to_be_visible()
        await accessible(client, behind_a_dialog=True)
        await question.get_by_role("button", name="I agree to recording").click()
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await pauses_without_a_connection(clinician, served, session)
        await expect(clinician.page.locator(".caption[data-final='false']")).to_have_count(0, timeout=15_000)
        await comes_back_to_its_captions(clinician)

        # nothing that was said stays on a page after Discard, nor in what was read out
        await discard(clinician)
        await expect(clinician.page.locator(".after")).to_be_focused()
        for somebody in (clinician, client):
            await expect(somebody.page.locator(".caption, .caption-mark")).to_have_count(0)
            await expect(somebody.page.locator("[data-live='polite']")).to_have_text("")
            assert [words for words in somebody.complaints if not REFUSED.search(words)] == []
