"""What people do in every call: sign in, make a session, come in, agree."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Playwright, expect

from tests.e2e.browsers import PHONE, Person, person
from tests.e2e.conftest import Served

BOT = "qn-people [data-participant='bot']"
CLIENT_NAME = "Jordan Reyes"
WATCH_BOT_LINK = """
(() => {
  const Real = RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    createDataChannel(...args) { window.toTheBot = this; return super.createDataChannel(...args); }
  };
})()
"""
"""Remembers the page's connection to the bot: the only one with a data channel."""

WEAK = """
(() => {
  const Real = WebSocket;
  window.WebSocket = class extends Real {
    constructor(url, ...rest) {
      super(sessionStorage.lost ? new URL("/v1/nowhere", url) : url, ...rest);
      window.socket = this;
    }
  };
  window.lose = () => { sessionStorage.lost = "yes"; socket.close(); };
  window.find = () => { delete sessionStorage.lost; };
})()
"""
"""A network that breaks off: the page's WebSocket is gone, and none comes up until it is found again."""


async def sign_in(clinician: Person, served: Served) -> None:
    await clinician.page.goto(f"{served.url}/")
    await clinician.press("Continue as the demo clinician")
    await expect(clinician.page.get_by_role("heading", name="New call")).to_be_visible()


async def start_call(clinician: Person, button: str) -> str:
    """Make a session from the start page; the client's link."""
    await clinician.page.get_by_role("textbox", name="Client").fill(CLIENT_NAME)
    await clinician.page.get_by_role("button", name=re.compile(f"^{button} (does not|asks)")).click()
    return await clinician.page.get_by_label(f"Link for {CLIENT_NAME}").input_value()


async def let_in(clinician: Person, client: Person, link: str) -> None:
    """The client waits, sees who will be listening, and is admitted."""
    await client.page.goto(link)
    await expect(client.page.get_by_role("heading", name="Who will be listening")).to_be_visible()
    await expect(client.page.get_by_text("Demo Clinician is here and will let you in.")).to_be_visible()
    assert "#" not in client.page.url, "the code stays in the address"
    await admit(clinician)
    await expect(client.page.get_by_role("group", name="Call controls")).to_be_visible()


async def admit(clinician: Person) -> None:
    await clinician.page.get_by_role("button", name=f"Admit {CLIENT_NAME}").first.click()


async def recording(clinician: Person, client: Person, served: Served) -> str:
    """Both are in a call that is recorded; its session."""
    await sign_in(clinician, served)
    link = await start_call(clinician, "Start Call")
    await let_in(clinician, client, link)
    await agreed(clinician, client)
    return session_of(clinician)


async def agreed(clinician: Person, client: Person) -> None:
    """Recording is started and agreed to, and both see it."""
    await clinician.press("Start recording")
    await client.press("I agree to recording")
    for somebody in (clinician, client):
        await somebody.sees("Recording")


async def discard(clinician: Person) -> None:
    """End the recording so that nothing of it is left for other tests to find."""
    await clinician.press("Discard")
    await clinician.page.get_by_role("dialog").get_by_role("button", name="Discard", exact=True).click()
    await expect(clinician.page.get_by_text("Nothing of this recording is kept.")).to_be_visible()


@asynccontextmanager
async def two_people(playwright: Playwright, microphones: Mapping[str, Path]) -> AsyncIterator[tuple[Person, Person]]:
    """A clinician at a desk and a client with a phone, each with a microphone."""
    async with (
        person(playwright, microphone=microphones["clinician"]) as clinician,
        person(playwright, microphone=microphones["client"], viewport=PHONE) as client,
    ):
        yield clinician, client


async def api(clinician: Person, path: str) -> tuple[int, Any]:
    """What the API tells the signed-in clinician."""
    answer = await clinician.page.request.get(path)
    return answer.status, json.loads(await answer.text())


async def ledger_of(clinician: Person, served: Served, role: str) -> dict[str, int]:
    """One lane's account, as the API states it."""
    _, session = await api(clinician, f"{served.url}/v1/sessions/{session_of(clinician)}")
    lane = next(lane for lane in session["lanes"] if lane["role"] == role)
    ledger: dict[str, int] = lane["ledger"]
    return ledger


def session_of(clinician: Person) -> str:
    return clinician.page.url.rsplit("/", 1)[1]
