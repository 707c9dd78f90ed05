"""A whole call in two real browsers: from the sign-in page to the signed note and its receipts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Page, Playwright, expect

from bot.demo.dialogue import Dialogue
from bot.store import receipts
from tests.e2e.axe import accessible
from tests.e2e.browsers import NARROW, PHONE, WIDE, Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import BOT, CLIENT_NAME, api, let_in, session_of, sign_in, start_call, two_people


def vocabulary(spoken: Dialogue) -> set[str]:
    said = " ".join(turn.text for turn in spoken.turns)
    return set(re.findall(r"[a-z']+", said.lower()))


async def test_a_whole_call(
    served: Served, playwright: Playwright, microphones: dict[str, Path], spoken: Dialogue
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call")
        session = session_of(clinician)
        await let_in(clinician, client, link)

        # Start Call alone: people hear and see each other, and there is no bot
        for somebody in (clinician, client):
            picture = somebody.page.locator(".tiles .tile[data-picture='yes']")
            await expect(picture).to_have_count(1, timeout=15_000)
            await expect(somebody.page.locator(BOT)).to_have_count(0)
            await somebody.sees("Not recording")
        _, state = await api(clinician, f"{served.url}/v1/sessions/{session}")
        assert (state["bot"], state["capture"], state["lanes"]) == ("absent", "off", [])
        await clinician.control_is("Start recording", pressed=False, tooltip=None)

        # the client is asked, and agrees
        await clinician.press("Start recording")
        await clinician.sees("Waiting for consent")
        await clinician.control_is("Start recording", pressed=False, tooltip=None)
        question = client.page.get_by_role("dialog")
        agree = question.get_by_role("button", name="I agree to recording")
        decline = question.get_by_role("button", name="I decline")
        await expect(decline).to_be_visible()
        sizes = [await button.bounding_box() for button in (agree, decline)]
        assert sizes[0] is not None
        assert sizes[1] is not None
        assert (sizes[0]["width"], sizes[0]["height"]) == pytest.approx((sizes[1]["width"], sizes[1]["height"]), abs=1)
        await agree.click()
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        await expect(clinician.page.locator(BOT)).to_contain_text("Listening and writing down")
        await clinician.control_is("Pause recording", pressed=True, tooltip="Stop transcribing")

        # both are captioned live
        people = {member["role"]: member["id"] for member in state["participants"]}
        for somebody in (clinician, client):
            for participant in people.values():
                final = somebody.page.locator(f".caption[data-final='true'][data-participant='{participant}']")
                await expect(final.first).to_be_attached(timeout=60_000)
        captions = (words.split(": ", 1)[1] for words in (await clinician.finals()).values())
        said = re.findall(r"[a-z']+", " ".join(captions).lower())
        known = sum(word in vocabulary(spoken) for word in said)
        assert known >= 0.7 * len(said), said

        # pause means pause
        await clinician.page.keyboard.press("r")
        await clinician.sees("Paused")
        await client.sees("Paused")
        await expect(clinician.page.locator(f"{clinician.pill} .pill-detail")).to_contain_text("by you")
        await clinician.control_is("Resume recording", pressed=False, tooltip=None)
        ledger = clinician.page.locator(".ledger")
        await expect(ledger).to_contain_text(re.compile(r"0:0[2-9] paused"), timeout=10_000)
        # what was said before it is written down first
        await expect(clinician.page.locator(".caption[data-final='false']")).to_have_count(0, timeout=15_000)
        before = await clinician.finals()
        await expect(ledger).to_contain_text(re.compile(r"0:(0[6-9]|[1-5]\d) paused"), timeout=15_000)
        assert await clinician.finals() == before
        await clinician.press("Resume recording")
        await clinician.sees("Recording")
        finals = clinician.page.locator(".caption[data-final='true']")
        await expect(finals).not_to_have_count(len(before), timeout=60_000)
        _, state = await api(clinician, f"{served.url}/v1/sessions/{session}")
        lost = any(lane["ledger"]["lost"] for lane in state["lanes"])
        await expect(ledger).to_contain_text("lost on the way" if lost else "nothing lost")

        # the note
        await clinician.press("Finish and Generate Note")
        await expect(clinician.page.locator("qn-transcription")).to_be_hidden()
        await expect(clinician.page.locator(".after")).to_be_focused()
        await expect(client.page.locator(".caption, .caption-mark")).to_have_count(0)
        await expect(clinician.page.locator(BOT)).to_have_count(0, timeout=15_000)
        await clinician.sees("Draft ready", timeout_s=90)
        assert client.complaints == []
        written = await clinician.finals()
        other = Person(await clinician.page.context.new_page())
        await other.page.goto(clinician.page.url)
        await expect(other.page.locator(".caption[data-final='true']")).to_have_count(len(written))
        assert await other.finals() == written
        await read_and_sign(clinician, served, session)
        # the call's page was open all the while: nothing that was said stays there
        await expect(other.page.locator(".after")).to_contain_text("The note is signed.")
        await expect(other.page.locator(".caption, .caption-mark")).to_have_count(0)
        assert clinician.complaints == []


async def read_and_sign(clinician: Person, served: Served, session: str) -> None:
    """From the inbox to the signature: evidence, transcript, receipts."""
    page = clinician.page
    await page.goto(f"{served.url}/notes")
    await expect(page.get_by_role("link", name=re.compile("Notes 1 unread"))).to_be_visible()
    await page.locator(f".inbox-item[data-session='{session}']").click()
    await expect(page.locator(".sentence").first).to_be_visible()
    await expect(page.get_by_role("link", name="Notes", exact=True)).to_be_visible()
    await accessible(clinician)

    # evidence lights up on focus by key, and on hover
    await expect(page.locator(".evidence .line").first).to_be_visible()
    await page.keyboard.press("j")
    await expect(page.locator(".sentence.lit")).to_have_count(1)
    await expect(page.locator(".evidence .line.lit").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".evidence .line.lit")).to_have_count(0)
    await page.locator(".sentence:has(.mark)").last.hover()
    await expect(page.locator(".evidence .line.lit").first).to_be_visible()

    await narrowed(page)

    # the transcript has two named speakers, and the pause as a gap that nothing lies in
    status, transcript = await api(clinician, f"{served.url}/v1/sessions/{session}/transcript")
    assert status == 200
    await page.get_by_role("tab", name="Transcript").click()
    shown = page.get_by_role("tabpanel", name="Transcript")
    assert set(await shown.locator(".line-name").all_inner_texts()) == {"Demo Clinician", CLIENT_NAME}
    await expect(shown.locator(".gap[data-reason='paused']")).to_have_count(1)
    pauses = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
    assert len(pauses) == 1
    away = [gap["end_ms"] - gap["start_ms"] for gap in transcript["gaps"] if gap["reason"] == "absent"]
    assert sum(away) < 200, "both were in the call, and their browsers sent sound all the while"
    for segment in transcript["segments"]:
        assert segment["end_ms"] <= pauses[0]["start_ms"] + 100 or segment["start_ms"] >= pauses[0]["end_ms"] - 100

    # signing says what it does, then does it
    await page.get_by_role("tab", name="Note").click()
    await page.get_by_role("button", name="Sign", exact=True).click()
    question = page.get_by_role("dialog", name="Sign this note?")
    await expect(question).to_contain_text("permanently deleted")
    await question.get_by_role("button", name="Sign", exact=True).click()
    await expect(page.get_by_text("Signed by Demo Clinician")).to_be_visible()
    await expect(page.get_by_role("heading", name=CLIENT_NAME, level=2)).to_be_focused()
    await expect(page.get_by_role("button", name="Sign", exact=True)).to_have_count(0)
    status, problem = await api(clinician, f"{served.url}/v1/sessions/{session}/transcript")
    assert (status, problem["slug"]) == (410, "transcript-purged")
    await page.get_by_role("tab", name="Transcript").click()
    await expect(shown).to_contain_text("The transcript was permanently deleted")

    # the page checks the receipts itself, and so do we
    await page.get_by_role("button", name="See the receipt").click()
    verdicts = page.locator(".receipt[data-verdict='valid']")
    await expect(verdicts).to_have_count(2)
    _, keys = await api(clinician, f"{served.url}/.well-known/quietnote-receipt-keys.json")
    _, listed = await api(clinician, f"{served.url}/v1/sessions/{session}/receipts")
    public = receipts.load_public_keys(json.dumps(keys).encode())
    for item in listed["items"]:
        file = await (await page.request.get(f"{served.url}{item['href']}")).body()
        assert receipts.verify_receipt(file, public).valid
        assert not receipts.verify_receipt(file.replace(b"quietnote", b"Quietnote", 1), public).valid
    assert {item["kind"] for item in listed["items"]} == {"audio", "transcript"}


async def narrowed(page: Page) -> None:
    """What is lit beside the note is no sheet over it when the window becomes a phone's; a tap opens one."""
    sheet = page.get_by_role("complementary", name="Evidence")
    lines = sheet.get_by_role("region", name="Lines of the transcript")
    mark = page.locator(".sentence.lit .mark")
    await lines.focus()
    await page.set_viewport_size(PHONE)
    await expect(sheet).to_be_hidden()
    await expect(mark).to_be_focused()
    await page.locator(".sentence:has(.mark)").last.click()
    await expect(sheet).to_be_in_viewport(ratio=1)
    await expect(sheet.locator(".line.lit").first).to_be_in_viewport()
    await sheet.get_by_role("button", name="Close the evidence").click()
    await expect(sheet).to_be_hidden()
    await expect(mark).to_be_focused()
    await page.set_viewport_size(WIDE)
    await expect(sheet).to_be_visible()


async def test_a_client_who_declines_and_one_who_withdraws(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call with Transcription")
        await expect(clinician.page.get_by_text("Recording starts when your client is here")).to_be_visible()
        await let_in(clinician, client, link)

        # recording was asked for on the start page, so the client is asked at once; no means no
        await client.press("I decline")
        await clinician.sees("Not recording")
        await expect(clinician.page.get_by_text(f"{CLIENT_NAME} declined")).to_be_visible()
        for somebody in (clinician, client):
            await expect(somebody.page.locator(BOT)).to_have_count(0)
        await clinician.control_is("Start recording", pressed=False, tooltip=None)

        # asked again later: yes, and then taken back with one tap
        await clinician.press("Start recording")
        await client.page.get_by_role("dialog").get_by_role("button", name="I agree to recording").click()
        await client.sees("Recording")
        await client.press("Withdraw consent")
        await expect(client.page.get_by_role("dialog", name="Recording has stopped")).to_be_visible()
        await client.press("Back to the session")
        await clinician.sees("Paused")
        await expect(clinician.page.get_by_text(f"{CLIENT_NAME} withdrew consent")).to_be_visible()

        # a reload of either page is the same seat, the same session
        for somebody in (client, clinician):
            await somebody.page.reload()
            await somebody.sees("Paused")
        for somebody in (client, clinician):
            await expect(somebody.page.locator(".tiles .tile[data-picture='yes']")).to_have_count(1, timeout=20_000)

        # Discard asks once and says what is destroyed
        await clinician.page.get_by_role("button", name="Discard", exact=True).click()
        question = clinician.page.get_by_role("dialog", name="Discard this recording?")
        await expect(question).to_contain_text("destroyed")
        await question.get_by_role("button", name="Discard", exact=True).click()
        await expect(clinician.page.get_by_text("Nothing of this recording is kept.")).to_be_visible()
        await clinician.sees("Not recording")
        assert clinician.complaints == client.complaints == []


async def test_a_microphone_that_is_refused_says_the_way_out(served: Served, playwright: Playwright) -> None:
    async with person(playwright, allow=False) as clinician:
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call")
        blocked = clinician.page.locator("[data-notice='microphone']")
        await expect(blocked).to_contain_text("The microphone is blocked")
        await expect(blocked).to_contain_text("address bar")
        await expect(blocked.get_by_role("button", name="Try again")).to_be_visible()
        await clinician.page.goto(link)
        await expect(blocked).to_contain_text("The microphone is blocked")


@pytest.mark.parametrize("path", ["/signin", "/", "/notes", "/join/none#none-such-code"])
async def test_no_page_scrolls_sideways_at_320(served: Served, playwright: Playwright, path: str) -> None:
    async with person(playwright, viewport=NARROW) as somebody:
        if path in {"/", "/notes"}:
            await sign_in(somebody, served)
        await somebody.page.goto(f"{served.url}{path}")
        await expect(somebody.page.get_by_role("heading").first).to_be_attached()
        wide, room = await somebody.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= room
