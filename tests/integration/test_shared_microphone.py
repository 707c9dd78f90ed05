"""Two named persons at one microphone: each answers, both must agree, nothing said there is given to one of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from tests.integration.call_world import CLIENT, CLINICIAN, World, world
from tests.integration.group_world import Group, clinic_says, group

SAM, KIM = "sam", "kim"
ROBIN: dict[str, Any] = {"id": CLIENT, "role": "client", "display_name": "Robin"}
PARENT: dict[str, Any] = {"id": SAM, "role": "guardian", "display_name": "Sam", "shares_with": CLIENT}
OTHER: dict[str, Any] = {"id": KIM, "role": "client", "display_name": "Kim"}
SPOKEN = (4_000, 12_700)


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as made:
        yield made


def spoken(place: World) -> dict[str, Recording]:
    return {who: place.cut(who, SPOKEN) for who in (CLINICIAN, CLIENT)}


async def until_said(call: Group, page: str, speakers: list[str]) -> None:
    peer = call.pages[page]
    await peer.until(
        lambda: any(one["speakers"] == speakers and one["final"] for one in call.captions(page)), "a final", 60
    )


@pytest.mark.timeout(120)
async def test_a_parent_and_a_child_at_one_microphone(place: World) -> None:
    async with group(place, [ROBIN, PARENT], spoken(place)) as call:
        await call.enter(CLINICIAN, CLIENT)
        await call.start(CLINICIAN, CLIENT)
        await call.shows(CLINICIAN, SAM, "requested")
        await call.shows(CLIENT, SAM, "requested")
        await call.answer(CLIENT, "granted")
        await call.shows(CLIENT, CLIENT, "granted")
        await call.becomes("consent_pending")
        assert await call.captured(CLINICIAN) == await call.captured(CLIENT) == 0
        await call.answer(CLIENT, "granted", SAM)
        await call.becomes("capturing")
        call.play(CLINICIAN, CLIENT)
        await until_said(call, CLINICIAN, [CLIENT, SAM])
        await until_said(call, CLIENT, [CLINICIAN])
        assert {one["participant_id"] for one in call.captions(CLINICIAN)} == {None, CLINICIAN}

        # either may stop it for both, and a yes of the other opens nothing
        ack = await call.answer(CLIENT, "revoked", SAM)
        await call.becomes("paused", "consent")
        assert ack["state"] == "paused"
        await call.answer(CLIENT, "granted", SAM)
        await call.becomes("capturing")
        await call.answer(CLIENT, "revoked")
        await call.becomes("paused", "consent")
        await call.answer(CLIENT, "granted")
        await call.becomes("capturing")

        records = (await call.http(CLIENT, "GET", f"/participants/{SAM}/consent")).json()
        shown = {one["participant_id"]: one["consent_wording"] for one in call.pages[CLIENT].welcome["also_here"]}[SAM]
        first = records["answers"][0]
        assert (first["decision"], first["by"], first["language"]) == ("granted", CLIENT, "en")
        assert (first["text_version"], first["text_sha256"]) == (
            shown["version"],
            hashlib.sha256(shown["text"].encode()).hexdigest(),
        )
        assert shown["text"] != call.pages[CLIENT].welcome["consent_wording"]["text"], "a parent is asked as a parent"
        assert [one["decision"] for one in records["answers"]] == ["granted", "revoked", "granted"]

        await call.clinician.control("finish")
        session = await place.until(call.id, "note", "draft")
        await labelled_as_shared(place, call.id, session["note_id"])
        await one_takes_it_back_afterwards(place, call)


async def labelled_as_shared(place: World, session_id: str, note_id: str) -> None:
    transcript = await place.get(f"/v1/sessions/{session_id}/transcript")
    shared = [one for one in transcript["segments"] if one["attribution"] == "shared"]
    assert shared
    for one in shared:
        assert (one["participant_id"], one["role"], one["display_name"]) == (None, None, "Robin or Sam")
        assert one["speakers"] == [CLIENT, SAM]
    own = [one for one in transcript["segments"] if one["attribution"] == "own"]
    assert {one["participant_id"] for one in own} == {CLINICIAN}
    note = await place.get(f"/v1/notes/{note_id}")
    ids = {one["id"] for one in shared}
    sentences = [one for section in note["sections"] for one in section["sentences"]]
    theirs = [one for one in sentences if ids & {item["source_id"] for item in one["evidence"]}]
    assert theirs
    assert all("client or guardian" in one["text"].lower() for one in theirs), [one["text"] for one in theirs]


async def one_takes_it_back_afterwards(place: World, call: Group) -> None:
    """Each has a link of their own; by one of them everything goes."""
    made = await call.http(CLIENT, "POST", f"/participants/{SAM}/consent-link")
    assert made.status_code == 201
    links = (call.join[SAM]["consent_url"], made.json()["consent_url"], call.join[CLIENT]["consent_url"])
    sent = [{"session_id": call.id, "code": link.split("#")[1]} for link in links]
    names = [(await place.http.post("/v1/my-consent", json=one)).json()["participant"]["id"] for one in sent]
    assert names == [SAM, SAM, CLIENT]
    answer = await place.http.post("/v1/my-consent/withdraw", json=sent[1])
    assert (answer.status_code, answer.json()["consent"]) == (200, "revoked")
    session = await place.until(call.id, "transcript", "purged")
    assert (session["withdrawn_by"], session["note"]) == (SAM, "discarded")
    consents = {one["id"]: one["consent"] for one in session["participants"]}
    assert consents == {CLINICIAN: "granted", CLIENT: "granted", SAM: "revoked"}


async def test_declared_in_the_call_it_is_withheld_until_the_other_agreed(place: World) -> None:
    async with group(place, [ROBIN], spoken(place)) as call:
        await call.enter(CLINICIAN, CLIENT)
        await call.start(CLINICIAN, CLIENT)
        await call.answer(CLIENT, "granted")
        await call.becomes("capturing")
        call.play(CLINICIAN, CLIENT)
        await until_said(call, CLINICIAN, [CLIENT])
        before = call.pages[CLIENT].welcome["consent_wording"]
        body = {"id": SAM, "role": "client", "display_name": "Sam"}
        made = await call.http(CLINICIAN, "POST", f"/participants/{CLIENT}/shared", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["participant"]["shares_with"] == CLIENT
        await call.becomes("paused", "consent")
        await call.shows(CLIENT, SAM, "requested")
        told = call.wording(CLIENT)
        assert told["consent_wording"]["version"] != before["version"], "who is heard is another"
        assert [one["participant_id"] for one in told["also_here"]] == [SAM]

        await call.answer(CLIENT, "declined", SAM)
        await call.shows(CLINICIAN, SAM, "declined")
        await call.becomes("paused", "consent")
        with pytest.raises(CallFailed, match="forbidden"):
            await call.pages[CLIENT].control("consent", consent={"decision": "granted", "participant_id": CLINICIAN})
        await call.answer(CLIENT, "granted", SAM)
        await call.becomes("capturing")
        # what was said before they were named may have been theirs too
        transcript = await place.get(f"/v1/sessions/{call.id}/transcript")
        names = {one["display_name"] for one in transcript["segments"]}
        assert "Robin or Sam" in names
        assert "Robin" not in names
        assert {one["role"] for one in transcript["segments"]} <= {"clinician", "client"}
        await call.clinician.control("discard")
        refused = await call.http(CLINICIAN, "POST", f"/participants/{CLIENT}/shared", json=body | {"id": "late"})
        assert (refused.status_code, refused.json()["slug"]) == (409, "invalid-transition")


async def test_while_others_agreed_only_the_shared_lane_is_withheld(place: World) -> None:
    await clinic_says(place, late_joiner="withhold_lane")
    async with group(place, [ROBIN, PARENT, OTHER]) as call:
        await call.enter(CLINICIAN, CLIENT, KIM)
        await call.start(CLINICIAN, CLIENT, KIM)
        await call.answer(KIM, "granted")
        await call.becomes("capturing")
        await call.answer(CLIENT, "granted")
        await call.answer(CLIENT, "declined", SAM)
        await call.shows(CLINICIAN, SAM, "declined")
        call.play(CLINICIAN, CLIENT, KIM)

        def heard(who: str) -> bool:
            return bool(call.clinician.ledger.get(who, {}).get("captured_ms", 0))

        await call.clinician.until(lambda: heard(KIM) and heard(CLINICIAN), "the others to be captured")
        assert not heard(CLIENT), "one of the two said no"
        # a client reads their own answers, and of nobody else's page
        assert call.row(KIM, SAM)["consent"] is None
        assert call.row(CLIENT, SAM)["consent"] == "declined"
        assert call.row(CLIENT, KIM)["consent"] is None
        assert (await call.http(KIM, "GET", f"/participants/{SAM}/consent")).status_code == 403
        read = (await call.http(CLIENT, "GET", "")).json()
        assert [one["id"] for one in read["participants"]] == [CLIENT, SAM]
        await call.clinician.control("discard")


async def test_their_own_token_answers_and_opens_no_page(place: World) -> None:
    async with group(place, [ROBIN, PARENT]) as call:
        assert call.join[SAM]["invite_url"] is None
        token = call.join[SAM]["token"]
        page = Peer(place.url, call.id, token, recording=place.cut(CLIENT, (0, 400)), origin_s=time.monotonic())
        with pytest.raises(CallFailed):
            await page.join()
        await page.leave()
        await call.enter(CLINICIAN, CLIENT)
        await call.start(CLINICIAN, CLIENT)
        await call.answer(CLIENT, "granted")
        refused = await call.http(SAM, "PUT", f"/participants/{CLIENT}/consent", json={"decision": "revoked"})
        assert refused.status_code == 403
        given = await call.http(SAM, "PUT", f"/participants/{SAM}/consent", json={"decision": "granted"})
        assert given.status_code == 200
        await call.becomes("capturing")
        await call.clinician.control("discard")


async def test_who_cannot_share(place: World) -> None:
    cases: dict[str, list[dict[str, Any]]] = {
        "Only clients and guardians": [ROBIN, PARENT | {"role": "interpreter"}],
        "Only clients and": [ROBIN, PARENT | {"shares_with": CLINICIAN}],
        "must name a participant": [ROBIN, PARENT | {"shares_with": "nobody"}],
        "at another person's microphone themselves": [ROBIN, PARENT, OTHER | {"shares_with": SAM}],
        "At most 4": [ROBIN, *(PARENT | {"id": f"p{n}"} for n in range(4))],
    }
    for says, people in cases.items():
        invited = [{"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"}, *people]
        answer = await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": invited})
        assert (answer.status_code, answer.json()["slug"]) == (422, "config-invalid"), answer.text
        assert says in answer.json()["detail"]
