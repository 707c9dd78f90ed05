"""Two browsers in a call on a machine without a network: run by ``test_no_network.py``, in a namespace of its own.

    python -m tests.e2e.alone FOLDER          exit code 0 when the call was held, heard and written down
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import async_playwright, expect

from bot.demo import dialogue
from bot.media import loopback
from tests.e2e.browsers import as_wav, person
from tests.e2e.conftest import service
from tests.e2e.steps import api, recording, session_of

FLAGS = ("--allow-loopback-in-peer-connection",)
"""Without it Chromium makes no connection at all on a machine whose only address is loopback."""


async def hold_a_call(folder: Path) -> None:
    assert loopback.offered() == [], "there is a network"
    spoken = dialogue.load()
    microphones = {lane: as_wav(spoken.path(lane), folder / f"{lane}.wav") for lane in spoken.lanes}
    with service(folder / "data") as served:
        async with (
            async_playwright() as playwright,
            person(playwright, microphone=microphones["clinician"], flags=FLAGS) as clinician,
            person(playwright, microphone=microphones["client"], flags=FLAGS) as client,
        ):
            session = await recording(clinician, client, served)
            for somebody in (clinician, client):
                await expect(somebody.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1, timeout=20_000)
            _, state = await api(clinician, f"{served.url}/v1/sessions/{session}")
            for member in state["participants"]:
                final = f".caption[data-final='true'][data-participant='{member['id']}']"
                await expect(client.page.locator(final).first).to_be_attached(timeout=60_000)
            await clinician.press("Finish and Generate Note")
            await clinician.sees("Draft ready", timeout_s=90)
            assert session_of(clinician) == session
            assert clinician.complaints == client.complaints == []


if __name__ == "__main__":
    asyncio.run(hold_a_call(Path(sys.argv[1])))
