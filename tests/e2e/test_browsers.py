"""Browsers that are kept: nothing of one person is left to the next, and one that has died is started anew."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright

from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served

LEAVE = """
async () => {
  localStorage.setItem("left", "1");
  sessionStorage.setItem("left", "1");
  document.cookie = "left=1";
  await caches.open("left");
}
"""
LEFT = "async () => [localStorage.length, sessionStorage.length, document.cookie, await caches.keys()]"


async def process_of(somebody: Person) -> int:
    """The main process of their browser."""
    browser = somebody.page.context.browser
    assert browser is not None
    told = await (await browser.new_browser_cdp_session()).send("SystemInfo.getProcessInfo")
    return next(int(process["id"]) for process in told["processInfo"] if process["type"] == "browser")


async def test_the_next_person_finds_nothing_and_a_dead_browser_is_replaced(
    served: Served, playwright: Playwright
) -> None:
    async with person(playwright) as somebody, person(playwright) as another:
        await somebody.page.goto(f"{served.url}/signin")
        await somebody.page.evaluate(LEAVE)
        processes = {await process_of(somebody), await process_of(another)}
        assert len(processes) == 2, "two people at one browser"
    async with person(playwright) as somebody, person(playwright) as another:
        assert {await process_of(somebody), await process_of(another)} == processes, "they were kept"
        for one in (somebody, another):
            await one.page.goto(f"{served.url}/signin")
            assert await one.page.evaluate(LEFT) == [0, 0, "", []]
        async with another.page.context.expect_event("close"):
            os.kill(await process_of(another), signal.SIGKILL)
    async with person(playwright) as somebody, person(playwright) as another:
        now = {await process_of(somebody), await process_of(another)}
        assert len(now - processes) == 1, "the one that was killed"
        assert len(now) == 2
