"""The start of a recording in two browsers: no bot before it, and who cannot be heard."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Page, Playwright, expect

from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import (
    BOT,
    CLIENT_NAME,
    admit,
    api,
    discard,
    let_in,
    recording,
    session_of,
    sign_in,
    start_call,
    two_people,
)

COUNT_CONNECTIONS = """
    const made = (window.connections = []);
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
      constructor(...given) {
        super(...given);
        made.push(this);
      }
    };
"""
STANDING = "connections.filter(({ connectionState }) => connectionState === 'connected').length"


async def connections(page: Page) -> int:
    """Peer connections of a page that stand."""
    found: int = await page.evaluate(STANDING)
    return found


async def until_connections(page: Page, wanted: int) -> None:
    await page.wait_for_function(f"wanted => {STANDING} === wanted", arg=wanted)


async def has_no_bot(clinician: Person, served: Served) -> None:
    """Neither page nor service knows of a bot, and nothing was captured."""
    await expect(clinician.page.locator(BOT)).to_have_count(0)
    _, session = await api(clinician, f"{served.url}/v1/sessions/{session_of(clinician)}")
    assert (session["bot"], session["capture"], session["audio"], session["lanes"]) == ("absent", "off", "absent", [])


@pytest.mark.parametrize("button", ["Start Call", "Start Call with Transcription"])
async def test_both_buttons_begin_without_a_bot_and_start_brings_it(
    served: Served, playwright: Playwright, microphones: dict[str, Path], button: str
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(COUNT_CONNECTIONS)
        await sign_in(clinician, served)
        link = await start_call(clinician, button)
        await has_no_bot(clinician, served)

        # the client waits: own picture and microphone, who will be listening; nothing has begun
        await client.page.goto(link)
        await expect(client.page.get_by_role("heading", name="Who will be listening")).to_be_visible()
        await expect(client.page.get_by_label("Your own picture")).to_be_visible()
        await expect(client.page.get_by_text("Your microphone works.")).to_be_visible()
        await expect(clinician.page.get_by_role("button", name=f"Admit {CLIENT_NAME}").first).to_be_visible()
        if button == "Start Call":
            await clinician.press("Start recording")
        await expect(clinician.page.get_by_text("Recording starts when your client is here")).to_be_visible()
        await has_no_bot(clinician, served)
        assert await connections(clinician.page) == 0
        assert await connections(client.page) == 0

        # admitted: what was asked for begins
        await admit(clinician)
        await clinician.sees("Waiting for consent")
        for somebody in (clinician, client):
            await expect(somebody.page.locator(BOT)).to_have_count(1)
            await until_connections(somebody.page, 2)
        await client.press("I agree to recording")
        await clinician.sees("Recording")
        await discard(clinician)
        for somebody in (clinician, client):
            await expect(somebody.page.locator(BOT)).to_have_count(0)
            await until_connections(somebody.page, 1)
        assert clinician.complaints == client.complaints == []


async def test_a_call_without_transcription_has_one_connection_and_no_bot(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(COUNT_CONNECTIONS)
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))
        for somebody in (clinician, client):
            await until_connections(somebody.page, 1)
            await somebody.sees("Not recording")
        await has_no_bot(clinician, served)


async def test_a_microphone_that_stops_sending_is_said_to_both_and_taken_back(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await client.page.add_init_script(COUNT_CONNECTIONS)
        await recording(clinician, client, served)
        row = clinician.page.locator("qn-people .person", has_text=CLIENT_NAME)
        await expect(row).to_have_attribute("data-absent", "false")

        # as a locked phone: the connection stands, and nothing is sent on it
        await client.page.evaluate(
            "() => Promise.all(connections.flatMap((pc) => pc.getSenders()).map((sender) => {"
            "  sender.kept = sender.track; return sender.replaceTrack(null); }))"
        )
        await expect(clinician.page.get_by_text(f"No sound arrives from {CLIENT_NAME}")).to_be_visible()
        await expect(client.page.get_by_text("Your sound does not arrive")).to_be_visible()
        await expect(row).to_contain_text("absent: no sound arrives")
        await clinician.sees("Recording")

        await client.page.evaluate(
            "() => Promise.all(connections.flatMap((pc) => pc.getSenders()).map((sender) =>"
            "  sender.replaceTrack(sender.kept)))"
        )
        await expect(clinician.page.get_by_text(f"No sound arrives from {CLIENT_NAME}")).to_have_count(0)
        await expect(client.page.get_by_text("Your sound does not arrive")).to_have_count(0)
        await expect(row).not_to_contain_text("absent")
        await expect(client.page.locator("[aria-live='polite']")).to_contain_text("can be heard again")
        await discard(clinician)


async def test_a_summary_only_session_has_no_start_to_press(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with person(playwright, microphone=microphones["clinician"]) as clinician:
        await sign_in(clinician, served)
        _, me = await api(clinician, f"{served.url}/v1/auth/me")
        people = [{"id": me["user"]["id"], "role": "clinician", "display_name": "Demo Clinician"}]
        made = await clinician.page.request.post(
            f"{served.url}/v1/sessions",
            data={"clinic_id": "demo", "mode": "summary_only", "participants": people},
            headers={"Authorization": "Bearer dev"},
        )
        await clinician.page.goto(f"{served.url}/call/{(await made.json())['session']['id']}")
        start = clinician.page.get_by_role("button", name="Start recording")
        await expect(start).to_have_attribute("aria-disabled", "true")
        await expect(start).to_have_accessible_description("Summary Only: this session is not recorded")
        await clinician.page.keyboard.press("r")
        await has_no_bot(clinician, served)
        assert clinician.complaints == []
