"""Each in their own language; consent on file and said aloud, as both people see it; the form to print."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from bot.settings import default_config_dir
from tests.e2e.browsers import WIDE, Person
from tests.e2e.conftest import Served, service
from tests.e2e.steps import CLIENT_NAME, discard, let_in, session_of, sign_in, two_people

GERMAN = "Ein Programm soll aufschreiben, was hier gesagt wird.\n\nSie können Nein sagen. Es ändert nichts für Sie."
CHOSEN = f'''
[consent]
on_file = true
verbal_attested = true
wording_version = "7"
[consent.wording]
en = "A program is to write down what is said here."
de = """{GERMAN}"""
'''


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose clinic has a wording in two languages, and takes consent on file and said aloud."""
    folder = tmp_path_factory.mktemp("chosen")
    shutil.copytree(default_config_dir(), folder / "config")
    file = folder / "config" / "clinics" / "demo.toml"
    file.write_text(file.read_text("utf-8") + CHOSEN, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIETNOTE_CONFIG_DIR", str(folder / "config"))
        with service(folder / "data") as running:
            yield running


def answers(served: Served, session: str, role: str) -> list[tuple[str, ...]]:
    query = (
        "SELECT decision, method, consents.language, text_version, text_sha256 FROM consents JOIN participants"
        " ON participants.session_id = consents.session_id AND participants.id = participant_id"
        " WHERE consents.session_id = ? AND role = ? ORDER BY at, consents.id"
    )
    with closing(sqlite3.connect(f"file:{served.data_dir / 'quietnote.db'}?mode=ro", uri=True)) as db:
        return [tuple(str(value) for value in row) for row in db.execute(query, [session, role])]


async def begin(clinician: Person) -> str:
    """Start a call that does not record; the client's link."""
    await clinician.page.get_by_role("textbox", name="Client").fill(CLIENT_NAME)
    await clinician.page.get_by_role("button", name=re.compile("^Start Call does not")).click()
    return await clinician.page.get_by_label(f"Link for {CLIENT_NAME}").input_value()


async def test_a_client_is_asked_in_their_language_and_the_record_has_it(
    chosen: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, chosen)
        await clinician.page.get_by_label("Consent text in").select_option("de")
        await let_in(clinician, client, await begin(clinician))
        session = session_of(clinician)
        beside = clinician.page.locator("qn-transcription .control-hint")
        await expect(beside).to_have_text("Start is your own yes too: what you say is recorded as well.")
        read = await beside.inner_text()
        await clinician.press("Start recording")

        question = client.page.get_by_role("dialog", name="May this session be written down?")
        own = question.locator(".dialog-body p[lang='de']:not(.second)")
        await expect(own).to_have_count(2)
        text = "\n\n".join(await own.all_inner_texts())
        assert text == GERMAN
        agree = question.get_by_role("button", name="I agree to recording")
        await expect(agree).to_contain_text("Ich stimme der Aufzeichnung zu")
        await expect(question.get_by_role("button", name="I decline")).to_contain_text("Ich lehne ab")
        await agree.click()
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert answers(chosen, session, "client") == [("granted", "in_call", "de", f"7-{digest[:8]}", digest)]
        pressed = hashlib.sha256(read.encode()).hexdigest()
        wanted = ("granted", "pressed_start", "en", f"start-{pressed[:8]}", pressed)
        assert answers(chosen, session, "clinician") == [wanted]
        await discard(clinician)
        assert clinician.complaints == client.complaints == []


@pytest.mark.soak
async def test_what_somebody_attests_is_shown_to_both_and_can_be_taken_back(
    chosen: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, chosen)
        await clinician.page.get_by_text("Consent on file", exact=True).click()
        await clinician.page.get_by_label("Number of the document").fill("DOC-77")
        await clinician.page.get_by_label("Version of the form").fill("form-en-1-0a1b2c3d")
        await clinician.page.get_by_label("Signed on").fill("2025-05-03")
        await let_in(clinician, client, await begin(clinician))
        row = clinician.page.locator("qn-people .person", has_text=CLIENT_NAME)
        for shown in (row, client.page.locator(".own-consent")):
            await expect(shown).to_contain_text(re.compile(r"On file, attested by Demo Clinician, .*2025"))
        await clinician.press("Start recording")
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await client.press("Withdraw consent")
        await client.press("Back to the session")
        await expect(client.page.locator(".own-consent")).not_to_contain_text("On file")
        await discard(clinician)

        await sign_in_again(clinician, chosen)
        await let_in(clinician, client, await begin(clinician))
        await clinician.press("Start recording")
        await expect(client.page.get_by_role("dialog")).to_be_visible()
        await clinician.press(f"{CLIENT_NAME} agreed aloud")
        await clinician.press("Yes, I attest it")
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await expect(client.page.get_by_role("dialog")).to_have_count(0)
        await expect(client.page.locator(".own-consent")).to_contain_text("Agreed aloud, attested by Demo Clinician")
        [(decision, method, *text)] = answers(chosen, session_of(clinician), "client")
        assert (decision, method, text) == ("granted", "verbal_attested", ["", "", ""])
        await discard(clinician)
        assert clinician.complaints == client.complaints == []


async def sign_in_again(clinician: Person, served: Served) -> None:
    await clinician.page.goto(f"{served.url}/")
    await expect(clinician.page.get_by_role("heading", name="New call")).to_be_visible()


async def test_the_form_is_reached_from_the_start_page_and_fits_two_pages(
    chosen: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, _):
        await sign_in(clinician, chosen)
        await clinician.page.get_by_role("link", name="Consent form to print").click()
        sheet = clinician.page.get_by_role("article")
        await expect(sheet.get_by_role("heading", level=1)).to_have_text("Your consent to transcription")
        for language, title in (("de", "Ihre Einwilligung in die Mitschrift"), ("es", "Su consentimiento")):
            await clinician.page.get_by_label("Language").select_option(language)
            await expect(sheet.get_by_role("heading", level=1)).to_contain_text(title)
            await expect(sheet).to_have_attribute("lang", language)
            assert clinician.page.url.endswith(f"/consent-form/demo?lang={language}")
            printed = await clinician.page.pdf(prefer_css_page_size=True)
            assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) in {1, 2}
        for width in (320, 390, 1280):
            await clinician.page.set_viewport_size({"width": width, "height": 800})
            assert await clinician.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await clinician.page.set_viewport_size(WIDE)
        await clinician.page.emulate_media(media="print")
        await expect(clinician.page.get_by_role("button", name="Print")).to_be_hidden()
        await expect(clinician.page.locator("qn-header")).to_be_hidden()
        assert clinician.complaints == []
