"""A note from a typed summary: after a no, and after a note could not be made."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Page, Playwright, expect

from tests.e2e.browsers import Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, api, let_in, session_of, sign_in, start_call, two_people

SUMMARY = "Jordan spoke about sleep and a new job."
LABEL = "What was the session about?"


async def type_summary(page: Page, words: str) -> None:
    question = page.get_by_role("dialog", name="Type a summary")
    await question.get_by_label(LABEL).fill(words)
    await question.get_by_role("button", name="Keep the summary").click()
    await expect(question).to_have_count(0)


async def test_after_a_no_a_summary_can_be_typed_and_makes_the_note(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        page = clinician.page
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call with Transcription"))
        await client.press("I decline")
        await clinician.press("Type a summary instead")
        sent = page.expect_response(lambda answer: answer.url.endswith("/inputs"))
        async with sent as answer:
            await type_summary(page, SUMMARY)
        assert (await answer.value).status == 201
        notice = page.get_by_text("Your summary is kept with this session.")
        await expect(notice).to_contain_text("In Notes you can generate a note from it.")
        session = session_of(clinician)
        _, record = await api(clinician, f"{served.url}/v1/sessions/{session}")
        assert (record["bot_end_reason"], record["capture"]) == ("consent_declined", "off")

        # it is in the Notes, and there it can be read again
        await clinician.press("Leave")
        await page.get_by_role("link", name="Notes").click()
        row = page.locator(f"a[data-session='{session}']")
        await expect(row).to_contain_text("Summary kept")
        await row.click()
        await expect(page.locator(".typed")).to_have_text(SUMMARY)
        await clinician.press("Generate Note")

        # the note is made of it and says so; each sentence is the clinician's
        note = page.locator("qn-note")
        await expect(note.locator(".sentence")).to_have_count(1, timeout=30_000)
        await expect(note.locator(".sentence")).to_contain_text("your words")
        await expect(page.locator(".writer-notice")).to_contain_text("a typed summary and not from a recording")
        await expect(note.get_by_text("Nothing of the typed summary was put here.")).not_to_have_count(0)
        await expect(note.get_by_text("Not discussed")).to_have_count(0)
        await note.locator(".mark").focus()
        await expect(page.locator(".evidence-words")).to_have_text("Rests on your own summary")
        await expect(page.get_by_text("transcript", exact=False)).to_have_count(0)
        await page.get_by_role("tab", name="Typed summary").click()
        await expect(page.get_by_role("tabpanel", name="Typed summary")).to_have_text(SUMMARY)

        await page.get_by_role("button", name="Sign", exact=True).click()
        question = page.get_by_role("dialog", name="Sign this note?")
        await expect(question).not_to_contain_text("transcript")
        await question.get_by_role("button", name="Sign", exact=True).click()
        await expect(page.get_by_text("Signed by Demo Clinician")).to_be_visible()
        await expect(page.get_by_role("button", name="Sign", exact=True)).to_have_count(0)
        assert clinician.complaints == client.complaints == []


async def unrecorded(somebody: Person, served: Served) -> str:
    """A session that is nobody's call: made, and never begun."""
    people = [{"role": "client", "display_name": CLIENT_NAME}]
    csrf = {"X-CSRF-Token": (await api(somebody, f"{served.url}/v1/auth/me"))[1]["csrf"]}
    answer = await somebody.page.request.post(
        f"{served.url}/v1/sessions", data={"clinic_id": "demo", "participants": people}, headers=csrf
    )
    session: str = json.loads(await answer.text())["session"]["id"]
    return session


async def test_a_note_that_could_not_be_made_is_tried_again(served: Served, playwright: Playwright) -> None:
    async with person(playwright) as clinician:
        page = clinician.page
        await sign_in(clinician, served)
        session = await unrecorded(clinician, served)
        failed = (
            "UPDATE sessions SET capture = 'finished', note = 'failed', failure_slug = 'answer-withheld' WHERE id = ?"
        )
        with closing(sqlite3.connect(served.data_dir / "quietnote.db", timeout=30)) as db, db:
            db.execute(failed, [session])
        await page.goto(f"{served.url}/notes/{session}")
        card = page.locator(".card.failed")
        await expect(card.get_by_role("alert")).to_contain_text("The note model would not answer")
        await expect(card).to_contain_text(f"give this reference: {session}")

        # there is nothing to write from: it says so, and what to do
        await clinician.press("Try again")
        await expect(card.get_by_role("status")).to_contain_text("Type a summary first.")
        clinician.complaints.clear()  # of the browser, that this was refused

        await clinician.press("Type a summary instead")
        await type_summary(page, SUMMARY)
        await expect(card.locator(".typed")).to_have_text(SUMMARY)
        await expect(page.get_by_role("button", name="Try again")).to_be_focused()
        await clinician.press("Try again")
        await expect(page.locator("qn-note .sentence")).to_contain_text(SUMMARY, timeout=30_000)
        assert clinician.complaints == []


async def test_a_session_that_never_began_can_be_summed_up(served: Served, playwright: Playwright) -> None:
    async with person(playwright) as clinician:
        page = clinician.page
        await sign_in(clinician, served)
        session = await unrecorded(clinician, served)
        await page.goto(f"{served.url}/notes/{session}")
        await expect(page.get_by_text("Nothing has been recorded")).to_be_visible()
        await expect(page.get_by_role("link", name="Return to the call")).to_be_visible()
        await expect(page.get_by_role("button", name="Generate Note")).to_have_count(0)
        await clinician.press("Type a summary")
        await type_summary(page, SUMMARY)
        await expect(page.get_by_role("button", name="Generate Note")).to_be_focused()
        await clinician.press("Type another summary")
        await type_summary(page, "Next Thursday at ten.")
        await expect(page.locator(".typed blockquote")).to_have_text([SUMMARY, "Next Thursday at ten."])
        await clinician.press("Generate Note")
        await expect(page.locator("qn-note .sentence")).to_have_count(2, timeout=30_000)
        assert clinician.complaints == []
