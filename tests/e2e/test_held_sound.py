"""What was said before a page was held is not sent when it goes on: nothing of it stays in the browser's encoder."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Page, Playwright, Route

import bot.control
from tests.e2e.browsers import person
from tests.integration.demo_room import DemoRoom, demo_room

SCRIPTS = Path(bot.control.__file__).parent / "ui" / "js"
ANYWHERE = "http://localhost:9"
SECOND = 16_000
WHO, LANE = "p", "lane-p"
LOUD, QUIET = 3_000, 60
PAGE = """
<!doctype html><title>A microphone</title><script type="module">
  import { BotLink } from "/js/botlink.js";
  const allowed = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  await context.resume();
  const [tone, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
  tone.connect(gain).connect(out);
  tone.start();
  window.loud = (on) => (gain.gain.value = Number(on));
  window.link = new BotLink((data) => window.toTheBot(data));
  link.begin([]);
  link.setPresent(true);
  link.setTrack(out.stream.getAudioTracks()[0]);
</script>
"""


async def served(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ANYWHERE}/")
    if name.startswith("js/"):
        await route.fulfill(path=SCRIPTS / name.removeprefix("js/"), content_type="text/javascript")
    else:
        await route.fulfill(body=PAGE, content_type="text/html")


class Microphone:
    """A page with the real connection to the bot, and a tone for a voice."""

    def __init__(self, stage: DemoRoom, page: Page) -> None:
        self._stage = stage
        self._page = page
        self._revs = count(1)

    async def open(self) -> None:
        await self._page.route(f"{ANYWHERE}/**", served)
        await self._page.expose_function("toTheBot", self._signal)
        await self._page.goto(f"{ANYWHERE}/")

    async def _signal(self, data: dict[str, Any]) -> None:
        if data["type"] == "offer":
            answer = await self._stage.room.offer(WHO, data["sdp"])
            await self._page.evaluate("answer => link.take(answer)", {"type": "answer", "sdp": answer})
        else:
            await self._stage.room.candidate(WHO, data["candidate"])

    async def loud(self, on: bool) -> None:
        await self._page.evaluate("on => loud(on)", on)

    async def taken(self, on: bool) -> int:
        """The bot takes its sound from now on, or does not, and says so; when that was."""
        self._stage.room.receive(WHO, on)
        await self._page.evaluate("message => link.receive(message)", {"on": on, "rev": next(self._revs)})
        return self._stage.call_clock.now_sample()

    async def arrives(self, seconds: float) -> int:
        """Wait for so much more sound; from where on it was waited for."""
        start = self._stage.call_clock.now_sample()
        await self._stage.heard_through(LANE, start + round(seconds * SECOND))
        return start


def peak(stage: DemoRoom, start: int, end: int) -> int:
    return int(np.abs(stage.sound(LANE, start, end).astype(np.int32)).max(initial=0))


async def test_no_sound_of_before_is_sent_when_the_lane_is_taken_up_again(playwright: Playwright) -> None:
    async with demo_room() as stage, person(playwright) as somebody:
        microphone = Microphone(stage, somebody.page)
        await microphone.open()
        await microphone.arrives(0.1)
        for turn in range(4):
            await microphone.loud(True)
            spoken = await microphone.arrives(0.4)
            assert peak(stage, spoken, spoken + SECOND // 3) > LOUD
            await asyncio.sleep(0.017 * turn)  # another place in the packet each time
            await microphone.taken(False)
            await microphone.loud(False)
            await asyncio.sleep(0.3)  # silence by now, and nothing on its way
            back = await microphone.taken(True)
            await microphone.arrives(0.4)
            assert peak(stage, back, back + SECOND // 3) < QUIET
        assert somebody.complaints == []
