"""Somebody is taken out of a call by their own device: it freezes, or the system takes the microphone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import Person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, api, recording, two_people

SECOND = 16_000
MICROPHONE = """
(() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    const stream = await ask(wish);
    window.microphone = stream.getAudioTracks()[0] ?? window.microphone;
    return stream;
  };
  window.take = (taken) => {
    Object.defineProperty(microphone, "muted", { configurable: true, value: taken });
    microphone.dispatchEvent(new Event(taken ? "mute" : "unmute"));
  };
})()
"""
"""What a page sees of a system that takes the microphone for a phone call, and gives it back."""


@asynccontextmanager
async def frozen(somebody: Person) -> AsyncIterator[None]:
    """Every process of their browser stands still, as on a phone that is locked."""
    browser = somebody.page.context.browser
    assert browser is not None
    told = await (await browser.new_browser_cdp_session()).send("SystemInfo.getProcessInfo")
    processes = [int(process["id"]) for process in told["processInfo"]]
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def told_of_absence(somebody: Person, words: str, *, told: bool) -> None:
    await expect(somebody.page.get_by_text(words)).to_have_count(1 if told else 0, timeout=15_000)


async def lanes_of(clinician: Person, served: Served, session: str) -> dict[str, tuple[str, dict[str, int]]]:
    """Each role's lane and its account."""
    _, told = await api(clinician, f"{served.url}/v1/sessions/{session}")
    return {lane["role"]: (lane["id"], lane["ledger"]) for lane in told["lanes"]}


async def until_captured(clinician: Person, served: Served, session: str, role: str, samples: int) -> dict[str, int]:
    """Wait for the account to grow: the page shows it once a second."""
    ledger = clinician.page.locator(".ledger")
    while True:
        account = (await lanes_of(clinician, served, session))[role][1]
        if account["captured"] >= samples:
            return account
        await expect(ledger).not_to_have_text(await ledger.text_content() or "", timeout=15_000)


async def test_a_phone_that_is_locked_is_absent_until_it_is_unlocked(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        session = await recording(clinician, client, served)
        row = clinician.page.locator("qn-people .person", has_text=CLIENT_NAME)
        ledger = clinician.page.locator(".ledger")
        await until_captured(clinician, served, session, "client", 2 * SECOND)
        before = await lanes_of(clinician, served, session)
        async with frozen(client):
            await told_of_absence(clinician, f"No sound arrives from {CLIENT_NAME}", told=True)
            await expect(row).to_contain_text("absent: no sound arrives")
            await clinician.sees("Recording")
            # the clinician is captured all the while
            heard = before["clinician"][1]["captured"]
            await until_captured(clinician, served, session, "clinician", heard + 5 * SECOND)
            away = await lanes_of(clinician, served, session)
        await told_of_absence(clinician, f"No sound arrives from {CLIENT_NAME}", told=False)
        await told_of_absence(client, "Your sound does not arrive", told=False)
        await expect(row).not_to_contain_text("absent")
        account = await until_captured(
            clinician, served, session, "client", before["client"][1]["captured"] + 3 * SECOND
        )
        after = await lanes_of(clinician, served, session)
        assert {role: lane for role, (lane, _) in after.items()} == {role: lane for role, (lane, _) in before.items()}
        assert away["client"][1]["absent"] > before["client"][1]["absent"] + 2 * SECOND
        assert account["lost"] == 0
        await expect(ledger).to_contain_text("nothing lost")
        await expect(client.page).to_have_title(re.compile("Recording"))
        assert clinician.complaints == client.complaints == []


@pytest.mark.soak
async def test_a_microphone_that_the_system_takes_is_absent_and_said_to_both(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await client.page.add_init_script(MICROPHONE)
        session = await recording(clinician, client, served)
        before = await lanes_of(clinician, served, session)
        await client.page.evaluate("take(true)")
        await told_of_absence(clinician, f"No sound arrives from {CLIENT_NAME}", told=True)
        await told_of_absence(client, "Your sound does not arrive", told=True)
        await client.page.evaluate("take(false)")
        await told_of_absence(clinician, f"No sound arrives from {CLIENT_NAME}", told=False)
        await told_of_absence(client, "Your sound does not arrive", told=False)
        account = await until_captured(clinician, served, session, "client", 3 * SECOND)
        after = await lanes_of(clinician, served, session)
        assert after["client"][0] == before["client"][0]
        assert account["absent"] > before["client"][1]["absent"] + SECOND
        assert account["lost"] == 0
        assert clinician.complaints == client.complaints == []
