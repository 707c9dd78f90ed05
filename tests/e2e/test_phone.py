"""A call on a phone, and what the pages say when something is not as it should be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Playwright, expect

from bot.control.wording import AT_START
from tests.e2e.browsers import PHONE, Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, discard, let_in, recording, sign_in, start_call, two_people

HIT = """
button => {
  const { left, top, width, height } = button.getBoundingClientRect();
  const hit = document.elementFromPoint(left + width / 2, top + height / 2);
  return hit !== null && button.contains(hit);
}
"""
"""Whether a tap in the middle of a button reaches it."""
REMEMBER_SOCKET = """
(() => {
  const Real = WebSocket;
  window.WebSocket = class extends Real {
    constructor(...given) { super(...given); window.socket = this; }
  };
})()
"""
SHARED = ["Turn camera off", "Devices", "Captions", "Leave", "Mute"]
LISTED = """
() => {
  const real = window.fetch;
  window.fetch = async (path, ...rest) => {
    const answer = await real(path, ...rest);
    if (!String(path).startsWith("/v1/notes?")) return answer;
    const told = await answer.json();
    for (const item of told.items) if (item.session_id === listed.id) Object.assign(item, listed.changes);
    return Response.json(told);
  };
  window.listed = { id: null, changes: {} };
}
"""
"""Lets the list of notes say other states of one session."""
LINES = """
pill => {
  const range = document.createRange();
  range.selectNodeContents(pill);
  const words = [...range.getClientRects()].filter(({ height }) => height > 0 && height < 24);
  return new Set(words.map(({ bottom }) => Math.round(bottom / 8))).size;
}
"""
"""How many lines of words something has."""
GAPS = """
async gaps => {
  await import("/ui/components/transcript-view.js");
  const view = document.createElement("qn-transcript");
  document.body.append(view);
  view.show({ segments: [], gaps });
  return [...view.querySelectorAll(".gap")].map((row) => row.textContent);
}
"""
THEIRS = """
async states => {
  const [{ TheirConsent }] = await Promise.all([
    import("/ui/js/theirconsent.js"),
    import("/ui/components/notice-list.js"),
    import("/ui/components/transcription-control.js"),
  ]);
  const notices = document.createElement("qn-notices");
  const control = document.createElement("qn-transcription");
  document.body.append(notices, control);
  const room = { people: [], state: { bot: "in_call", capture: "consent_pending" } };
  const theirs = new TheirConsent(room, notices, {});
  return states.map(([capture, consent]) => {
    const here = { present: true, admitted: true };
    room.people = [
      { participant_id: "c", role: "client", display_name: "Jordan", consent: "granted", ...here },
      { participant_id: "i", role: "interpreter", display_name: "Ana Lopez", consent, ...here },
    ];
    room.state = { bot: "in_call", capture, pause_reasons: [] };
    theirs.show();
    control.update({ capture, reasons: [], awaited: theirs.awaited });
    const hint = control.querySelector(".control-hint");
    return [hint.textContent, notices.querySelector(".notice-words")?.textContent ?? ""];
  });
}
"""


async def all_can_be_tapped(somebody: Person, names: list[str]) -> None:
    for name in names:
        button = somebody.page.get_by_role("button", name=name, exact=True)
        await expect(button).to_be_in_viewport(ratio=1)
        assert await button.evaluate(HIT), f"something lies over {name}"


async def folds_by_escape(somebody: Person) -> None:
    """Escape folds the sheet, and focus is where it was opened from."""
    captions = somebody.page.get_by_role("button", name="Captions", exact=True)
    await somebody.page.get_by_role("region", name="Captions").focus()
    await somebody.page.keyboard.press("Escape")
    await expect(captions).to_have_attribute("aria-expanded", "false")
    await expect(captions).to_be_focused()
    await expect(somebody.page.get_by_role("complementary", name="Captions and people")).to_be_hidden()


async def test_the_sheet_leaves_every_control_within_reach(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with (
        person(playwright, microphone=microphones["clinician"], viewport=PHONE) as clinician,
        person(playwright, microphone=microphones["client"], viewport=PHONE) as client,
    ):
        await recording(clinician, client, served)
        for somebody in (clinician, client):
            await somebody.press("Captions")
            sheet = somebody.page.get_by_role("complementary", name="Captions and people")
            await expect(sheet).to_be_in_viewport(ratio=1)
        await all_can_be_tapped(clinician, ["Pause recording", "Finish and Generate Note", "Discard", *SHARED])
        await all_can_be_tapped(client, ["Withdraw consent", *SHARED])

        # as they are used: with the sheet still open
        await clinician.press("Pause recording")
        await clinician.sees("Paused")
        await clinician.press("Discard")
        question = clinician.page.get_by_role("dialog", name="Discard this recording?")
        await question.get_by_role("button", name="Keep the session", exact=True).click()
        await client.press("Withdraw consent")
        told = client.page.get_by_role("dialog", name="Recording has stopped")
        await expect(told).to_contain_text("can have it destroyed")
        await expect(told).not_to_contain_text("one press")
        await client.press("Back to the session")
        for somebody in (clinician, client):
            await folds_by_escape(somebody)

        # both reasons hold; the client reads theirs, in two lines
        pill = client.page.locator(client.pill)
        await expect(pill).to_contain_text("you withdrew consent")
        await expect(pill).to_have_accessible_name(re.compile("^Status: Paused, since .+, you withdrew consent$"))
        assert await pill.evaluate(LINES) == 2
        await discard(clinician)
        assert clinician.complaints == client.complaints == []


async def test_signalling_that_comes_too_late_is_nobodys_trouble(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        for somebody in (clinician, client):
            await somebody.page.add_init_script(REMEMBER_SOCKET)
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call"))
        for somebody in (clinician, client):
            answer = await somebody.page.evaluate(
                "() => new Promise((resolve) => {"
                "  socket.addEventListener('message', ({ data }) => {"
                "    const message = JSON.parse(data);"
                "    if (message.type === 'problem') setTimeout(resolve, 0, message);"
                "  });"
                "  const data = { type: 'candidate', candidate: null };"
                "  socket.send(JSON.stringify({ type: 'signal', to: 'somebody-who-left', data }));"
                "})"
            )
            assert (answer["problem"]["slug"], answer["answers"]) == ("config-invalid", "signal")
            await expect(somebody.page.get_by_text("That did not work")).to_have_count(0)

        # what a person did is still answered to them, in words of ours
        await clinician.page.evaluate("socket.send(JSON.stringify({ type: 'admit', participant_id: 'nobody' }))")
        trouble = clinician.page.locator("[data-notice='capture']")
        await expect(trouble).to_contain_text("That did not work")
        assert clinician.complaints == client.complaints == []


@pytest.mark.parametrize("link", ["/join/none#nope", "/join/none#%", "/join/none"])
async def test_a_link_that_is_cut_short_says_so(served: Served, playwright: Playwright, link: str) -> None:
    async with person(playwright, viewport=PHONE) as client:
        await client.page.goto(f"{served.url}{link}")
        card = client.page.locator("main .card")
        await expect(card).to_contain_text("This link is not complete")
        await expect(card).not_to_contain_text("code")
        await expect(card.get_by_role("button")).to_have_count(0)


async def test_a_clinician_who_opens_their_own_link_comes_to_their_own_side(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    people = [("clinician", "Demo Clinician"), ("client", CLIENT_NAME)]
    body = {
        "clinic_id": "demo",
        "room": {"transport": "builtin"},
        "participants": [{"id": role, "role": role, "display_name": name} for role, name in people],
    }
    async with two_people(playwright, microphones) as (clinician, client):
        made = await client.page.request.post(
            f"{served.url}/v1/sessions", data=body, headers={"Authorization": "Bearer dev"}
        )
        answer = json.loads(await made.text())
        assert made.status == 201, answer
        links = {one["role"]: one["invite_url"] for one in answer["join"]}
        # not signed in: the link alone says who they are
        await clinician.page.goto(links["clinician"])
        await expect(clinician.page).to_have_url(f"{served.url}/call/{answer['session']['id']}")
        await let_in(clinician, client, links["client"])
        await clinician.press("Start recording")
        await client.press("I agree to recording")
        await clinician.sees("Recording")
        # the page of before, with the token that this tab kept
        await clinician.page.goto(f"{served.url}/join/{answer['session']['id']}")
        await expect(clinician.page).to_have_url(f"{served.url}/call/{answer['session']['id']}")
        await discard(clinician)


async def test_start_before_the_client_is_here_is_said_at_the_control_and_focus_stays(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await sign_in(clinician, served)
        link = await start_call(clinician, "Start Call")
        await clinician.press("Start recording")
        start = clinician.page.get_by_role("button", name="Start recording", exact=True)
        await expect(start).to_have_accessible_description("Starts by itself when your client is here")
        await expect(start).to_be_disabled()
        await clinician.press("Do not record")
        await expect(start).to_be_enabled()
        await expect(start).to_have_accessible_description(AT_START)

        await client.page.goto(link)
        await clinician.page.get_by_role("button", name=f"Admit {CLIENT_NAME}").first.focus()
        await clinician.page.keyboard.press("Enter")
        await expect(client.page.get_by_role("group", name="Call controls")).to_be_visible()
        await expect(clinician.page.get_by_role("region", name="Video")).to_be_focused()
        await clinician.page.keyboard.press("Tab")
        await expect(clinician.page.get_by_role("button", name="Mute", exact=True)).to_be_focused()


async def test_the_start_page_fills_its_rows_with_one_request(served: Served, playwright: Playwright) -> None:
    async with person(playwright) as clinician:
        await sign_in(clinician, served)
        await start_call(clinician, "Start Call")
        asked: list[str] = []
        clinician.page.on("request", lambda request: asked.append(request.url.removeprefix(served.url)))
        await clinician.page.goto(f"{served.url}/")
        await expect(clinician.page.locator(".session-name").first).to_have_text(CLIENT_NAME)
        assert [path for path in asked if path.startswith("/v1/sessions")] == ["/v1/sessions?limit=12"]


async def test_the_inbox_says_generating_while_the_note_is_made(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        session = await recording(clinician, client, served)
        final = clinician.page.locator(".caption[data-final='true']")
        await expect(final.first).to_be_attached(timeout=60_000)
        await clinician.press("Finish and Generate Note")
        await clinician.sees("Draft ready", timeout_s=90)

        # the states on the way there, as the service lists them one after the other
        await clinician.page.goto(f"{served.url}/notes/{session}")
        row = clinician.page.locator(f".inbox-item[data-session='{session}'] .inbox-state")
        await expect(row).to_have_text("Draft")
        await clinician.page.evaluate(LISTED)
        for note, transcript, words in (
            ("absent", "live", "Generating..."),
            ("absent", "ready", "Generating..."),
            ("queued", "ready", "Generating..."),
            ("generating", "ready", "Generating..."),
            ("absent", "absent", "Nothing recorded"),
        ):
            said = await clinician.page.evaluate(
                "async ([id, state, transcript]) => {"
                "  window.listed = { id, changes: { state, transcript, reason: null } };"
                "  await document.querySelector('qn-inbox').refresh();"
                "  return document.querySelector(`.inbox-item[data-session='${id}'] .inbox-state`).textContent;"
                "}",
                [session, note, transcript],
            )
            assert said == words, (note, transcript)


async def test_a_pause_for_two_reasons_is_one_row(served: Served, playwright: Playwright) -> None:
    def gap(start_ms: int, end_ms: int, *reasons: str) -> dict[str, object]:
        row = {"participant_id": None, "reason": "paused", "start_ms": start_ms, "end_ms": end_ms}
        return row | {"pause_reasons": list(reasons)}

    async with person(playwright) as somebody:
        await somebody.page.goto(f"{served.url}/signin")
        touching = [
            gap(10_000, 18_400, "clinician"),
            gap(18_400, 18_420, "clinician", "consent"),
            gap(18_420, 30_000, "consent"),
        ]
        rows = await somebody.page.evaluate(GAPS, [*touching, gap(60_000, 60_300, "network")])
        assert rows == [
            "Paused by you, until all agree, 0:10 to 0:30",
            "Paused because of the connection, at 1:00",
        ]


async def test_what_a_third_person_answers_is_said_by_name_and_is_true(served: Served, playwright: Playwright) -> None:
    states = [
        ("consent_pending", "requested"),
        ("off", "declined"),
        ("capturing", "declined"),
        ("discarded", "declined"),
    ]
    async with person(playwright) as somebody:
        await somebody.page.goto(f"{served.url}/signin")
        pending, declined, running, discarded = await somebody.page.evaluate(THEIRS, states)
        assert pending == ["Waiting for Ana Lopez's answer", ""]
        assert declined[1].startswith("Ana Lopez declined" + "Nothing is recorded.")
        assert declined[1].endswith("Type a summary instead")
        assert "Nothing is recorded" not in running[1]
        assert running[1].startswith("Ana Lopez declined" + "Their sound is not recorded.")
        assert discarded[1] == ""
