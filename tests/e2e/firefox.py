"""Debian's Firefox as a person in a call, driven by WebDriver BiDi, the browser's own protocol.

Playwright drives only a Firefox of its own making. What a test needs is little: open a page, find by role and name,
press, read. The microphone is Firefox's own fake one: a tone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOOK_EVERY_MS = 50
LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
EXPECTED = re.compile(r"NS_BINDING_ABORTED|status of (401|410)")

PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.loopback": True,
    "ui.prefersReducedMotion": 1,
    # a browser that asks nobody for anything
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,none",
    "toolkit.telemetry.enabled": False,
}

FIND = """
(role, name) => {
  const said = (node) => (node.getAttribute("aria-label") ?? node.innerText).trim().replace(/\\s+/g, " ");
  const kinds = { button: "button, [role=button]", heading: "h1, h2, h3", dialog: "dialog[open], [role=dialog]" };
  return [...document.querySelectorAll(kinds[role])].find(
    (node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled && (!name || said(node) === name),
  );
}
"""


class Refused(Exception):
    """The browser answered a command with an error."""


def firefox_path() -> str | None:
    """Debian's Firefox, or the one that ``QUIETNOTE_FIREFOX`` names."""
    named = os.environ.get("QUIETNOTE_FIREFOX")
    return named or next((path for name in ("firefox-esr", "firefox") if (path := shutil.which(name))), None)


@dataclass(slots=True)
class _Wire:
    """The connection to the browser."""

    socket: ClientConnection
    complaints: list[str]
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    async def listen(self) -> None:
        async for raw in self.socket:
            message = json.loads(raw)
            waiting = self._waiting.pop(message["id"], None) if message.get("id") else None
            if waiting is not None and not waiting.done():
                if message["type"] == "error":
                    waiting.set_exception(Refused(f"{message['error']}: {message['message']}"))
                else:
                    waiting.set_result(message["result"])
            elif message.get("method") == "log.entryAdded":
                entry = message["params"]
                text = str(entry.get("text"))
                if entry["level"] in {"error", "warn"} and not EXPECTED.search(text):
                    self.complaints.append(text)

    async def ask(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)


@dataclass(slots=True)
class FirefoxPage:
    """The one page of a Firefox."""

    wire: _Wire
    context: str

    @property
    def complaints(self) -> list[str]:
        """What the page's console said."""
        return self.wire.complaints

    async def goto(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        await self.wire.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def add_init_script(self, script: str) -> None:
        """Run this in every page before its own scripts."""
        await self.wire.ask("script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of what it promises."""
        told = await self.wire.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        if told["type"] != "success":
            raise Refused(told["exceptionDetails"]["text"])
        return json.loads(told["result"]["value"])

    async def until(self, expression: str, *, timeout_s: float = 15) -> Any:
        """The first value of an expression that is true, looked at again and again within the page."""
        look = f"""(async () => {{
          for (let value; ; await new Promise((done) => setTimeout(done, {LOOK_EVERY_MS})))
            if ((value = await ({expression}))) return value;
        }})()"""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        return await self.evaluate(look)
                    except Refused as refused:
                        if not re.match("unknown error|no such frame", str(refused)):
                            raise  # any other than: the page was left for another
        except TimeoutError:
            seen = await self.evaluate("document.body.innerText")
            raise AssertionError(f"waited in vain for {expression}; the page says:\n{seen}") from None

    async def sees(self, words: str, *, timeout_s: float = 15) -> None:
        """Wait until the status pill and the tab's title say ``words``."""
        said = json.dumps(words)
        pill = "document.querySelector('qn-header qn-status .pill .pill-word')?.textContent"
        await self.until(f"{pill} === {said} && document.title.includes({said})", timeout_s=timeout_s)

    async def shows(self, role: str, name: str = "", *, timeout_s: float = 15) -> None:
        """Wait until something of that role and name can be seen."""
        await self.until(f"!!{self._found(role, name)}", timeout_s=timeout_s)

    async def press(self, name: str) -> None:
        """Press the button of that name, with the mouse."""
        await self.shows("button", name)
        told = await self.wire.ask(
            "script.evaluate",
            expression=f"(() => {{ const node = {self._found('button', name)};"
            " node.scrollIntoView({ block: 'nearest' }); return node; })()",
            target={"context": self.context},
            awaitPromise=False,
        )
        where = {"type": "element", "element": {"sharedId": told["result"]["sharedId"]}}
        strokes = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": where},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": strokes}
        await self.wire.ask("input.performActions", context=self.context, actions=[mouse])

    async def fill(self, label: str, words: str) -> None:
        """Type into the field of that label."""
        said = json.dumps(label)
        field = f"[...document.querySelectorAll('input')].find((one) => one.labels[0]?.textContent.trim() === {said})"
        await self.until(f"(() => {{ const node = {field}; node?.focus(); return !!node; }})()")
        strokes = [{"type": kind, "value": letter} for letter in words for kind in ("keyDown", "keyUp")]
        keys = {"type": "key", "id": "keys", "actions": strokes}
        await self.wire.ask("input.performActions", context=self.context, actions=[keys])

    def _found(self, role: str, name: str) -> str:
        return f"({FIND.strip()})({json.dumps(role)}, {json.dumps(name)})"


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[FirefoxPage]:
    """A Firefox without a window, with a profile of its own under ``folder``."""
    path = firefox_path()
    assert path is not None
    profile = folder / "profile"
    profile.mkdir(parents=True)
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines))
    process = await asyncio.create_subprocess_exec(
        path, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0",
        env=os.environ | {"HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    tasks: list[asyncio.Task[Any]] = []
    try:
        assert process.stderr is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (listens := LISTENS.search(await process.stderr.readline())):
                assert process.returncode is None, "Firefox ended"
        # a pipe that nobody reads fills up, and then the browser waits for us
        tasks.append(asyncio.create_task(_drain(process.stderr), name="firefox-said"))
        async with connect(f"{listens[1].decode()}/session", proxy=None, max_size=None) as socket:
            wire = _Wire(socket, [])
            tasks.append(asyncio.create_task(wire.listen(), name="firefox-wire"))
            await wire.ask("session.new", capabilities={})
            await wire.ask("session.subscribe", events=["log.entryAdded"])
            tree = await wire.ask("browsingContext.getTree")
            yield FirefoxPage(wire, tree["contexts"][0]["context"])
            with contextlib.suppress(Refused, TimeoutError):
                await wire.ask("browser.close")
    finally:
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
