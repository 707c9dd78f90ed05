"""A network that does not let the call through is said, with a way out, for each connection."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Locator, Playwright, expect

from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, discard, let_in, sign_in, start_call, two_people

CLOSED_NETWORK = """
(() => {
  const Real = RTCPeerConnection;
  window.network = "closed";
  window.RTCPeerConnection = class extends Real {
    constructor(wish) { super(network === "closed" ? { ...wish, iceTransportPolicy: "relay" } : wish); }
  };
})()
"""
"""Connections may use a relay only, and there is none: as on a network that lets no call out."""
SAID_MS = 40_000
LOOKS = """
async (looks) => {
  const { Reach } = await import("/ui/js/reach.js");
  const reach = new Reach();
  return looks.map(([at, links]) => {
    const changed = reach.look(new Map(Object.entries(links)), at);
    return [changed, Object.fromEntries(reach.missing)];
  });
}
"""


def notice(somebody: Person, title: str) -> Locator:
    return somebody.page.locator(".notice", has_text=title)


async def test_each_connection_that_does_not_come_up_is_said_until_it_does(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await client.page.add_init_script(CLOSED_NETWORK)
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))

        # to each other: the client's browser knows that it is its own network
        closed = notice(client, "This network does not let the call through")
        await expect(closed).to_contain_text("Demo Clinician cannot hear or see you", timeout=SAID_MS)
        await expect(closed).to_contain_text("Use another network")
        unreached = notice(clinician, f"The call does not get through to {CLIENT_NAME}")
        await expect(unreached.get_by_role("button", name="Try again")).to_be_visible(timeout=SAID_MS)

        # to the bot, by itself
        await clinician.press("Start recording")
        await client.press("I agree to recording")
        unheard = notice(client, "This network does not let your sound through to the transcription")
        await expect(unheard).to_contain_text("What you say is not written down.", timeout=SAID_MS)
        await expect(notice(client, "Your sound does not arrive")).to_have_count(0)
        await expect(notice(clinician, f"No sound arrives from {CLIENT_NAME}")).to_be_visible()

        # the way out leads out, and takes the words back on both sides
        await client.page.evaluate("window.network = 'open'")
        await unheard.get_by_role("button", name="Try again").click()
        await expect(notice(clinician, f"No sound arrives from {CLIENT_NAME}")).to_have_count(0, timeout=SAID_MS)
        await expect(unheard).to_have_count(0)
        await expect(closed).to_be_visible()
        await closed.get_by_role("button", name="Try again").click()
        for somebody in (clinician, client):
            await expect(somebody.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1, timeout=SAID_MS)
            await expect(somebody.page.locator(".notice")).to_have_count(0)
        await discard(clinician)
        assert clinician.complaints == client.complaints == []


async def test_how_long_a_connection_may_take_and_whether_it_stood(served: Served, playwright: Playwright) -> None:
    up, down, lost = ({"state": s, "addressless": False} for s in ("connected", "disconnected", "new"))
    async with person(playwright) as somebody:
        await somebody.page.goto(f"{served.url}/signin")
        never, stood = {"stood": False, "addressless": False}, {"stood": True, "addressless": False}
        looks: list[tuple[float, dict[str, object], bool, dict[str, object]]] = [
            (0, {"x": lost, "bot": up}, False, {}),
            (11_999, {"x": lost, "bot": up}, False, {}),
            (12_000, {"x": lost, "bot": down}, True, {"x": never}),
            (20_000, {"x": {**lost, "addressless": True}, "bot": down}, True, {"x": {**never, "addressless": True}}),
            (24_000, {"x": up, "bot": down}, True, {"bot": stood}),
            (24_500, {"x": up, "bot": up}, True, {}),
            # a short break is none, and who left is not missed
            (25_000, {"x": down, "bot": up}, False, {}),
            (30_000, {"x": up, "bot": down}, False, {}),
            (90_000, {"x": up}, False, {}),
        ]
        told = await somebody.page.evaluate(LOOKS, [[at, links] for at, links, *_ in looks])
        assert told == [[changed, missing] for _, _, changed, missing in looks]
