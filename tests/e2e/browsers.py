"""Chromium as a person in a call: a microphone that plays a file, and what the page says."""

from __future__ import annotations

import os
import re
import shutil
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import av
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Playwright, ViewportSize, expect

EXPECTED = re.compile(r"the server responded with a status of (401|410)")
"""Answers a page asks for on purpose: nobody is signed in yet, and the transcript is gone."""
WIDE = ViewportSize(width=1280, height=800)
NARROW = ViewportSize(width=320, height=640)
PHONE = ViewportSize(width=390, height=844)
KEPT = 3
"""Browsers that wait for their next person: those of both microphones, and one without."""


def chromium_path() -> str | None:
    """Debian's Chromium, or the one that ``QUIETNOTE_CHROMIUM`` names."""
    named = os.environ.get("QUIETNOTE_CHROMIUM")
    return named or next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)


def as_wav(source: Path, target: Path) -> Path:
    """``source`` as 48 kHz mono s16 in a WAV file, which is what Chromium plays as a microphone."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
    with av.open(str(source)) as container, wave.open(str(target), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        for frame in [*container.decode(audio=0), None]:
            for block in resampler.resample(frame):
                out.writeframes(block.to_ndarray().tobytes())
    return target


@dataclass(slots=True)
class Person:
    """Somebody at a browser."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """What the page's console said: errors, refused by the policy, uncaught."""

    @property
    def pill(self) -> str:
        """Selector of the status pill."""
        return "qn-header qn-status .pill"

    async def sees(self, words: str, *, timeout_s: float = 15) -> None:
        """Wait until the status pill says ``words``: visibly, to assistive technology, and in the tab's title."""
        pill = self.page.locator(self.pill)
        await expect(pill.locator(".pill-word")).to_have_text(words, timeout=timeout_s * 1000)
        await expect(pill).to_have_accessible_name(re.compile(rf"^Status: {re.escape(words)}\b"))
        await expect(self.page).to_have_title(re.compile(re.escape(words)))

    async def control_is(self, label: str, *, pressed: bool, tooltip: str | None) -> None:
        """The transcription control: its visible label is its accessible name."""
        button = self.page.locator("qn-transcription button")
        await expect(button).to_have_text(label)
        await expect(button).to_have_accessible_name(label)
        await expect(button).to_have_attribute("aria-pressed", "true" if pressed else "false")
        assert await button.get_attribute("title") == tooltip

    async def finals(self) -> dict[str, str]:
        """The final captions on the page, by segment id, each with its speaker's id in front."""
        rows = self.page.locator(".caption[data-final='true']")
        found: list[list[str]] = await rows.evaluate_all(
            "rows => rows.map(({dataset, lastElementChild}) =>"
            " [dataset.segment, dataset.participant, lastElementChild.textContent])"
        )
        return {segment: f"{speaker}: {words}" for segment, speaker, words in found}

    async def press(self, name: str) -> None:
        """Press the button of that accessible name."""
        await self.page.get_by_role("button", name=name, exact=True).click()


class Browsers:
    """Chromiums that outlive the person at them: to start one costs more than most tests.

    A browser has one person at a time, in a context of their own: nothing that a page keeps (cookies, storage, cache,
    workers) is left to the next. Both people of a call have processes of their own, as on two machines.
    """

    def __init__(self, playwright: Playwright) -> None:
        self._chromium = playwright.chromium
        self._idle: list[tuple[tuple[str, ...], Browser]] = []
        """The one that was used last is last."""

    @asynccontextmanager
    async def context(self, args: tuple[str, ...], viewport: ViewportSize) -> AsyncIterator[BrowserContext]:
        """A context in a browser with these arguments; a browser that saw a failure is not used again."""
        browser, context = await self._open(args, viewport)
        try:
            yield context
            await context.close()
        except BaseException:
            await browser.close()
            raise
        self._idle.append((args, browser))
        while len(self._idle) > KEPT:
            await self._idle.pop(0)[1].close()

    async def _open(self, args: tuple[str, ...], viewport: ViewportSize) -> tuple[Browser, BrowserContext]:
        for kept in [one for one in self._idle if one[0] == args]:
            self._idle.remove(kept)
            try:
                return kept[1], await kept[1].new_context(viewport=viewport)
            except Error:
                if kept[1].is_connected():
                    raise
        browser = await self._chromium.launch(executable_path=chromium_path(), args=args)
        return browser, await browser.new_context(viewport=viewport)


_browsers: WeakKeyDictionary[Playwright, Browsers] = WeakKeyDictionary()
"""They end with the Playwright that they were started by."""


@asynccontextmanager
async def person(
    playwright: Playwright,
    *,
    microphone: Path | None = None,
    viewport: ViewportSize | None = None,
    allow: bool = True,
    flags: Sequence[str] = (),
) -> AsyncIterator[Person]:
    """Somebody alone at a browser: the microphone is a setting of the whole browser."""
    args = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--use-fake-device-for-media-stream=fps=5",
        "--use-fake-ui-for-media-stream" + ("" if allow else "=deny"),
        *flags,
    ]
    if microphone is not None:
        args.append(f"--use-file-for-fake-audio-capture={microphone}")
    browsers = _browsers.setdefault(playwright, Browsers(playwright))
    async with browsers.context(tuple(args), viewport or WIDE) as context:
        somebody = Person(await context.new_page())

        def heard(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"} and not EXPECTED.search(message.text):
                somebody.complaints.append(message.text)

        def thrown(error: Error) -> None:
            somebody.complaints.append(str(error))

        somebody.page.on("console", heard)
        somebody.page.on("pageerror", thrown)
        yield somebody
