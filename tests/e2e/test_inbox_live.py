"""The Notes inbox on open pages: badge and list come by themselves, after a kill and a restart of the service too."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Page, Playwright, expect

from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served, service
from tests.e2e.steps import api, sign_in
from tests.e2e.test_account import a_free_port

LOOKS_AGAIN_MS = 15_000
"""Well below a look that a page takes now and then: what comes sooner came by the stream."""
ASK = """
async ([path, body]) => {
  const me = await (await fetch("/v1/auth/me")).json();
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": me.csrf };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify({ ...body }) });
  return [answer.status, await answer.json()];
}
"""


async def ask(page: Page, path: str, **body: Any) -> dict[str, Any]:
    status, answer = await page.evaluate(ASK, [path, body])
    assert status < 300, answer
    return dict(answer)


async def typed_note(page: Page, name: str) -> str:
    """Have a note made from a typed summary, without touching any open page; the session."""
    people = [{"role": "client", "display_name": name}]
    made = await ask(page, "/v1/sessions", clinic_id="demo", participants=people)
    session: str = made["session"]["id"]
    summary = {"kind": "clinician_summary", "text": f"{name} slept better and plans to call their sister."}
    await ask(page, f"/v1/sessions/{session}/inputs", **summary)
    await ask(page, f"/v1/sessions/{session}/note")
    return session


async def opened(somebody: Person, url: str, path: str) -> Page:
    page = await somebody.page.context.new_page()
    stream = page.expect_request(lambda request: request.url.endswith("/v1/inbox/events"))
    async with stream:
        await page.goto(url + path)
    return page


async def shows(pages: list[Page], unread: int) -> None:
    for page in pages:
        badge = page.locator("qn-header .badge [aria-hidden]")
        if unread:
            await expect(badge).to_have_text(str(unread), timeout=LOOKS_AGAIN_MS)
        else:
            await expect(badge).to_be_hidden(timeout=LOOKS_AGAIN_MS)


async def test_badge_and_list_follow_on_every_page(served: Served, playwright: Playwright) -> None:
    async with person(playwright) as clinician:
        await sign_in(clinician, served)
        _, inbox = await api(clinician, f"{served.url}/v1/inbox")
        before = inbox["unread"]
        acting = clinician.page
        await acting.goto(served.url + "/healthz")  # it acts, and shows nothing
        pages = [await opened(clinician, served.url, path) for path in ("/", "/notes")]
        await shows(pages, before)
        await typed_note(acting, "Alex Moor")
        await shows(pages, before + 1)
        row = pages[1].locator("a.inbox-item", has_text="Alex Moor")
        await expect(row).to_contain_text("Draft", timeout=LOOKS_AGAIN_MS)
        await expect(row).to_contain_text("New")
        await row.click()
        await shows(pages, before)  # read on one page, it is read on the other


@pytest.mark.soak
async def test_pages_take_their_stream_up_again_after_a_restart(playwright: Playwright, tmp_path: Path) -> None:
    port = a_free_port()
    async with person(playwright) as clinician:
        acting = clinician.page
        with service(tmp_path / "data", port) as killed:
            await sign_in(clinician, killed)
            await acting.goto(killed.url + "/healthz")
            pages = [await opened(clinician, killed.url, path) for path in ("/", "/notes")]
            await typed_note(acting, "Alex Moor")
            await shows(pages, 1)
            os.kill(killed.pid, signal.SIGKILL)
        with service(tmp_path / "data", port):
            await typed_note(acting, "Bea Lane")
            await shows(pages, 2)  # each comes back by itself, and with its badge
            await expect(pages[1].locator("a.inbox-item", has_text="Bea Lane")).to_contain_text("Draft")
