"""A service that is killed and started again at the same address, and people whose pages come back by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.exceptions import WebSocketException

from bot.demo.packets import Asked, EncodedLane, Recording
from bot.demo.peer import BOT, USUAL, CallFailed, Heard, Peer
from bot.demo.track import PacketTrack
from tests.integration.call_world import CLIENT, CLINICIAN, Place
from tests.integration.test_cli import environment
from tests.integration.test_stopping import Process

WITHIN_S = 90.0
AGAIN_S = 0.3
"""How soon a page tries again after its connection ended."""
QUIET = Recording(np.zeros(48, np.int16))
COMMITTED = "select s.id, s.sealed, l.committed_through_sample from segments s join lanes l on l.id = s.lane_id"


class Microphone(PacketTrack):
    """Speaks on where its owner has got to, also when they began before this connection stood."""

    def play(self, lane: EncodedLane, at_s: float) -> float:
        began = self._slot_at(at_s - self._ptime_s / 2)
        first_s = super().play(lane, at_s)
        late = self._lane_from - began
        self._lane = {slot - late: payload for slot, payload in self._lane.items()}
        self._lane_from, self._lane_to = self._lane_from - late, self._lane_to - late
        return first_s


class Visit(Peer):
    """One connection of a page, from its hello to its end."""

    def new_track(self, asked: Asked) -> PacketTrack:
        return Microphone(asked, origin_s=self._origin_s)

    def is_closed(self) -> bool:
        return self.closed

    def say(self, recording: Recording, since_s: float) -> None:
        self._recording = recording
        self.play(since_s)

    def go_on_with(self, recording: Recording, since_s: float) -> None:
        self._recording, self._playing = recording, since_s


@dataclass
class Page:
    """A participant's page: it is in the room, or trying to be."""

    url: str
    session_id: str
    token: str
    origin_s: float
    heard: list[Heard] = field(default_factory=list)
    visit: Visit | None = None
    doing: str = ""
    _speech: tuple[Recording, float] = (QUIET, 0.0)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def stay(self) -> None:
        """Be there until cancelled."""
        while True:
            visit = Visit(
                self.url, self.session_id, self.token,
                recording=QUIET, origin_s=self.origin_s, on_message=self._note,
            )  # fmt: skip
            visit.go_on_with(*self._speech)
            try:
                self.doing = "joining"
                await visit.join()
                self.visit = visit
                self.doing = "there"
                await visit.wait(visit.is_closed, 3600)
            except (CallFailed, WebSocketException):  # the service was away, or went while it was being joined
                pass
            finally:
                self.visit = None
                self.doing = "leaving"
                await visit.leave()
            self.doing = "waiting"
            await asyncio.sleep(AGAIN_S)

    def _note(self, _: Peer, heard: Heard) -> None:
        if heard.message["type"] != "levels":
            self.heard.append(heard)
        self._changed.set()

    async def until(self, true: Any, what: str) -> None:
        """Wait over connections that come and go."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not true():
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):  # a connection that came up is no message
                        await asyncio.wait_for(self._changed.wait(), 0.2)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}: {self}") from None

    def __str__(self) -> str:
        visit = self.visit
        link = visit._links.get(BOT) if visit is not None else None
        told = (visit.admitted, visit.bot, visit.state) if visit is not None else None
        return f"{self.doing}; {told}; {(link._pc.connectionState, link.ready, link.asked) if link else None}"

    @property
    def connected(self) -> bool:
        return self.visit is not None and self.visit.heard_by_bot

    @property
    def capture(self) -> str:
        return str(self.visit.state.get("capture", "")) if self.visit is not None else ""

    @property
    def there(self) -> Visit:
        """The connection of this moment."""
        assert self.visit is not None, "the page is not in the room"
        return self.visit

    def say(self, recording: Recording, since_s: float) -> None:
        """Speak, and go on speaking after each return, as if it had begun at that second."""
        self._speech = (recording, since_s)
        if self.visit is not None:
            self.visit.say(recording, since_s)

    def captions(self) -> list[dict[str, Any]]:
        return [dict(one.message) for one in self.heard if one.message["type"] == "caption"]


@dataclass
class Service:
    """``quietnote serve --dev`` at one address, in one process after another."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    log: list[str] = field(default_factory=list)
    command: tuple[str, ...] = ("-m", "bot")
    _served: Process | None = None
    _reader: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        assert self._served is not None
        return self._served.process.pid

    async def launch(self) -> asyncio.Future[str]:
        """Start the process; what is returned is done when it listens."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self.command, "serve", "--dev", "--port", str(self.port),
            env=environment(self.folder, QUIETNOTE_LOG_LEVEL="WARNING", **self.settings),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._served = Process(process, self.log)
        self._reader = asyncio.create_task(self._read(self._served, listening))
        return listening

    async def start(self) -> None:
        await asyncio.wait_for(await self.launch(), WITHIN_S)

    @staticmethod
    async def _read(served: Process, listening: asyncio.Future[str]) -> None:
        said = len(served.said)
        await served.read(listening)
        if listening.done() and not listening.cancelled() and (error := listening.exception()) is not None:
            assert "Traceback" not in "".join(served.said[said:]), error

    async def kill(self) -> float:
        """kill -9, at this monotonic second."""
        assert self._served is not None
        at_s = time.monotonic()
        self._served.process.kill()
        await self._served.process.wait()
        assert self._reader is not None
        await self._reader
        self._served = None
        return at_s

    async def stop(self) -> None:
        """SIGTERM, and its Valkey with it."""
        if self._served is None:
            return
        self._served.process.terminate()
        try:
            await asyncio.wait_for(self._served.process.wait(), WITHIN_S)
        except TimeoutError:
            await self.kill()
        if self._reader is not None:
            await self._reader

    def committed(self) -> dict[str, bytes]:
        """The finals that are stored, as they lie in the database; for while nobody serves it."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data_dir / 'quietnote.db'}?mode=ro", uri=True)) as db:
            return dict(db.execute("select id, sealed from segments").fetchall())


@dataclass
class Room:
    """A session that outlives its service, with both pages."""

    service: Service
    place: Place
    session_id: str
    clinician: Page
    client: Page

    @property
    def pages(self) -> tuple[Page, Page]:
        return self.clinician, self.client

    async def session(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.place.get(f"/v1/sessions/{self.session_id}")
        return found

    async def transcript(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.place.get(f"/v1/sessions/{self.session_id}/transcript")
        return found

    async def connected(self) -> None:
        """Both pages are back, and heard."""
        for page in self.pages:
            await page.until(lambda page=page: page.connected, "a page to come back")

    def call_ms(self, at_s: float) -> float:
        """A monotonic second on the call's clock: by the message that told the time with the least delay."""
        told: list[float] = [
            one.message["now_ms"] - one.at_s * 1000
            for page in self.pages
            for one in page.heard
            if one.message["type"] == "state" and one.message["now_ms"]
        ]
        return at_s * 1000 + max(told)


@asynccontextmanager
async def room(service: Service, clinic_id: str = "demo") -> AsyncIterator[Room]:
    """The service runs; a session, its clinician in the room, its client admitted."""
    await service.start()
    headers = {"Authorization": "Bearer dev"}
    people = [
        {"id": CLINICIAN, "role": "clinician", "display_name": "Dr. Ellis"},
        {"id": CLIENT, "role": "client", "display_name": "Robin"},
    ]
    body = {"clinic_id": clinic_id, "room": {"transport": "builtin"}, "participants": people}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30.0, trust_env=False) as http:
        place = Place(service.url, service.data_dir, http)
        try:
            answer = await http.post("/v1/sessions", json=body)
            assert answer.status_code == 201, answer.text
            made = answer.json()
            session_id = made["session"]["id"]
            tokens = {entry["participant_id"]: entry["token"] for entry in made["join"]}
            origin_s = time.monotonic()
            pages = {who: Page(service.url, session_id, tokens[who], origin_s) for who in (CLINICIAN, CLIENT)}
            here = Room(service, place, session_id, pages[CLINICIAN], pages[CLIENT])
            staying = [asyncio.create_task(page.stay()) for page in here.pages]
            try:
                for page in here.pages:
                    await page.until(lambda page=page: page.visit is not None, "a page to come in")
                await here.clinician.there.admit(CLIENT)
                await here.client.until(lambda: here.client.there.admitted, "admission")
                yield here
            finally:
                for task in staying:
                    task.cancel()
                await asyncio.gather(*staying, return_exceptions=True)
        finally:
            await service.stop()


async def encoded(recording: Recording) -> Recording:
    """Encode it now, so that nothing waits for that later."""
    await asyncio.to_thread(recording.as_asked, USUAL)
    return recording
