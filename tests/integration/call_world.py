"""A running service and two people in a call over real WebRTC, for tests that speak."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bot.app import Running
from bot.demo.dialogue import Dialogue, load
from bot.demo.packets import RTP_RATE_HZ, Recording, read_sound
from bot.demo.peer import Peer
from bot.server import serving
from bot.settings import Settings

CLINICIAN, CLIENT = "ellis", "robin"
LANES = {CLINICIAN: "clinician", CLIENT: "client"}
SILENCE_MS = 400


@dataclass
class Place:
    """A service on a free port, and the platform's door to it."""

    url: str
    data_dir: Path
    http: httpx.AsyncClient
    dialogue: Dialogue = field(default_factory=load)

    async def get(self, path: str) -> Any:
        """GET as the platform."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, session_id: str, artefact: str, wanted: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Ask until an artefact is as wanted."""
        async with asyncio.timeout(timeout_s):
            while True:
                session: dict[str, Any] = await self.get(f"/v1/sessions/{session_id}")
                if session[artefact] == wanted:
                    return session
                await asyncio.sleep(0.1)

    def cut(self, participant_id: str, *parts: tuple[int, int]) -> Recording:
        """The participant's lane of the dialogue: these parts (start and end in ms), a short silence after each."""
        sound = read_sound(self.dialogue.path(LANES[participant_id]))
        quiet = np.zeros((SILENCE_MS * RTP_RATE_HZ // 1000, *sound.shape[1:]), sound.dtype)
        pieces = []
        for start_ms, end_ms in parts:
            pieces += [sound[start_ms * RTP_RATE_HZ // 1000 : end_ms * RTP_RATE_HZ // 1000], quiet]
        return Recording(np.concatenate(pieces))


@dataclass
class World(Place):
    """A service in this process."""

    service: Running = field(kw_only=True)


@asynccontextmanager
async def world(data_dir: Path, **settings: Any) -> AsyncIterator[World]:
    """A service in this process, in development mode."""
    given = {"data_dir": data_dir, "dev": True, "host": "127.0.0.1", "port": 0} | settings
    async with serving(Settings.model_validate(given)) as (service, url):
        headers = {"Authorization": "Bearer dev"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0, trust_env=False) as http:
            yield World(url, data_dir, http, service=service)


@dataclass
class Call:
    """Two people in one session."""

    session_id: str
    clinician: Peer
    client: Peer

    async def begin(self) -> None:
        """Admit the client, start, connect, agree."""
        await self.admit()
        await self.clinician.control("start")
        await self.connect()
        await self.client.consent("granted")
        await self.clinician.until(lambda: self.clinician.state.get("capture") == "capturing", "recording to begin")

    async def admit(self) -> None:
        """Let the client in."""
        await self.clinician.admit(self.client.participant_id)
        await self.client.until(lambda: self.client.admitted, "admission")

    async def connect(self) -> None:
        """Both connections to the bot stand."""
        for peer in (self.clinician, self.client):
            await peer.until_connected()

    def play(self) -> float:
        """Both speak; the monotonic second at which the first sample leaves."""
        at_s = time.monotonic() + 0.3
        return max(self.clinician.play(at_s), self.client.play(at_s))


@asynccontextmanager
async def two_people(world: Place, recordings: dict[str, Recording], **more: str) -> AsyncIterator[Call]:
    """A session with a clinician in the room and a client in the waiting room; ``more`` is said when it is made."""
    body = {
        "clinic_id": "demo",
        "room": {"transport": "builtin"},
        "participants": [
            {"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"},
            {"id": CLIENT, "role": "client", "display_name": "Robin"},
        ],
        **more,
    }
    answer = await world.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    session_id = made["session"]["id"]
    tokens = {entry["participant_id"]: entry["token"] for entry in made["join"]}
    origin_s = time.monotonic()
    peers = {
        who: Peer(world.url, session_id, tokens[who], recording=recordings[who], origin_s=origin_s)
        for who in (CLINICIAN, CLIENT)
    }
    call = Call(session_id, peers[CLINICIAN], peers[CLIENT])
    try:
        for peer in peers.values():
            await peer.join()
        yield call
    finally:
        await asyncio.gather(*(peer.leave() for peer in peers.values()))
