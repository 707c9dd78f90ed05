"""What the call's page says of what was captured and what is missing: it adds up, and nothing is left out."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.axe import accessible
from tests.e2e.browsers import person
from tests.e2e.conftest import Served, service
from tests.e2e.steps import CLIENT_NAME, discard, recording, sign_in, two_people

SENTENCE = """
async told => {
  const { ledgerSentence } = await import("/ui/js/ledger.js");
  const names = { e: "Dr. Ellis", j: "Jordan" };
  return told.map((one) => ledgerSentence({ ...one, nameOf: (id) => names[id] }));
}
"""
NAMED = """
async participants => {
  const { clientOf } = await import("/ui/components/inbox-list.js");
  return clientOf({ participants });
}
"""
EMPTY_SUMMARY = """
async () => {
  const { askText } = await import("/ui/components/dialogs.js");
  askText({ title: "Type a summary", words: "Yours.", label: "What was it about?", yes: "Keep the summary" });
}
"""


def lane(**parts: int) -> dict[str, int]:
    return {f"{part}_ms": length for part, length in parts.items()}


def outage(start_ms: int, end_ms: int) -> dict[str, object]:
    return {"reason": "interrupted", "participant_id": None, "start_ms": start_ms, "end_ms": end_ms}


async def test_the_account_adds_up_and_says_what_differs(served: Served, playwright: Playwright) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"lanes": {"e": lane(captured=149_000, paused=113_000), "j": lane(captured=148_500, paused=113_500)}},
            "2:29 captured, 1:53 paused, nothing lost",
        ),
        (
            {
                "lanes": {
                    "e": lane(captured=149_000, paused=113_000, withheld=15_000),
                    "j": lane(captured=38_000, withheld=239_000),
                }
            },
            "Dr. Ellis: 2:29 captured, 1:53 paused, 0:15 waiting for consent, nothing lost\n"
            "Jordan: 0:38 captured, 3:59 waiting for consent, nothing lost",
        ),
        (
            {"lanes": {"e": lane(captured=60_000, lost=40), "j": lane(captured=60_000)}},
            "Dr. Ellis: 1:00 captured, less than a second lost on the way\nJordan: 1:00 captured, nothing lost",
        ),
        (
            {
                "lanes": {
                    "e": lane(captured=60_000, absent=31_500),
                    "j": lane(captured=58_000, absent=41_000, lost=2_000),
                },
                "gaps": [outage(60_000, 91_000)],
                "lagMs": 6_000,
            },
            "Dr. Ellis: 1:00 captured, 0:31 interrupted, nothing else lost\n"
            "Jordan: 0:58 captured, 0:31 interrupted, 0:10 without sound, 0:02 lost on the way\n"
            "Words 6 s behind, none of them lost.",
        ),
    ]
    async with person(playwright) as somebody:
        await somebody.page.goto(f"{served.url}/signin")
        await expect(somebody.page.get_by_role("button", name="Continue as the demo clinician")).to_be_visible()
        await accessible(somebody)
        assert await somebody.page.evaluate(SENTENCE, [told for told, _ in cases]) == [said for _, said in cases]
        people = [("guardian", "Sam"), ("clinician", "Dr. Ellis"), ("client", "Jordan")]
        invited = [{"role": role, "display_name": name} for role, name in people]
        assert await somebody.page.evaluate(NAMED, invited) == "Jordan, Sam"

        # the summary is written where one types, and an empty one says what is missing
        await somebody.page.evaluate(EMPTY_SUMMARY)
        box = somebody.page.get_by_label("What was it about?")
        await expect(box).to_be_focused()
        await somebody.press("Keep the summary")
        await expect(somebody.page.get_by_role("alert")).to_have_text("Nothing is written here yet.")
        await expect(box).to_be_focused()
        await box.fill("We sat in silence.")
        await expect(somebody.page.get_by_role("alert")).to_have_count(0)
        await somebody.press("Keep the summary")
        await expect(somebody.page.get_by_role("dialog")).to_have_count(0)
        assert somebody.complaints == []


async def test_enter_in_the_name_starts_what_does_not_record(served: Served, playwright: Playwright) -> None:
    async with person(playwright) as clinician:
        await sign_in(clinician, served)
        await accessible(clinician)
        name = clinician.page.get_by_role("textbox", name="Client")
        await name.press("Enter")
        await expect(clinician.page.get_by_role("alert")).to_contain_text("Write your client's name first")
        await name.fill(CLIENT_NAME)
        await name.press("Enter")
        await expect(clinician.page.get_by_label(f"Link for {CLIENT_NAME}")).to_be_visible()
        await expect(clinician.page.get_by_text("Recording starts when your client is here")).to_have_count(0)
        await clinician.sees("Not recording")


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.soak
async def test_a_service_that_was_killed_leaves_no_hole_unsaid(
    playwright: Playwright, microphones: dict[str, Path], tmp_path: Path
) -> None:
    port = a_free_port()
    async with two_people(playwright, microphones) as (clinician, client):
        with service(tmp_path / "data", port) as killed:
            await recording(clinician, client, killed)
            ledger, final = clinician.page.locator(".ledger"), clinician.page.locator(".caption[data-final='true']")
            await expect(final.first).to_be_attached(timeout=60_000)
            os.kill(killed.pid, signal.SIGKILL)
            for somebody in (clinician, client):
                await somebody.sees("Connection lost", timeout_s=30)
        with service(tmp_path / "data", port):
            for somebody in (clinician, client):
                await somebody.sees("Recording", timeout_s=60)
            mark = clinician.page.locator(".caption-mark", has_text="Interrupted: the service was away")
            await expect(mark).to_have_count(1)
            await expect(ledger).to_contain_text(re.compile("0:[0-5][0-9] interrupted"))
            await expect(ledger).not_to_contain_text("nothing lost")
            await discard(clinician)
