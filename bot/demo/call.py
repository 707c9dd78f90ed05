"""A whole call through a running service, by two synthetic participants, as a clinician and a client would hold it.

Everything goes through the public doors: HTTP with a platform key, the room's WebSocket, real WebRTC.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from bot.demo.checks import (
    evidence_missing,
    ledgers_close,
    receipts_valid,
    said_in_files,
    sentences_of,
)
from bot.demo.dialogue import Dialogue, load
from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Heard, Peer
from bot.demo.wer import WordErrors, normalise, word_errors

CLINICIAN, CLIENT = "clinician", "client"
CLINICIAN_NAME, CLIENT_NAME = "Dr. Ellis", "Robin"
LEAD_S = 0.8
"""From the order to speak to the first sample."""
SETTLE_S = 0.3
AFTER_CALL_S = 120.0
"""Longest wait for the draft."""
POLL_S = 0.5


class Scene(StrEnum):
    """What a :class:`DemoEvent` is about."""

    SESSION = "session"
    NARRATION = "narration"
    ROSTER = "roster"
    STATE = "state"
    CAPTION = "caption"
    LEVELS = "levels"
    LEDGER = "ledger"
    WARNING = "warning"
    PROGRESS = "progress"
    TRANSCRIPT = "transcript"
    NOTE = "note"
    INBOX = "inbox"
    RECEIPT = "receipt"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """Something to show. ``data`` is the service's message or document, or ``{"text": ...}`` of a narration."""

    scene: Scene
    at_s: float
    """Seconds since the demo began."""
    data: Mapping[str, Any] = field(default_factory=dict)


OnEvent = Callable[[DemoEvent], None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of the call: the one object that ``quietnote demo --json`` prints."""

    captions_final: int
    wer: float
    codeword_leaked: bool
    ledger_closed: bool
    transcript_segments: int
    note_sentences: int
    evidence_missing: int
    inbox_items: int
    audio_state: str
    receipt_valid: bool
    seconds_end_to_transcript: float
    seconds_end_to_draft: float
    session_id: str = field(metadata={"aside": True})
    """Not part of the printed object: where the pages find this session."""

    def to_json(self) -> dict[str, Any]:
        """The printed object."""
        return {key: value for key, value in asdict(self).items() if key != "session_id"}


async def run_demo(
    base_url: str,
    api_key: str,
    on_event: OnEvent,
    *,
    clinic_id: str = "demo",
    clinician_id: str = CLINICIAN,
    clinician_name: str = CLINICIAN_NAME,
    dialogue: Dialogue | None = None,
    searched: Path | None = None,
) -> DemoResult:
    """Hold the call and check what is left of it.

    ``clinician_id`` is the user in whose inbox the draft is to be; ``searched`` is a folder to look for the code word
    in. Raises :class:`CallFailed` when the call cannot be held.
    """
    cast = _Cast(clinic_id, {CLINICIAN: clinician_id, CLIENT: CLIENT}, {CLINICIAN: clinician_name, CLIENT: CLIENT_NAME})
    async with httpx.AsyncClient(
        base_url=base_url, headers={"Authorization": f"Bearer {api_key}"}, timeout=30.0, trust_env=False
    ) as http:
        demo = _Demo(http, base_url, dialogue or load(), on_event, cast, searched)
        try:
            return await demo.run()
        finally:
            await demo.close()


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who plays, by role."""

    clinic_id: str
    ids: Mapping[str, str]
    names: Mapping[str, str]


class _Demo:
    """One run."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        dialogue: Dialogue,
        on_event: OnEvent,
        cast: _Cast,
        searched: Path | None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._dialogue = dialogue
        self._on_event = on_event
        self._cast = cast
        self._searched = searched
        self._began_s = time.monotonic()
        self._captions: dict[tuple[str, int], Mapping[str, Any]] = {}
        self._session_id = ""
        self._peers: dict[str, Peer] = {}

    # -- telling -----------------------------------------------------------------------------------------------------

    def _tell(self, scene: Scene, data: Mapping[str, Any]) -> None:
        self._on_event(DemoEvent(scene, time.monotonic() - self._began_s, data))

    def _narrate(self, text: str) -> None:
        self._tell(Scene.NARRATION, {"text": text})

    def _heard(self, peer: Peer, heard: Heard) -> None:
        """Both people hear nearly the same; the clinician's page is the one that is shown."""
        message = heard.message
        if message.get("type") == "caption":
            key = (message["segment_id"], message["rev"])
            if key not in self._captions:
                self._captions[key] = message
                self._tell(Scene.CAPTION, message)
        elif peer is self._peers.get(CLINICIAN) and message.get("type") in set(Scene):
            self._tell(Scene(message["type"]), message)

    # -- the call ----------------------------------------------------------------------------------------------------

    async def run(self) -> DemoResult:
        await self._gather()
        clinician = self._peers[CLINICIAN]
        await self._start()
        await self._talk()
        ended_s = time.monotonic()
        await clinician.control("finish")
        self._narrate("Finish and Generate Note")
        to_transcript = await self._wait_for("transcript", "ready", ended_s)
        to_draft = await self._wait_for("note", "draft", ended_s)
        return await self._look(to_transcript, to_draft)

    async def _gather(self) -> None:
        """Make the session; both come in, the client by way of the waiting room."""
        made = await self._call(
            "POST",
            "/v1/sessions",
            json={
                "clinic_id": self._cast.clinic_id,
                "room": {"transport": "builtin"},
                "participants": [
                    {"id": self._cast.ids[who], "role": who, "display_name": self._cast.names[who]}
                    for who in (CLINICIAN, CLIENT)
                ],
            },
        )
        self._session_id = made["session"]["id"]
        self._tell(Scene.SESSION, made["session"])
        tokens = {entry["role"]: entry["token"] for entry in made["join"]}
        origin_s = time.monotonic()
        for who in (CLINICIAN, CLIENT):
            recording = await asyncio.to_thread(Recording.read, self._dialogue.path(who))
            self._peers[who] = Peer(
                self._base_url,
                self._session_id,
                tokens[who],
                recording=recording,
                origin_s=origin_s,
                mesh=True,
                on_message=self._heard,
            )
        clinician, client = self._peers[CLINICIAN], self._peers[CLIENT]
        await clinician.join()
        self._narrate(f"{self._cast.names[CLINICIAN]} starts the call")
        await client.join()
        self._narrate(f"{self._cast.names[CLIENT]} is in the waiting room")
        await clinician.until(lambda: _in_roster(clinician, client), "the client in the waiting room")
        await clinician.admit(client.participant_id)
        await client.until(lambda: client.admitted, "admission")
        self._narrate(f"{self._cast.names[CLINICIAN]} admits {self._cast.names[CLIENT]}; there is no bot in the room")
        if clinician.bot is not None or client.bot is not None:
            raise CallFailed("A bot is in the room before Start.")
        await asyncio.sleep(SETTLE_S)

    async def _start(self) -> None:
        """Start, the bot comes in, the client is asked and agrees."""
        clinician, client = self._peers[CLINICIAN], self._peers[CLIENT]
        self._narrate("Start recording")
        await clinician.control("start")
        await clinician.until(lambda: clinician.bot is not None, "the bot in the room")
        await client.until(lambda: client.bot is not None, "the bot in the room")
        self._narrate(f"{clinician.bot['display_name'] if clinician.bot else 'The bot'} joined, for both to see")
        for peer in (clinician, client):
            await peer.until_connected()
        self._narrate(f"{self._cast.names[CLIENT]} reads the question and agrees to recording")
        await client.consent("granted")
        await clinician.until(lambda: clinician.state.get("capture") == "capturing", "recording to begin")

    async def _talk(self) -> None:
        """Both lanes play on one clock; the clinician pauses and resumes while they do."""
        clinician = self._peers[CLINICIAN]
        at_s = time.monotonic() + LEAD_S
        starts = [peer.play(at_s) for peer in self._peers.values()]
        began_s = max(starts)

        async def reached(ms: int) -> None:
            await asyncio.sleep(max(0.0, began_s + ms / 1000 - time.monotonic()))
            if self.closed:
                raise CallFailed("The room closed during the call.")

        await reached(self._dialogue.pause_at_ms)
        await clinician.control("pause", by_channel=True)
        self._narrate(f"{self._cast.names[CLIENT]} says something that is not for the record")
        await reached(self._dialogue.resume_at_ms)
        await clinician.control("resume")
        await reached(self._dialogue.duration_ms)

    @property
    def closed(self) -> bool:
        """True when somebody lost the room."""
        return any(peer.closed for peer in self._peers.values())

    async def _wait_for(self, artefact: str, wanted: str, since_s: float) -> float:
        """Wait until an artefact is as wanted, told by the room or by asking; returns seconds since ``since_s``."""
        clinician = self._peers[CLINICIAN]
        state: Mapping[str, Any] = clinician.state
        while state.get(artefact) != wanted:
            if state.get(artefact) == "failed" or time.monotonic() - since_s > AFTER_CALL_S:
                raise CallFailed(f"The {artefact} did not become {wanted}; it is {state.get(artefact)}.")
            with contextlib.suppress(TimeoutError):
                await clinician.wait(lambda: clinician.state.get(artefact) in {wanted, "failed"}, POLL_S)
            told = clinician.state.get(artefact) == wanted
            state = clinician.state if told else await self._call("GET", f"/v1/sessions/{self._session_id}")
        return time.monotonic() - since_s

    # -- what is left of it ------------------------------------------------------------------------------------------

    async def _look(self, to_transcript: float, to_draft: float) -> DemoResult:
        session_url = f"/v1/sessions/{self._session_id}"
        session = await self._call("GET", session_url)
        transcript = await self._call("GET", f"{session_url}/transcript")
        self._tell(Scene.TRANSCRIPT, transcript)
        note = await self._call("GET", f"/v1/notes/{session['note_id']}")
        self._tell(Scene.NOTE, note)
        inbox = await self._call("GET", "/v1/inbox")
        items = [item for item in inbox["items"] if item["session_id"] == self._session_id]
        self._tell(Scene.INBOX, {"items": items})
        receipts = (await self._call("GET", f"{session_url}/receipts"))["items"]
        files = [(await self._http.get(receipt["href"])).content for receipt in receipts]
        keys = (await self._http.get("/.well-known/quietnote-receipt-keys.json")).content
        valid = receipts_valid(files, keys)
        self._tell(Scene.RECEIPT, {"items": receipts, "valid": valid})

        errors = WordErrors()
        for who in (CLINICIAN, CLIENT):
            heard = " ".join(s["text"] for s in transcript["segments"] if s["role"] == who)
            errors += word_errors(normalise(self._dialogue.on_record(who)), normalise(heard))
        told: list[Any] = [list(self._captions.values()), transcript, note, items, receipts, session]
        word = self._dialogue.code_word
        leaked = any(word in str(thing).lower() for thing in told)
        if self._searched is not None:
            leaked = leaked or await asyncio.to_thread(said_in_files, word, self._searched)
        result = DemoResult(
            captions_final=len({m["segment_id"] for m in self._captions.values() if m["final"] and m["text"]}),
            wer=round(errors.rate, 4),
            codeword_leaked=leaked,
            ledger_closed=ledgers_close(session),
            transcript_segments=len(transcript["segments"]),
            note_sentences=len(sentences_of(note)),
            evidence_missing=evidence_missing(note, transcript),
            inbox_items=len(items),
            audio_state=session["audio"],
            receipt_valid=valid,
            seconds_end_to_transcript=round(to_transcript, 2),
            seconds_end_to_draft=round(to_draft, 2),
            session_id=self._session_id,
        )
        self._tell(Scene.RESULT, result.to_json())
        return result

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise CallFailed(f"{method} {path} could not be sent ({type(error).__name__}).") from None
        if answer.is_error:
            slug = answer.json().get("slug") if "json" in answer.headers.get("content-type", "") else None
            raise CallFailed(f"{method} {path} was answered {answer.status_code} {slug or ''}.")
        return answer.json()

    async def close(self) -> None:
        """Both hang up."""
        await asyncio.gather(*(peer.leave() for peer in self._peers.values()), return_exceptions=True)


def _in_roster(peer: Peer, other: Peer) -> bool:
    return any(
        m["participant_id"] == other.participant_id and m["present"] is not None for m in peer.roster.get("members", ())
    )
