"""Pictures of what a call page says when it does not simply record: who agreed, what is withheld, paused or lost."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from tests.e2e.browsers import Person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, WEAK, admit, agreed, recording, sign_in, start_call

Take = Callable[[Person, str], Awaitable[None]]
"""Takes a picture in each size."""


async def declined(take: Take, served: Served, clinician: Person, client: Person) -> None:
    """Recording is asked for, and the client says no."""
    await sign_in(clinician, served)
    await client.page.goto(await start_call(clinician, "Start Call"))
    await admit(clinician)
    await clinician.press("Start recording")
    await expect(client.page.get_by_role("dialog")).to_be_visible()
    await take(clinician, "state-asked")
    await client.press("I decline")
    await expect(clinician.page.get_by_text(f"{CLIENT_NAME} declined")).to_be_visible()
    await take(clinician, "state-declined")


async def interrupted(take: Take, served: Served, clinician: Person, client: Person) -> None:
    """A call in which connections are lost, the clinician is away, and consent is taken back."""
    for somebody in (clinician, client):
        await somebody.page.add_init_script(WEAK)
    await sign_in(clinician, served)
    await client.page.goto(await start_call(clinician, "Start Call"))
    await admit(clinician)
    await agreed(clinician, client)
    room = clinician.page.url

    await clinician.press("Pause recording")
    await client.sees("Paused")
    await take(client, "state-paused-client")
    await clinician.press("Resume recording")
    await client.sees("Recording")

    await clinician.page.evaluate("lose()")
    await clinician.sees("Connection lost")
    await clinician.press("Pause recording")
    await take(clinician, "state-lost")
    await clinician.page.evaluate("find()")
    await clinician.sees("Paused", timeout_s=30)
    await clinician.press("Resume recording")
    await clinician.sees("Recording")

    await clinician.page.goto("about:blank")
    await client.sees("Paused", timeout_s=30)
    await take(client, "state-clinician-away")
    await clinician.page.goto(room)
    await clinician.sees("Recording", timeout_s=30)

    await client.press("Withdraw consent")
    await client.sees("Paused")
    await take(client, "state-withdrew")
    await expect(clinician.page.get_by_text(f"{CLIENT_NAME} withdrew consent")).to_be_visible()
    await take(clinician, "state-withdrawn")


async def papers(take: Take, served: Served, clinician: Person, client: Person) -> None:
    """What somebody agreed to, as they keep it, and the form for those who ask on paper."""
    await recording(clinician, client, served)
    await clinician.press("Finish and Generate Note")
    await client.press("What you agreed to")
    dialog = client.page.get_by_role("dialog")
    link = await dialog.get_by_label("Your own link").input_value()
    await take(client, "state-keep-this")
    await client.page.goto(link)
    await expect(client.page.get_by_role("heading", name=re.compile("agreed to"))).to_be_visible()
    await take(client, "state-my-consent")
    await clinician.page.goto(f"{served.url}/consent-form/demo")
    await expect(clinician.page.get_by_role("heading", level=1)).to_be_visible()
    await take(clinician, "state-consent-form")
