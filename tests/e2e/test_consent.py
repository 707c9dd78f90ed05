"""What a participant is told before they answer, and that their yes is to the text they read."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from playwright.async_api import Locator, Playwright, ViewportSize, expect

from tests.e2e.axe import accessible
from tests.e2e.browsers import PHONE, Person, person
from tests.e2e.conftest import Served
from tests.e2e.steps import CLIENT_NAME, discard, let_in, session_of, sign_in, start_call, two_people

INVITED = {
    "clinician": "Demo Clinician",
    "client": CLIENT_NAME,
    "guardian": "Sam Reyes",
    "interpreter": "Ana Lopez",
    "guest": "Kim Ito",
}
SMALL = ViewportSize(width=390, height=664)
EARLIER = "An earlier text."
EARLIER_WELCOME = """
(() => {
  const Real = WebSocket;
  let first = true;
  const earlier = (event) => {
    const message = JSON.parse(event.data);
    if (message.type !== "welcome" || !first) return event;
    first = false;
    message.consent_wording = { version: "built-in-00000000", text: "An earlier text." };
    return new MessageEvent("message", { data: JSON.stringify(message) });
  };
  window.WebSocket = class extends Real {
    constructor(...given) { super(...given); window.socket = this; }
    addEventListener(type, listener) {
      super.addEventListener(type, type === "message" ? (event) => listener(earlier(event)) : listener);
    }
  };
})()
"""
"""The page's first welcome holds another text, as of a service that was another version then."""


def answers(served: Served, session: str) -> list[tuple[str, str, str]]:
    """Decision, version and hash of each answer of the client that was recorded, in order."""
    query = (
        "SELECT decision, text_version, text_sha256 FROM consents JOIN participants"
        " ON participants.session_id = consents.session_id AND participants.id = participant_id"
        " WHERE consents.session_id = ? AND role = 'client' ORDER BY at, consents.id"
    )
    with closing(sqlite3.connect(f"file:{served.data_dir / 'quietnote.db'}?mode=ro", uri=True)) as db:
        return [
            (str(decision), str(version), str(digest)) for decision, version, digest in db.execute(query, [session])
        ]


async def text_of(question: Locator) -> str:
    """The text that a dialog shows."""
    paragraphs = question.locator(".dialog-body p:not(.second):not(.changed)")
    return "\n\n".join(await paragraphs.all_inner_texts())


async def scrolls_and_says_so(client: Person, question: Locator) -> None:
    """On a small phone: from its beginning on, the text says that it goes on, and no button lies over it."""
    await client.page.set_viewport_size(SMALL)
    words, buttons = question.locator(".dialog-words"), question.locator(".dialog-actions")
    await expect(words).to_have_attribute("data-more", "")
    await expect(question.get_by_role("heading")).to_be_in_viewport(ratio=1)
    text_box, button_box = await words.bounding_box(), await buttons.bounding_box()
    assert text_box is not None
    assert button_box is not None
    assert text_box["y"] + text_box["height"] <= button_box["y"] + 1
    await client.page.keyboard.press("End")
    await expect(words).not_to_have_attribute("data-more", "")
    await expect(question.get_by_text("Nothing is recorded unless you agree.")).to_be_in_viewport(ratio=1)
    await client.page.set_viewport_size(PHONE)


def question_of(client: Person) -> Locator:
    return client.page.get_by_role("dialog", name="May this session be written down?")


async def test_the_waiting_room_names_everybody_who_is_invited(served: Served, playwright: Playwright) -> None:
    body = {
        "clinic_id": "demo",
        "room": {"transport": "builtin"},
        "participants": [{"id": role, "role": role, "display_name": name} for role, name in INVITED.items()],
    }
    async with person(playwright, viewport=PHONE) as somebody:
        made = await somebody.page.request.post(
            f"{served.url}/v1/sessions", data=body, headers={"Authorization": "Bearer dev"}
        )
        links = {one["role"]: one["invite_url"] for one in json.loads(await made.text())["join"]}
        for role, named in (
            (
                "client",
                [
                    "Demo Clinician, your clinician",
                    "Sam Reyes, your parent or guardian",
                    "Ana Lopez, an interpreter",
                    "Kim Ito, a guest",
                ],
            ),
            (
                "interpreter",
                [
                    "Demo Clinician, the clinician",
                    f"{CLIENT_NAME}, the client",
                    "Sam Reyes, a parent or guardian",
                    "Kim Ito, a guest",
                ],
            ),
        ):
            await somebody.page.goto("about:blank")
            await somebody.page.goto(links[role])
            lines = somebody.page.locator(".listening li")
            await expect(lines).to_have_count(len(named) + 1)
            assert (await lines.all_inner_texts())[:-1] == named
            await expect(lines.last).to_contain_text("No program listens to you unless you agree.")
            await accessible(somebody)
        assert somebody.complaints == []


async def test_a_yes_is_to_the_text_that_was_read(
    served: Served, playwright: Playwright, microphones: dict[str, Path]
) -> None:
    async with two_people(playwright, microphones) as (clinician, client):
        await client.page.add_init_script(EARLIER_WELCOME)
        await sign_in(clinician, served)
        await let_in(clinician, client, await start_call(clinician, "Start Call with Transcription"))
        session = session_of(clinician)
        question = question_of(client)
        agree = question.get_by_role("button", name="I agree to recording")

        # a yes to a text that does not hold here is none
        await expect(question).to_contain_text(EARLIER)
        await agree.click()
        await expect(client.page.get_by_text("That did not work")).to_be_attached()
        assert answers(served, session) == []

        # the text that holds comes with the next welcome: it is asked again while the question is open
        await expect(question).to_contain_text(EARLIER)
        await client.page.evaluate("socket.close()")
        await expect(question).to_contain_text("This text has changed. Please read it again.")
        await expect(question).to_have_count(1)
        read = await text_of(question)
        assert "you and your clinician" in read
        await scrolls_and_says_so(client, question)
        await agree.click()
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        digest = hashlib.sha256(read.encode()).hexdigest()
        [(decision, version, recorded)] = answers(served, session)
        assert (decision, recorded) == ("granted", digest)
        assert version.endswith(digest[:8])

        # after a withdrawal the text is read again before a yes, and letting it be changes nothing
        await client.press("Withdraw consent")
        await client.press("Back to the session")
        await expect(client.page.get_by_role("button", name="I agree to recording")).to_be_focused()
        await client.press("I agree to recording")
        await expect(question).to_be_visible()
        assert await text_of(question) == read
        await client.page.keyboard.press("Escape")
        await expect(question).to_have_count(0)
        await expect(client.page.get_by_role("button", name="I agree to recording")).to_be_focused()
        assert [decision for decision, *_ in answers(served, session)] == ["granted", "revoked"]
        await client.press("I agree to recording")
        await agree.click()
        for somebody in (clinician, client):
            await somebody.sees("Recording")
        assert answers(served, session)[2:] == [("granted", version, digest)]
        await discard(clinician)
        assert clinician.complaints == client.complaints == []
