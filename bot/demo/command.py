"""``quietnote demo``: a service on a fresh data directory, the call, and then the pages."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bot.control.api.auth import demo_user
from bot.demo.call import DemoEvent, DemoResult, Scene, run_demo
from bot.demo.show import Show
from bot.errors import PortBusy
from bot.server import listen_on, serving
from bot.settings import Settings

DEV_KEY = "dev"
USUAL_PORT = 8080


def port_for(host: str, asked: int | None, *, leave: bool) -> int:
    """The port that was asked for, else the usual one, else 0 (a free one) where something has that already.

    With ``leave`` nobody needs to find the pages, so that a free one does.
    """
    if asked is not None or leave:
        return asked or 0
    try:
        listen_on(host, USUAL_PORT).close()
    except PortBusy:
        print(f"Port {USUAL_PORT} is taken, so the pages get another; it is named below.", file=sys.stderr)
        return 0
    return USUAL_PORT


async def run(settings: Settings, *, as_json: bool, leave: bool) -> dict[str, Any] | None:
    """Hold the call; the object of ``--json``. Without ``leave``, stay up until cancelled.

    Raises :class:`bot.demo.peer.CallFailed` when the call cannot be held.
    """
    async with serving(settings) as (service, url):
        user = await demo_user(service.services)
        if as_json:
            result = await run_demo(url, DEV_KEY, _progress, clinician_id=user.id, searched=settings.data_dir)
        else:
            result = await _shown(url, user.id, settings)
        if leave or as_json:
            return result.to_json()
        print("The draft is in the inbox:")
        print(f"  {url}/notes/{result.session_id}")
        print("Start a call of your own:")
        print(f"  {url}/")
        print("Sign in with «Continue as the demo clinician». Ctrl-C stops.", flush=True)
        await asyncio.Event().wait()
    return None


async def _shown(url: str, clinician_id: str, settings: Settings) -> DemoResult:
    with Show() as show:
        result = await run_demo(url, DEV_KEY, show.event, clinician_id=clinician_id, searched=settings.data_dir)
    show.result(result)
    return result


def _progress(event: DemoEvent) -> None:
    if event.scene is Scene.NARRATION:
        print(event.data["text"], file=sys.stderr, flush=True)

