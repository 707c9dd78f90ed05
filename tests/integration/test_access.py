"""Every cell of the table of who may do what, tried through its real door of one running service."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bot.demo.packets import RTP_RATE_HZ, Recording
from bot.demo.peer import BOT, Peer
from bot.events import CaptureState, EndReason, Role
from tests import reads
from tests.access import (
    ACTIONS,
    ALOUD,
    ATTESTS,
    CHANNEL,
    COPY,
    DESTROY,
    DOORS,
    ON_FILE,
    OTHERS,
    OWN,
    PART,
    PLATFORM,
    READ_OTHERS,
    READ_OWN,
    SHARE,
    SOCKET,
    TABLE,
    TOKEN,
    WRITE,
    YES,
    Row,
)
from tests.integration.api_world import draft
from tests.integration.call_world import World, world

CLINICIAN, CLIENT = Role.CLINICIAN, Role.CLIENT
NEXT = dict(zip(Role, (*list(Role)[1:], CLINICIAN), strict=True))
"""Somebody else, for each."""
QUIET = Recording(np.zeros((RTP_RATE_HZ // 5, 1), np.int16))
ANSWER_S = 20
TAKEN_BACK = {"decision": "revoked", "destroy": True}
OF_THE_NOTE = {"audio", "transcript", "note", "note_id", "withdrawn_by", "part"}
OF_THE_SESSION = {
    "clinic_id", "clinic_version", "clinician_id", "room", "mode", "template", "language", "appointment",
    "failure_slug", "failure_cause", "making", "support_contact", "lanes", "warnings", "created_at", "call_started_at",
    "captured_from", "ended_at",
    "transcript_ready_at", "audio_erased_at", "draft_ready_at", "purge_at", "erase_by",
}  # fmt: skip
"""What clinicians read besides what everybody reads."""


@dataclass
class Session:
    """A session with somebody of every role, each called by it."""

    place: World
    id: str
    tokens: Mapping[str, str]
    peers: Mapping[Role, Peer]
    note_id: str = ""

    async def http(self, door: str, role: Role, method: str, path: str, **sent: Any) -> httpx.Response:
        headers = {} if door == PLATFORM else {"Authorization": f"Bearer {self.tokens[role.value]}"}
        return await self.place.http.request(method, path, headers=headers, **sent)

    async def message(self, door: str, role: Role, message: Mapping[str, Any]) -> str:
        """Say it by a channel or a socket; what came of it."""
        peer, mid = self.peers[role], uuid.uuid4().hex
        sent = dict(message) | {"message_id": mid}
        before = len(peer.heard)
        if door == CHANNEL:
            assert peer._links[BOT].say(sent)
        else:
            await peer._send(sent)
            if sent["type"] == "admit":  # only its refusal is answered
                await peer._send({"type": "ping"})

        def answer() -> dict[str, Any] | None:
            news = [dict(heard.message) for heard in list(peer.heard)[before:]]
            acks = [m for m in news if m["type"] == "ack" and m["message_id"] == mid]
            return next(iter(acks + [m for m in news if m["type"] in {"problem", "pong"}]), None)

        await peer.until(lambda: answer() is not None, f"an answer to {sent['type']}", ANSWER_S)
        got = answer()
        assert got is not None
        if "problem" in got:
            return str(got["problem"]["slug"])
        if sent["type"] != "status":
            return YES
        states = [set(heard.message) for heard in list(peer.heard)[before:] if heard.message["type"] == "state"]
        assert states
        return whole_or_part(set().union(*states), reads.STATE, OF_THE_NOTE)


def whole_or_part(told: set[str], part: set[str], rest: set[str]) -> str:
    """What was read: all of it, what everybody may read, or something between, which no cell of the table says."""
    return {frozenset(part): PART, frozenset(part | rest): YES}.get(frozenset(told), f"told {sorted(told)}")


async def follow(session: Session, door: str, role: Role) -> str:
    """The first state of the event stream: whole, or a part."""
    path = f"/v1/sessions/{session.id}/events"
    headers = {} if door == PLATFORM else {"Authorization": f"Bearer {session.tokens[role.value]}"}
    async with asyncio.timeout(ANSWER_S), session.place.http.stream("GET", path, headers=headers) as stream:
        if stream.status_code != 200:
            return str(json.loads(await stream.aread())["slug"])
        kind = ""
        async for line in stream.aiter_lines():
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            if kind == "state" and line.startswith("data: "):
                return whole_or_part(set(json.loads(line.removeprefix("data: "))), reads.STREAM_STATE, OF_THE_NOTE)
    raise AssertionError("the stream ended without a state")


def request(session: Session, door: str, role: Role, name: str) -> tuple[str, str, Any]:
    """Method, path and body by which HTTP is asked."""
    path = f"/v1/sessions/{session.id}"
    if name in ACTIONS:
        return "POST", f"{path}/capture", {"action": name} | ({"clinician_id": role.value} if door == PLATFORM else {})
    if name in OWN | OTHERS:
        about = role if name in OWN else NEXT[role]
        decision = (OWN | OTHERS)[name]
        return "PUT", f"{path}/participants/{about.value}/consent", {"decision": decision}
    if name == DESTROY:
        return "PUT", f"{path}/participants/{role.value}/consent", TAKEN_BACK
    if name == COPY:
        return "POST", f"{path}/participants/{role.value}/consent-link", None
    if name == SHARE:
        body = {"role": "guardian", "display_name": "Sam"}
        return "POST", f"{path}/participants/{CLIENT.value}/shared", body
    if name in {READ_OWN, READ_OTHERS}:
        about = role if name == READ_OWN else NEXT[role]
        return "GET", f"{path}/participants/{about.value}/consent", None
    if name == ALOUD:
        answer = {"decision": "granted", "method": "verbal_attested"}
        return "PUT", f"{path}/participants/{NEXT[role].value}/consent", answer
    if name == ON_FILE:
        return "POST", "/v1/sessions", attested_by(role)
    return {
        "admit from the waiting room": ("POST", f"{path}/participants/{role.value}/admit", None),
        "ask for the status": ("GET", f"{path}/status", None),
        "read the session": ("GET", path, None),
        "read the transcript": ("GET", f"{path}/transcript", None),
        "add text for the note": ("POST", f"{path}/inputs", {"kind": "observation", "text": "Came on foot."}),
        "read that text again": ("GET", f"{path}/inputs", None),
        WRITE: ("POST", f"{path}/note", None),
        "read the note": ("GET", f"/v1/notes/{session.note_id}", None),
        "sign the note": ("POST", f"/v1/notes/{session.note_id}/sign", None),
        "read the receipts": ("GET", f"{path}/receipts", None),
        "read the inbox": ("GET", "/v1/inbox", None),
        "see to the clinic's webhooks": ("GET", "/v1/clinics/demo/webhooks", None),
    }[name]


def _read(session: Mapping[str, Any]) -> str:
    """What was read of a session by HTTP."""
    return whole_or_part(set(session), reads.SESSION, OF_THE_NOTE | OF_THE_SESSION)


def attested_by(role: Role) -> dict[str, Any]:
    """A session in which somebody of that role vouches for the client's consent."""
    people: list[dict[str, Any]] = [{"id": one.value, "role": one.value, "display_name": one.value} for one in Role]
    for one in people:
        if one["id"] == CLIENT.value:
            one["consent"] = {
                "method": "on_file", "attested_by": role.value, "text_version": "1",
                "date": "2020-01-05", "document_id": "D-1",
            }  # fmt: skip
    return {"clinic_id": "demo", "participants": people}


async def ask(session: Session, door: str, role: Role, name: str) -> str:
    """Try one cell: ``yes``, ``a part``, or the slug of the refusal."""
    if door in {PLATFORM, TOKEN}:
        if name == "follow its events":
            return await follow(session, door, role)
        method, path, body = request(session, door, role, name)
        answer = await session.http(door, role, method, path, json=body)
        if answer.is_error:
            return str(answer.json()["slug"])
        return _read(answer.json()) if name == "read the session" else YES
    if name in ACTIONS:
        return await session.message(door, role, {"type": name})
    if name in OWN:
        return await session.message(door, role, {"type": "consent", "consent": {"decision": OWN[name]}})
    if name == DESTROY:
        return await session.message(door, role, {"type": "consent", "consent": TAKEN_BACK})
    if name in OTHERS:
        consent = {"decision": OTHERS[name], "participant_id": NEXT[role].value}
        return await session.message(door, role, {"type": "consent", "consent": consent})
    if name == ALOUD:
        consent = {"decision": "granted", "method": "verbal_attested", "participant_id": NEXT[role].value}
        return await session.message(door, role, {"type": "consent", "consent": consent})
    kind = {"admit from the waiting room": "admit", "ask for the status": "status"}.get(name, name.replace(" ", "_"))
    return await session.message(door, role, {"type": kind, "participant_id": role.value})


# -- sessions ---------------------------------------------------------------------------------------------------------


async def made(place: World, roles: tuple[Role, ...] = tuple(Role)) -> Session:
    people = [{"id": role.value, "role": role.value, "display_name": role.value.title()} for role in roles]
    answer = await place.http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    tokens = {one["participant_id"]: one["token"] for one in body["join"]}
    peers = {role: Peer(place.url, body["session"]["id"], tokens[role.value], recording=QUIET) for role in roles}
    return Session(place, body["session"]["id"], tokens, peers)


@asynccontextmanager
async def in_the_room(place: World, *roles: Role) -> AsyncIterator[Session]:
    """Everybody is in the room, and there is no bot yet."""
    session = await made(place, roles or tuple(Role))
    try:
        for role, peer in session.peers.items():
            await peer.join()
            if role is not CLINICIAN:
                await session.peers[CLINICIAN].admit(role.value)
                await peer.until(lambda peer=peer: peer.admitted, "admission")  # type: ignore[misc]
        yield session
    finally:
        await asyncio.gather(*(peer.leave() for peer in session.peers.values()))


async def drafted(place: World) -> Session:
    """A session whose note is there to be read."""
    session = await made(place)
    store = place.service.services.store
    for kind, columns in (
        ("capture.started", {"capture": "capturing", "audio": "held", "transcript": "live"}),
        ("capture.finished", {"capture": "finished", "ended_at": place.service.services.clock.now()}),
        ("transcript.ready", {"transcript": "ready", "audio": "erased"}),
        ("note.queued", {"note": "queued"}),
        ("note.generating", {"note": "generating"}),
    ):
        await store.change(session.id, kind, **columns)
    session.note_id = (await store.save_note(session.id, draft("The client slept badly."))).id
    return session


async def typed_for(place: World) -> Session:
    """A session that was not recorded, and waits for its note."""
    session = await made(place)
    await place.service.services.store.add_input(session.id, "clinician_summary", "Slept badly.", CLINICIAN.value)
    return session


async def state_of(session: Session) -> dict[str, Any]:
    store = session.place.service.services.store
    record, people = await store.get(session.id), await store.participants(session.id)
    names = ("seq", "bot", "capture", "pause_reasons", "transcript", "note")
    return {name: getattr(record, name) for name in names} | {"consents": {one.id: one.consent for one in people}}


# -- every cell -------------------------------------------------------------------------------------------------------


class Tried:
    """What was tried, and where the house and the table part."""

    def __init__(self) -> None:
        self.cells: set[tuple[str, str, Role]] = set()
        self.wrong: list[str] = []

    async def cell(self, session: Session, row: Row, door: str, role: Role) -> None:
        wanted = row.at(door)[role]
        before = await state_of(session) if wanted not in {YES, PART} else None
        got = await ask(session, door, role, row.name)
        if got != wanted:
            self.wrong.append(f"{row.name}, {role.value} by {door}: {got}, not {wanted}")
        if before is not None and await state_of(session) != before:
            self.wrong.append(f"{row.name}, {role.value} by {door}: refused, and yet something changed")
        self.cells.add((row.name, door, role))


async def in_a_call(place: World, tried: Tried) -> None:
    """What is refused while recording runs, and everybody's own consent."""
    async with in_the_room(place) as session:
        await session.peers[CLINICIAN].control("start")
        for peer in session.peers.values():
            await peer.until(lambda peer=peer: peer.channel_open, "the data channel")  # type: ignore[misc]
        for role in Role:
            assert await ask(session, SOCKET, role, "grant one's own consent") == YES
        assert (await state_of(session))["capture"] == "capturing"
        for row in TABLE:
            if row.name in {*OWN, DESTROY}:
                continue
            for door in DOORS if row.name in {*ACTIONS, *OTHERS, *ATTESTS} else (CHANNEL, SOCKET):
                for role in Role:
                    if row.name not in ACTIONS or row.at(door)[role] != YES:
                        await tried.cell(session, row, door, role)
        assert (await state_of(session))["capture"] == "capturing"
        await own_consent(session, tried)
        await session.peers[CLINICIAN].control("discard")


async def own_consent(session: Session, tried: Tried) -> None:
    rows = {OWN[row.name]: row for row in TABLE if row.name in OWN}
    for door in DOORS:
        for role in Role:
            for said, becomes in (("revoked", "revoked"), ("granted", "granted"), ("declined", "revoked")):
                await tried.cell(session, rows[said], door, role)
                if door != PLATFORM:
                    assert (await state_of(session))["consents"][role.value] == becomes, (door, role, said)
            if door != PLATFORM:
                assert await ask(session, door, role, "grant one's own consent") == YES


async def recording_asked_for(session: Session) -> None:
    """Start, and everybody's connection to the bot that came with it."""
    for peer in session.peers.values():
        await peer.until(lambda peer=peer: not peer.channel_open, "an earlier bot to be gone")  # type: ignore[misc]
    await session.peers[CLINICIAN].control("start")
    for peer in session.peers.values():
        await peer.until(lambda peer=peer: peer.channel_open, "the data channel")  # type: ignore[misc]


async def asked_anew(place: World, session: Session) -> bool:
    """Start again where answers had ended it; whether they had."""
    record = await place.service.services.store.get(session.id)
    if record.capture is not CaptureState.OFF:
        return False
    assert record.bot_end_reason is EndReason.CONSENT_DECLINED
    await recording_asked_for(session)
    return True


async def taken_back(place: World, tried: Tried) -> None:
    """Everybody's own withdrawal that destroys, one after the other: nothing is captured while the others are asked."""
    [row] = [row for row in TABLE if row.name == DESTROY]
    async with in_the_room(place) as session:
        await recording_asked_for(session)
        for door in DOORS:
            for role in Role:
                assert await ask(session, SOCKET, role, "grant one's own consent") == YES
                await asked_anew(place, session)  # it may have been the last answer, with a no among them
                await tried.cell(session, row, door, role)
                assert await ask(session, SOCKET, role, "revoke one's own consent") == YES
                ended = await asked_anew(place, session)
                assert ended or role is not CLIENT, "whose no it is ends what nothing was captured of"
        assert (await state_of(session))["capture"] == "consent_pending"
        await session.peers[CLINICIAN].control("discard")


async def conducted(place: World, tried: Tried, door: str) -> None:
    """What a clinician may do, done: each way to its end."""
    rows = {row.name: row for row in TABLE}
    for actions in (("start", "pause", "resume", "finish"), ("start", "discard")):
        async with in_the_room(place, CLINICIAN, CLIENT) as session:
            for action in actions:
                if (door, action) == (CHANNEL, "start"):
                    await session.peers[CLINICIAN].control("start")
                else:
                    await tried.cell(session, rows[action], door, CLINICIAN)
                for peer in session.peers.values() if action == "start" else ():
                    await peer.until(lambda peer=peer: peer.channel_open, "the data channel")  # type: ignore[misc]
            wanted = {"finish": "finished", "discard": "discarded"}[actions[-1]]
            assert (await state_of(session))["capture"] == wanted, (door, actions)


async def after_it(place: World, tried: Tried) -> None:
    """What is read by HTTP, the signature last: it closes the rest."""
    session = await drafted(place)
    try:
        rows = [row for row in TABLE if row.name not in {*ACTIONS, *OWN, *OTHERS, *ATTESTS, DESTROY}]
        for row in sorted(rows, key=lambda row: row.name == "sign the note"):
            for door in (PLATFORM, TOKEN):
                for role in sorted(Role, key=lambda role: role is CLINICIAN):
                    asked = await typed_for(place) if row.name in {WRITE, SHARE} else session
                    await tried.cell(asked, row, door, role)
    finally:
        await asyncio.gather(*(peer.leave() for peer in session.peers.values()))


async def allow_attesting(place: World) -> None:
    clinics = place.service.services.clinics
    _, clinic = await clinics.current("demo")
    consent = clinic.consent.model_copy(update={"on_file": True, "verbal_attested": True})
    await clinics.save(clinic.model_copy(update={"consent": consent}), author="test")


@pytest.mark.timeout(180)
async def test_every_cell(tmp_path: Path) -> None:
    tried = Tried()
    async with world(tmp_path) as place:
        await allow_attesting(place)
        await in_a_call(place, tried)
        await taken_back(place, tried)
        for door in DOORS:
            await conducted(place, tried, door)
        await after_it(place, tried)
    assert not tried.wrong, "\n".join(tried.wrong)
    wanted = {(row.name, door, role) for row in TABLE for door in DOORS for role in Role}
    assert tried.cells == wanted, sorted(str(cell) for cell in wanted - tried.cells)
