"""One's own copy of what one agreed to, and the withdrawal that its link is good for: through the doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from bot.bench.forensics import said_in
from bot.control.api.mycopy import PER_ADDRESS, PER_PERSON
from bot.demo.packets import Recording
from bot.events import Role
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration import api_world
from tests.integration.api_world import DEV, bearer, problem_of, token_of
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world

api = api_world.world


def carried(link: str) -> dict[str, str]:
    """What a page sends of its own address."""
    address, code = link.split("#")
    assert address.rsplit("/", 2)[1] == "my-consent"
    return {"session_id": address.rsplit("/", 1)[1], "code": code}


def link_of(made: dict[str, Any], role: Role) -> dict[str, str]:
    return carried(next(join["consent_url"] for join in made["join"] if join["role"] == role.value))


# -- the link ----------------------------------------------------------------------------------------------------------


async def test_the_link_opens_ones_own_copy_and_nothing_else(api: api_world.World) -> None:
    made = await api.session()
    link, session_id = link_of(made, Role.CLIENT), made["session"]["id"]
    copy = (await api.client.post("/v1/my-consent", json=link)).json()
    assert (copy["participant"]["id"], copy["consent"], copy["withdrawal"]) == ("cl-1", "unknown", "never_agreed")
    assert copy["answers"] == []
    for path in (f"/v1/sessions/{session_id}", f"/v1/sessions/{session_id}/transcript", "/v1/inbox", "/v1/notes"):
        problem_of(await api.client.get(path, headers=bearer(link["code"])), 401, "unauthorized")
    invite = made["join"][1]["invite_url"].split("#")[1]
    other = (await api.session())["session"]["id"]
    for wrong in ({"code": invite}, {"code": link["code"][:-2] + "AA"}, {"session_id": other}):
        for path in ("/v1/my-consent", "/v1/my-consent/withdraw"):
            problem_of(await api.client.post(path, json=link | wrong), 404, "not-found")
    assert said_in(Path(api.services.settings.data_dir), link["code"]) == []


async def test_it_outlives_every_session_token_and_ends_by_itself(api: api_world.World) -> None:
    made = await api.session()
    token, path = bearer(token_of(made, Role.CLIENT)), f"/v1/sessions/{made['session']['id']}/participants"
    answer = await api.client.post(f"{path}/cl-1/consent-link", headers=token)
    links = [link_of(made, Role.CLIENT), carried(answer.json()["consent_url"])]
    assert links[0] != links[1]
    problem_of(await api.client.post(f"{path}/dr-1/consent-link", headers=token), 403, "forbidden")
    api.clock.advance(15 * 24 * 3600.0)
    problem_of(await api.client.post(f"{path}/cl-1/consent-link", headers=token), 401, "unauthorized")
    for link in links:
        assert (await api.client.post("/v1/my-consent", json=link)).status_code == 200
    api.clock.advance(timedelta(days=15).total_seconds())
    for link in links:
        problem_of(await api.client.post("/v1/my-consent", json=link), 404, "not-found")


@pytest.mark.parametrize("recorded", [False, True])
async def test_consent_on_file_that_came_to_its_end_reads_so_though_nobody_is_in_the_room(
    api: api_world.World, recorded: bool
) -> None:
    _, clinic = await api.services.clinics.current("demo")
    policy = clinic.consent.model_copy(update={"on_file": True})
    await api.services.clinics.save(clinic.model_copy(update={"consent": policy}), author="test")
    until = (api.clock.now() + timedelta(hours=1)).isoformat()
    filed = {
        "method": "on_file", "attested_by": "dr-1", "text_version": "1", "date": "2020-01-05", "document_id": "D-1",
    }  # fmt: skip
    client = {"id": "cl-1", "role": "client", "display_name": "Robin", "consent": filed | {"until": until}}
    made = await api.session(participants=[{"id": "dr-1", "role": "clinician", "display_name": "Ellis"}, client])
    link, path = link_of(made, Role.CLIENT), f"/v1/sessions/{made['session']['id']}"
    if recorded:
        held: dict[str, Any] = {"capture": "capturing", "audio": "held", "transcript": "live"}
        await api.store.change(made["session"]["id"], "capture.started", **held, captured_from=api.clock.now())

    async def read() -> tuple[set[str], str]:
        """Their consent, wherever it is read, and what the link can do."""
        session = (await api.client.get(path, headers=DEV)).json()
        listed = (await api.client.get("/v1/sessions", headers=DEV)).json()["items"][0]
        own = (await api.client.get(path, headers=bearer(token_of(made, Role.CLIENT)))).json()
        answers = (await api.client.get(f"{path}/participants/cl-1/consent", headers=DEV)).json()
        copy = (await api.client.post("/v1/my-consent", json=link)).json()
        people = [one for read in (session, listed, own) for one in read["participants"] if one["id"] == "cl-1"]
        return {*(one["consent"] for one in people), answers["consent"], copy["consent"]}, copy["withdrawal"]

    api.clock.advance(3599)
    assert await read() == ({"granted"}, "possible")
    api.clock.advance(1)
    assert await read() == ({"expired"}, "possible" if recorded else "ended")


async def test_tries_are_limited(api: api_world.World) -> None:
    made = await api.session()
    wrong = {"session_id": made["session"]["id"], "code": "x" * 32}
    got = [(await api.client.post("/v1/my-consent", json=wrong)).status_code for _ in range(PER_ADDRESS.tries + 1)]
    assert got == [404] * PER_ADDRESS.tries + [429]
    path = f"/v1/sessions/{made['session']['id']}/participants/cl-1/consent-link"
    token = bearer(token_of(made, Role.CLIENT))
    got = [(await api.client.post(path, headers=token)).status_code for _ in range(PER_PERSON.tries + 1)]
    assert got == [201] * PER_PERSON.tries + [429]


# -- a spoken call -----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("mine")) as made:
        yield made


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}


async def spoken(call: Call) -> list[str]:
    """Both speak until words are final; what was said."""
    await call.begin()
    call.play()

    def said() -> list[str]:
        news = [heard.message for heard in call.clinician.heard]
        return [m["text"] for m in news if m["type"] == "caption" and m["final"] and m["text"]]

    await call.clinician.until(lambda: bool(said()), "words", 60)
    return said()


async def link_for(place: World, session_id: str) -> dict[str, str]:
    token = place.service.services.tokens.issue(
        session_id=session_id, participant_id=CLIENT, role=Role.CLIENT, clinic_id="demo"
    )
    path = f"/v1/sessions/{session_id}/participants/{CLIENT}/consent-link"
    return carried((await place.http.post(path, headers=bearer(token))).json()["consent_url"])


async def nothing_left(place: World, session_id: str, said: list[str]) -> None:
    session = await place.until(session_id, "transcript", "purged")
    session = await place.until(session_id, "audio", "erased")
    assert session["withdrawn_by"] == CLIENT
    answer = await place.http.get(f"/v1/sessions/{session_id}/transcript")
    problem_of(answer, 410, "transcript-purged")
    keys = load_public_keys((await place.http.get("/.well-known/quietnote-receipt-keys.json")).content)
    receipts = (await place.get(f"/v1/sessions/{session_id}/receipts"))["items"]
    verdicts = [verify_receipt((await place.http.get(one["href"])).content, keys) for one in receipts]
    assert sorted((one.statement["kind"], one.statement.get("reason")) for one in verdicts if one.valid) == [
        ("audio", None), ("transcript", "withdrawn"),
    ]  # fmt: skip
    assert said_in(place.data_dir, *said) == []
    items = [one for one in (await place.get("/v1/inbox"))["items"] if one["session_id"] == session_id]
    assert [(one["kind"], one["reason"]) for one in items if not one["read"]] == [
        ("consent_withdrawn", "consent-revoked")
    ]


async def post(place: World, path: str, link: dict[str, str]) -> httpx.Response:
    """As somebody's browser, without a key."""
    return await place.http.post(path, json=link, headers={"Authorization": ""})


@pytest.mark.soak
@pytest.mark.asyncio(loop_scope="module")
async def test_in_the_call_one_word_over_the_data_channel_destroys_it_all(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        said = await spoken(call)
        link = await link_for(place, call.session_id)
        asked = {"decision": "revoked", "destroy": True}
        ack = await call.client.control("consent", by_channel=True, consent=asked)
        assert ack["state"] == "discarded"
        for peer in (call.clinician, call.client):
            await peer.until(lambda peer=peer: peer.state["capture"] == "discarded", "the end")  # type: ignore[misc]
        assert call.clinician.state["withdrawn_by"] == CLIENT
        assert "withdrawn_by" not in call.client.state
        await nothing_left(place, call.session_id, said)
        copy = (await post(place, "/v1/my-consent", link)).json()
        again = (await post(place, "/v1/my-consent/withdraw", link)).json()
    assert (copy["withdrawal"], again) == ("withdrawn", copy)
    assert [one["decision"] for one in copy["answers"]] == ["granted", "revoked"]


@pytest.mark.asyncio(loop_scope="module")
async def test_after_the_call_the_link_shows_what_was_agreed_to_and_destroys_the_draft(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        said = await spoken(call)
        wording = call.client.welcome["consent_wording"]
        link = await link_for(place, call.session_id)
        await call.clinician.control("finish")
        session = await place.until(call.session_id, "note", "draft")
    copy = (await post(place, "/v1/my-consent", link)).json()
    [answer] = copy["answers"]
    assert (answer["text"], answer["text_version"]) == (wording["text"], wording["version"])
    assert (copy["withdrawal"], copy["link_until"]) == ("possible", None)
    happened = copy["happened"]
    assert (happened["audio"], happened["transcript"], happened["note"]) == ("erased", "ready", "draft")
    assert happened["recorded_from"] < happened["recorded_to"] < happened["transcript_gone_by"]
    assert not any(text in str(copy) for text in said)

    after = (await post(place, "/v1/my-consent/withdraw", link)).json()
    assert (after["withdrawal"], after["consent"], after["happened"]["note"]) == ("withdrawn", "revoked", "discarded")
    assert after["happened"]["transcript_destroyed_at"]
    problem_of(await place.http.get(f"/v1/notes/{session['note_id']}"), 404, "not-found")
    await nothing_left(place, call.session_id, said)
    [line] = [one for one in (await place.get("/v1/notes"))["items"] if one["session_id"] == call.session_id]
    assert (line["state"], line["withdrawn"], line["note_id"]) == ("discarded", True, None)
    refused = await place.http.post(f"/v1/sessions/{call.session_id}/note")
    problem_of(refused, 409, "invalid-transition")


@pytest.mark.soak
@pytest.mark.asyncio(loop_scope="module")
async def test_while_the_last_words_are_written_it_stops_in_order(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        said = await spoken(call)
        link = await link_for(place, call.session_id)
        await call.clinician.control("finish")
        after = (await post(place, "/v1/my-consent/withdraw", link)).json()
        assert (after["withdrawal"], after["happened"]["transcript"]) == ("withdrawn", "purged")
        await nothing_left(place, call.session_id, said)
        session = await place.until(call.session_id, "bot", "done")
    assert (session["note"], session["capture"]) == ("discarded", "finished")
