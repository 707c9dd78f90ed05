"""Two people at one microphone, a second clinician, somebody who comes late: who is asked, and what the pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from tests.e2e.axe import accessible
from tests.e2e.browsers import PHONE, Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, discard, let_in, sign_in, start_call, two_people

OTHER = "Sam Reyes"
QUESTION = "may this session be written down?"


async def names_the_other(clinician: Person) -> None:
    page = clinician.page
    await page.get_by_role("button", name=f"Somebody sits with {CLIENT_NAME}").click()
    dialog = page.get_by_role("dialog")
    await accessible(clinician, behind_a_dialog=True)
    await dialog.get_by_role("textbox", name="Their name").fill(OTHER)
    await dialog.get_by_role("combobox", name="They are here as").select_option("guardian")
    await dialog.get_by_role("button", name="Ask them too").click()
    await expect(page.locator(".person-beside")).to_contain_text(OTHER)


async def test_each_of_two_at_one_microphone_is_asked_by_name(
    playwright: Playwright, served: Served, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))
        await names_the_other(clinician)
        await clinician.press("Start recording")

        dialog = client.page.get_by_role("dialog")
        await expect(dialog.get_by_role("heading")).to_have_text(f"{CLIENT_NAME}: {QUESTION}")
        await expect(dialog).to_contain_text(f"{CLIENT_NAME} and {OTHER} share this microphone.")
        await accessible(client, behind_a_dialog=True)
        await client.press("I agree to recording")
        await expect(dialog.get_by_role("heading")).to_have_text(f"{OTHER}: {QUESTION}")
        await expect(clinician.page.locator("qn-transcription")).to_contain_text(f"Waiting for {OTHER}'s answer")
        await client.press("I agree to recording")
        for somebody in (clinician, client):
            await somebody.sees("Recording")

        name = f"{CLIENT_NAME} or {OTHER}"
        for somebody in (clinician, client):
            captions = somebody.page.locator("qn-captions")
            said = captions.locator(".caption-name").get_by_text(name, exact=True)
            await expect(said.first).to_be_attached(timeout=60_000)
            await expect(captions.locator(".caption-name").get_by_text(CLIENT_NAME, exact=True)).to_have_count(0)

        await client.page.get_by_role("group", name=f"{OTHER}'s consent").get_by_text("Withdraw consent").click()
        await client.page.get_by_role("button", name="Back to the session").click()
        for somebody in (clinician, client):
            await somebody.sees("Paused")
        await expect(clinician.page.get_by_text(f"{OTHER} withdrew consent", exact=True)).to_be_visible()
        await accessible(client)
        await accessible(clinician)
        await discard(clinician)


async def test_another_clinician_is_asked_and_who_comes_late_is_named(
    playwright: Playwright, served: Served, microphones: dict[str, Path]
) -> None:
    people = [
        {"id": "one", "role": "clinician", "display_name": "Dr. One"},
        {"id": "two", "role": "clinician", "display_name": "Dr. Two"},
        {"id": "client", "role": "client", "display_name": CLIENT_NAME},
    ]
    async with (
        two_people(playwright, microphones) as (clinician, client),
        person(playwright, microphone=microphones["client"], viewport=PHONE) as other,
    ):
        made = await clinician.page.request.post(
            f"{served.url}/v1/sessions",
            data={"clinic_id": "demo", "participants": people},
            headers={"Authorization": "Bearer dev"},
        )
        links = {one["participant_id"]: one["invite_url"] for one in (await made.json())["join"]}
        await clinician.page.goto(links["one"])
        await expect(clinician.page.get_by_role("group", name="Call controls")).to_be_visible()
        await client.page.goto(links["client"])
        await clinician.page.get_by_role("button", name=f"Admit {CLIENT_NAME}").first.click()
        await clinician.press("Start recording")
        await client.press("I agree to recording")
        await client.sees("Recording")

        await other.page.goto(links["two"])
        await expect(other.page.get_by_role("dialog")).to_contain_text("the other clinician")
        await accessible(other, behind_a_dialog=True)
        await clinician.sees("Paused")
        notice = clinician.page.get_by_text("Recording is paused until Dr. Two answers", exact=True)
        await expect(notice).to_be_visible()
        await expect(client.page.locator("qn-header")).to_contain_text("until all agree")
        await accessible(clinician)
        await other.press("I agree to recording")
        for somebody in (clinician, client, other):
            await somebody.sees("Recording")
        await expect(notice).to_have_count(0)
        await discard(clinician)
