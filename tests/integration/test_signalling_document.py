"""A page that is not ours joins a call: a client written from docs/signalling.md alone, without any part of the bot.

What stands there and is not so fails here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bot.server import serving
from bot.settings import Settings

WITHIN_S = 30.0
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "signalling.md"


class Page:
    """A participant."""

    def __init__(self, base: str, session_id: str, token: str) -> None:
        self._address = f"ws{base.removeprefix('http')}/v1/rooms/{session_id}"
        self._token = token
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._pc: RTCPeerConnection | None = None
        self._conn = 0
        self._message = 0
        self.channel: Any = None
        self.seen: list[dict[str, Any]] = []
        self.last: dict[str, dict[str, Any]] = {}
        self.code: int | None = None

    async def join(self) -> None:
        """Open the WebSocket and say hello."""
        self._socket = await connect(self._address, subprotocols=[Subprotocol("quietnote.room.v1")], proxy=None)
        await self.say({"type": "hello", "token": self._token})
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.until(lambda: {"welcome", "roster", "state"} <= set(self.last))

    async def leave(self) -> None:
        """Close everything."""
        if self._pc is not None:
            await self._pc.close()
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await self._reader

    async def say(self, message: dict[str, Any]) -> None:
        """Send on the WebSocket."""
        assert self._socket is not None
        await self._socket.send(json.dumps(message))

    async def control(self, kind: str, *, channel: bool = False, message_id: str = "", **more: Any) -> dict[str, Any]:
        """Send a control message; its ack."""
        self._message += 1
        name = message_id or f"m{self._message}"
        message = {"type": kind, "message_id": name, **more}
        before = len(self.seen)
        if channel:
            self.channel.send(json.dumps(message))
        else:
            await self.say(message)

        def acks() -> list[dict[str, Any]]:
            return [m for m in self.seen[before:] if m["type"] == "ack" and m["message_id"] == name]

        await self.until(lambda: bool(acks()))
        return acks()[0]

    async def connect_bot(self) -> None:
        """The microphone and the control channel to the bot, with the candidates sent one by one after the offer."""
        servers = [RTCIceServer(**server) for server in self.last["welcome"]["ice_servers"]]
        pc = self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._conn += 1
        conn = f"c{self._conn}"
        pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
        self.channel = pc.createDataChannel("scribe.control.v1")
        self.channel.on("message", lambda text: asyncio.ensure_future(self._take(json.loads(text))))
        await pc.setLocalDescription(await pc.createOffer())
        lines = pc.localDescription.sdp.splitlines()
        bare = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
        await self._signal({"type": "offer", "sdp": "\r\n".join(bare) + "\r\n", "conn": conn})
        section, sent = -1, 0
        for line in lines:
            section += line.startswith("m=")
            if line.startswith("a=candidate:") and section == 0:
                candidate = {"candidate": line.removeprefix("a="), "sdpMid": "0", "sdpMLineIndex": 0}
                await self._signal({"type": "candidate", "candidate": candidate, "conn": conn})
                sent += 1
        assert sent
        await self._signal({"type": "candidate", "candidate": None, "conn": conn})

        def answers() -> list[dict[str, Any]]:
            signals = [m["data"] for m in self.seen if m["type"] == "signal" and m["from"] == "bot"]
            return [data for data in signals if data["type"] == "answer" and data["conn"] == conn]

        await self.until(lambda: bool(answers()))
        await pc.setRemoteDescription(RTCSessionDescription(answers()[0]["sdp"], "answer"))
        await self.until(lambda: pc.connectionState == "connected" and self.channel.readyState == "open")

    async def _signal(self, data: dict[str, Any]) -> None:
        await self.say({"type": "signal", "to": "bot", "data": data})

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something heard makes it true; pings meanwhile."""
        async with asyncio.timeout(WITHIN_S):
            while not true():
                if self.code is None:
                    await self.say({"type": "ping"})
                async with self._news:
                    await self._news.wait()

    async def _take(self, message: dict[str, Any]) -> None:
        self.seen.append(message)
        self.last[message["type"]] = message
        async with self._news:
            self._news.notify_all()

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                await self._take(json.loads(text))
        except ConnectionClosed:
            pass
        self.code = socket.close_code
        async with self._news:
            self._news.notify_all()

    @property
    def captured_ms(self) -> dict[str, int]:
        return {who: lane["captured_ms"] for who, lane in self.last.get("ledger", {"lanes": {}})["lanes"].items()}


@asynccontextmanager
async def room(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str, str, dict[str, str]]]:
    """A session, and a token for each participant as the document says they get them."""
    settings = Settings(data_dir=tmp_path, dev=True, host="127.0.0.1", port=0)
    async with serving(settings) as (_, base), httpx.AsyncClient(base_url=base, timeout=WITHIN_S) as http:
        body = {
            "clinic_id": "demo",
            "participants": [
                {"id": "ellis", "role": "clinician", "display_name": "Dr. Ellis"},
                {"id": "robin", "role": "client", "display_name": "Robin"},
            ],
        }
        made = (await http.post("/v1/sessions", json=body, headers={"Authorization": "Bearer dev"})).json()
        session_id = made["session"]["id"]
        joins = {join["participant_id"]: join for join in made["join"]}
        path, _, code = joins["robin"]["invite_url"].partition("#")
        assert path == f"{base}/join/{session_id}"
        joined = (await http.post("/v1/join", json={"session_id": session_id, "code": code})).json()
        yield http, base, session_id, {"ellis": joins["ellis"]["token"], "robin": joined["token"]}


async def lanes(http: httpx.AsyncClient, session_id: str) -> dict[str, str]:
    session = (await http.get(f"/v1/sessions/{session_id}", headers={"Authorization": "Bearer dev"})).json()
    return {lane["participant_id"]: lane["id"] for lane in session["lanes"]}


async def test_a_page_of_ones_own(tmp_path: Path) -> None:
    async with room(tmp_path) as (http, base, session_id, tokens):
        ellis, robin = Page(base, session_id, tokens["ellis"]), Page(base, session_id, tokens["robin"])
        pages = [ellis, robin]
        try:
            await ellis.join()
            await robin.join()
            await in_the_waiting_room(ellis, robin)
            await recording(ellis, robin)
            before = await lanes(http, session_id)
            again = Page(base, session_id, tokens["robin"])
            pages.append(again)
            await coming_back(ellis, robin, again)
            assert await lanes(http, session_id) == before, "the same participant, the same lane"
            ack = await ellis.control("finish", channel=True)
            assert (ack["ok"], ack["state"]) == (True, "finished")
            await again.until(lambda: again.last["roster"]["bot"] is None)
        finally:
            for page in pages:
                await page.leave()


async def in_the_waiting_room(ellis: Page, robin: Page) -> None:
    welcome = robin.last["welcome"]
    assert welcome["you"] == {"participant_id": "robin", "role": "client", "display_name": "Robin"}
    assert welcome["admitted"] is False
    assert [person["display_name"] for person in welcome["invited"]] == ["Dr. Ellis", "Robin"]
    assert welcome["consent_wording"]["text"]
    assert {"name", "support_contact", "client_captions"} <= set(welcome["clinic"])
    await robin.say({"type": "signal", "to": "ellis", "data": {"type": "offer", "sdp": "v=0"}})
    await robin.until(lambda: "problem" in robin.last)
    assert robin.last["problem"]["problem"]["slug"] == "forbidden"
    ack = await ellis.control("start")
    assert (ack["ok"], ack["problem"]["slug"]) == (False, "client-not-present")
    await ellis.say({"type": "admit", "participant_id": "robin"})
    await robin.until(lambda: all(member["admitted"] for member in robin.last["roster"]["members"]))
    assert robin.last["roster"]["bot"] is None
    data = {"type": "offer", "sdp": "v=0", "conn": "x", "anything": [1]}
    await robin.say({"type": "signal", "to": "ellis", "data": data})
    await ellis.until(lambda: ellis.last.get("signal", {}).get("from") == "robin")
    assert ellis.last["signal"]["data"] == data, "passed on untouched"


async def recording(ellis: Page, robin: Page) -> None:
    ack = await ellis.control("start")
    assert (ack["ok"], ack["state"]) == (True, "consent_pending")
    for page in (ellis, robin):
        await page.until(lambda page=page: page.last["roster"]["bot"] is not None)  # type: ignore[misc]
        await page.connect_bot()
    assert [page.last["receive"]["on"] for page in (ellis, robin)] == [False, False], "nobody has agreed yet"
    version = robin.last["welcome"]["consent_wording"]["version"]
    ack = await robin.control("consent", consent={"decision": "granted", "text_version": version})
    assert ack["ok"] is True
    await ellis.until(lambda: ellis.last["state"]["capture"] == "capturing")
    assert ellis.last["state"]["attributes"] == {"scribe.state": "capturing"}
    for page in (ellis, robin):
        await page.until(lambda page=page: page.last["receive"]["on"])  # type: ignore[misc]
        said = [m for m in page.seen if m["type"] == "receive"]
        assert [m["rev"] for m in said if m["on"]] > [m["rev"] for m in said if not m["on"]], "newer words are higher"
    await ellis.until(lambda: len(ellis.captured_ms) == 2 and min(ellis.captured_ms.values()) > 0)
    await robin.until(lambda: "levels" in robin.last)
    assert "ledger" not in robin.last, "clinicians only"
    first = await ellis.control("pause", channel=True, message_id="the-same")
    assert (first["ok"], first["state"]) == (True, "paused")
    assert await ellis.control("pause", message_id="the-same") == first
    stale = await ellis.control("resume", seq=1)
    assert stale["problem"]["slug"] == "precondition-failed"
    assert (await ellis.control("resume", seq=stale["seq"]))["state"] == "capturing"
    status = await robin.control("status")
    assert status["ok"] is True


async def coming_back(ellis: Page, robin: Page, again: Page) -> None:
    """Another page of the same token takes the seat: the older is closed, the lane goes on."""
    await again.join()
    assert again.last["welcome"]["admitted"] is True
    await again.until(lambda: "receive" in again.last)
    assert again.last["receive"]["on"] is True, "said to a page that comes in"
    await robin.until(lambda: robin.code is not None)
    assert robin.code == 4001
    heard = ellis.captured_ms["robin"]
    await again.until(lambda: again.last["roster"]["bot"] is not None)
    await again.connect_bot()
    await ellis.until(lambda: ellis.captured_ms["robin"] > heard)
    # a second connection of one page replaces the first, too
    heard = ellis.captured_ms["robin"]
    first = again._pc
    await again.connect_bot()
    assert first is not None
    await again.until(lambda: first.connectionState == "closed")
    await ellis.until(lambda: ellis.captured_ms["robin"] > heard)


async def test_close_codes_are_those_of_the_document(tmp_path: Path) -> None:
    async with room(tmp_path) as (_http, base, session_id, tokens):
        address = f"ws{base.removeprefix('http')}/v1/rooms/{session_id}"
        for hello, code in (
            ({"type": "ping"}, 4400),
            ({"type": "hello", "token": "nothing"}, 4401),
            ({"type": "hello", "token": tokens["robin"][:-4] + "aaaa"}, 4401),
        ):
            async with connect(address, proxy=None) as socket, asyncio.timeout(WITHIN_S):
                await socket.send(json.dumps(hello))
                assert json.loads(await socket.recv())["type"] == "problem"
                await socket.wait_closed()
                assert socket.close_code == code


def test_the_document_names_every_message_and_every_code() -> None:
    from bot.control import channel, lobby
    from bot.control.api import rooms

    text = DOCUMENT.read_text("utf-8")
    codes = {rooms.TOO_SLOW, rooms.NO_HELLO, rooms.UNAUTHORIZED, rooms.REFUSED, rooms.HELLO_LATE, lobby.REPLACED}
    for code in codes | {rooms.INTERNAL, rooms.STOPPING, rooms.TOO_MANY}:
        assert f"{code}" in text
    for kind in channel.CONTROL_TYPES:
        assert f'"type":"{kind}"' in text or f"`{kind}`" in text
    for number in (channel.MAX_SOCKET_BYTES, channel.MAX_CHANNEL_BYTES, rooms.SIGNALS):
        assert f"{number:,}" in text
