"""A synthetic participant: what the call page does, done by a program.

It speaks the page's WebSocket protocol, shows up, waits to be admitted, offers its microphone to the bot as soon as
the roster shows one, and to the other people in the room if asked to. Everything it is told is kept with the moment
of its arrival (monotonic seconds).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bot.demo.link import BOT, USUAL, Link
from bot.demo.packets import Asked, Recording
from bot.demo.track import PacketTrack
from bot.errors import QuietnoteError

__all__ = ["BOT", "USUAL", "CallFailed", "Heard", "Peer"]

log = structlog.get_logger()

SUBPROTOCOL = Subprotocol("quietnote.room.v1")
MAX_MESSAGE_BYTES = 1_000_000
KEPT_MESSAGES = 20_000
ANSWER_TIMEOUT_S = 20.0


class CallFailed(QuietnoteError):
    """A synthetic participant was refused, or what it waited for did not come in time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message from the service."""

    at_s: float
    """Arrival, monotonic seconds."""
    message: Mapping[str, Any]


class Peer:
    """One participant of one session. ``origin_s`` is shared by peers whose lanes share a clock."""

    def __init__(
        self,
        base_url: str,
        session_id: str,
        token: str,
        *,
        recording: Recording,
        origin_s: float | None = None,
        mesh: bool = False,
        heeds_receive: bool = True,
        on_message: Callable[[Peer, Heard], None] | None = None,
    ) -> None:
        self._url = f"ws{base_url.removeprefix('http').rstrip('/')}/v1/rooms/{session_id}"
        self._session_id = session_id
        self._token = token
        self._recording = recording
        self._origin_s = time.monotonic() if origin_s is None else origin_s
        self._mesh = mesh
        self._heeds_receive = heeds_receive
        """Send only what the bot takes; a page that knows nothing of that sends all the while."""
        self._taken = True
        self._resuming = 0
        self._receive_rev = 0
        self._on_message = on_message
        self._socket: ClientConnection | None = None
        self._links: dict[str, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._linking = asyncio.Lock()
        self._news = asyncio.Condition()
        self._playing: float | None = None
        self.heard: deque[Heard] = deque(maxlen=KEPT_MESSAGES)
        self.participant_id = ""
        self.welcome: Mapping[str, Any] = {}
        self.roster: Mapping[str, Any] = {}
        self.state: Mapping[str, Any] = {}
        self.ledger: Mapping[str, Any] = {}
        self.acks: dict[str, Mapping[str, Any]] = {}
        self.closed = False

    # -- coming and going --------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Connect, say hello, and wait to be welcomed (not yet admitted). Encodes the lane meanwhile."""
        try:
            self._socket = await connect(
                self._url,
                max_size=MAX_MESSAGE_BYTES,
                subprotocols=[SUBPROTOCOL],
                proxy=None,
                open_timeout=ANSWER_TIMEOUT_S,
            )
            await self._send({"type": "hello", "token": self._token})
        except (OSError, ConnectionClosed, TimeoutError) as error:
            raise CallFailed(f"The room cannot be reached ({type(error).__name__}).") from None
        self._spawn(self._listen())
        await self.until(lambda: bool(self.welcome), "a welcome")
        await asyncio.to_thread(self._recording.as_asked, USUAL)

    async def leave(self) -> None:
        """Close every connection. Idempotent."""
        self.closed = True
        async with self._linking:
            links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links))
        if self._socket is not None:
            await self._socket.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- knowing -----------------------------------------------------------------------------------------------------

    @property
    def admitted(self) -> bool:
        """True once this participant is in the room."""
        return any(m["participant_id"] == self.participant_id and m["admitted"] for m in self.roster.get("members", ()))

    @property
    def bot(self) -> Mapping[str, Any] | None:
        """The bot as the roster shows it."""
        return self.roster.get("bot")

    @property
    def heard_by_bot(self) -> bool:
        """True while the connection to the bot stands and the lane is encoded as the bot asked."""
        link = self._links.get(BOT)
        return link is not None and link.connected and link.ready

    @property
    def channel_open(self) -> bool:
        """True while control messages can go by the data channel."""
        return BOT in self._links and self._links[BOT].channel_open

    def hears(self, participant_id: str) -> bool:
        """True once somebody else's sound has arrived here."""
        return participant_id in self._links and self._links[participant_id].received > 0

    @property
    def asked(self) -> Asked | None:
        """What the bot's answer asked for."""
        return self._links[BOT].asked if BOT in self._links else None

    async def wait(self, true: Callable[[], bool], timeout_s: float) -> None:
        """Wait until ``true()``, or until the room closes. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: true() or self.closed)
        if self.closed:
            await asyncio.sleep(0.1)

    async def until(self, true: Callable[[], bool], what: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Wait until ``true()``; raises :class:`CallFailed` naming ``what`` was missed."""
        try:
            await self.wait(true, timeout_s)
        except TimeoutError:
            raise CallFailed(f"Waited {timeout_s:g} s in vain for {what}.") from None
        if not true():
            raise CallFailed(f"The room closed while waiting for {what}.")

    async def until_connected(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Wait for the connection to the bot."""
        await self.until(lambda: self.heard_by_bot, "the connection to the bot", timeout_s)

    # -- doing -------------------------------------------------------------------------------------------------------

    async def admit(self, participant_id: str) -> None:
        """Let somebody in (clinicians only)."""
        await self._send({"type": "admit", "participant_id": participant_id})

    async def control(self, kind: str, *, by_channel: bool = False, **extra: Any) -> Mapping[str, Any]:
        """Send a control message and wait for its ack. Raises :class:`CallFailed` when it is refused."""
        message_id = uuid.uuid4().hex
        message = {"type": kind, "session_id": self._session_id, "message_id": message_id, **extra}
        link = self._links.get(BOT)
        resumes = kind in {"start", "resume"} and self.state.get("capture") == "paused"
        self._resuming += resumes
        self._heed()
        try:
            if not (by_channel and link is not None and link.say(message)):
                await self._send(message)
            await self.until(lambda: message_id in self.acks, f"the ack of {kind}")
        finally:
            self._resuming -= resumes
            self._heed()
        ack = self.acks[message_id]
        if not ack.get("ok"):
            raise CallFailed(f"{kind} was refused: {ack.get('problem', {}).get('slug')}.")
        return ack

    async def consent(self, decision: str = "granted") -> Mapping[str, Any]:
        """Give one's own answer to the wording that was shown."""
        version = str(self.welcome.get("consent_wording", {}).get("version", ""))
        return await self.control("consent", consent={"decision": decision, "text_version": version})

    def play(self, at_s: float) -> float:
        """Speak from ``at_s`` (monotonic) on, to everybody; returns when the bot is spoken the first sample."""
        self._playing = at_s
        starts = {peer: link.play(self._recording, at_s) for peer, link in self._links.items() if link.ready}
        return starts.get(BOT, at_s)

    @property
    def taken(self) -> bool:
        """Whether the bot takes this participant's sound, by its newest word."""
        return self._taken

    def _receive(self, message: Mapping[str, Any]) -> None:
        if message["rev"] > self._receive_rev:  # otherwise it came by the other way already
            self._receive_rev, self._taken = message["rev"], message["on"]
            self._heed()

    def _heed(self) -> None:
        """Send to the bot what it takes, and what it may be about to take because it was asked to."""
        if self._heeds_receive and BOT in self._links:
            self._links[BOT].hold(not (self._taken or self._resuming))

    def mute(self, muted: bool) -> None:
        """Send silence instead of the lane."""
        for link in self._links.values():
            link.mute(muted)
        self._spawn(self._send({"type": "mute", "muted": muted}))

    # -- the WebSocket -----------------------------------------------------------------------------------------------

    async def _send(self, message: Mapping[str, Any]) -> None:
        if self._socket is None:
            raise CallFailed("Not in the room.")
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(json.dumps(message))

    async def _listen(self) -> None:
        assert self._socket is not None
        try:
            async for raw in self._socket:
                await self.take(json.loads(raw))
        except ConnectionClosed:
            pass
        finally:
            self.closed = True
            async with self._news:
                self._news.notify_all()

    async def take(self, message: Mapping[str, Any]) -> None:
        """A message arrived, by WebSocket or data channel."""
        heard = Heard(time.monotonic(), message)
        self.heard.append(heard)
        match message.get("type"):
            case "welcome":
                self.welcome = message
                self.participant_id = message["you"]["participant_id"]
            case "roster":
                if message.get("bot") is None:
                    self._taken, self._receive_rev = True, 0
                self.roster = message
                self._spawn(self._follow())
            case "receive":
                self._receive(message)
            case "state" if message.get("seq", 0) >= self.state.get("seq", 0):
                self.state = message
            case "ledger":
                self.ledger = message["lanes"]
            case "ack":
                self.acks[message["message_id"]] = message
            case "signal":
                self._spawn(self._signal(message["from"], message["data"]))
        if self._on_message is not None:
            self._on_message(self, heard)
        async with self._news:
            self._news.notify_all()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("demo_peer_failed", error=type(error).__name__)
            self.closed = True

    # -- connections -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Connect to who is in the room, and let go of who left it."""
        if not self.admitted or self.closed:
            return
        async with self._linking:
            wanted = {BOT} if self.bot is not None else set()
            if self._mesh:
                here = [m for m in self.roster.get("members", ()) if m["admitted"] and m["present"]]
                wanted |= {m["participant_id"] for m in here} - {self.participant_id}
            for peer in set(self._links) - wanted:
                await self._links.pop(peer).close()
            for peer in wanted - set(self._links):
                if peer == BOT or self.participant_id < peer:
                    await self._offer_to(peer)

    async def _offer_to(self, peer: str) -> None:
        link = self._links[peer] = Link(self, peer)
        self._heed()
        await self._signal_to(peer, {"type": "offer", "sdp": await link.offer()})

    async def _signal_to(self, peer: str, data: Mapping[str, Any]) -> None:
        await self._send({"type": "signal", "to": peer, "data": data})

    async def _signal(self, peer: str, data: Mapping[str, Any]) -> None:
        link = self._links.get(peer)
        if data.get("type") == "answer" and link is not None:
            await link.answered(data["sdp"])
            await asyncio.to_thread(self._recording.as_asked, link.asked or USUAL)
            link.ready = True
            if self._playing is not None:
                link.play(self._recording, self._playing)
            async with self._news:
                self._news.notify_all()
        elif data.get("type") == "offer" and self._mesh and peer != BOT:
            async with self._linking:
                if link is not None:
                    await link.close()
                link = self._links[peer] = Link(self, peer)
                await self._signal_to(peer, {"type": "answer", "sdp": await link.answer(data["sdp"])})

    async def changed(self) -> None:
        """A connection came up or went down."""
        async with self._news:
            self._news.notify_all()

    @property
    def ice_servers(self) -> Sequence[Mapping[str, Any]]:
        """The servers that the service named, and no others."""
        named: Sequence[Mapping[str, Any]] = self.welcome.get("ice_servers", ())
        return named

    def new_track(self, asked: Asked) -> PacketTrack:
        """A microphone on this peer's clock."""
        return PacketTrack(asked, origin_s=self._origin_s)

    def spawn(self, work: Any) -> None:
        """Run something that ends with this peer at the latest."""
        self._spawn(work)
