"""A room for synthetic participants: the page protocol in front of the real built-in room, without the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from websockets.asyncio.server import ServerConnection, serve

from bot.clock import CallClock, SystemClock
from bot.events import AudioFrame, EndReason
from bot.media.builtin import BuiltinRoom
from bot.media.room import ControlMessage, RoomEvent
from bot.media.worker import MediaThread

SESSION = "ses_test"


@dataclass
class DemoRoom:
    """What the bot got, and a hand on the roster."""

    room: BuiltinRoom
    call_clock: CallClock
    links: dict[str, ServerConnection] = field(default_factory=dict)
    admitted: set[str] = field(default_factory=set)
    bot: bool = False
    frames: dict[str, list[AudioFrame]] = field(default_factory=dict)
    controls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    # -- RoomListener --

    def event(self, event: RoomEvent) -> None:
        if isinstance(event, ControlMessage):
            message = json.loads(event.payload)
            self.controls.append((event.participant_id, message))
            ack = json.dumps(self.ack(message)).encode()
            task = asyncio.create_task(self.room.send(ack, to=event.participant_id))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def frame(self, frame: AudioFrame) -> None:
        self.frames.setdefault(frame.lane_id, []).append(frame)
        self.loop.call_soon_threadsafe(self.news.set)

    # -- the page protocol --

    @staticmethod
    def ack(message: dict[str, Any]) -> dict[str, Any]:
        refused = {"problem": {"slug": "invalid-transition"}} if message["type"] == "resume" else {"state": "capturing"}
        return {"type": "ack", "message_id": message["message_id"], "seq": 1, "ok": "problem" not in refused, **refused}

    async def tell_roster(self) -> None:
        members = [
            {"participant_id": p, "role": "client", "admitted": p in self.admitted, "present": True} for p in self.links
        ]
        bot = {"participant_id": "bot", "display_name": "Quietnote", "state": "off"} if self.bot else None
        for link in list(self.links.values()):
            await link.send(json.dumps({"type": "roster", "members": members, "bot": bot}))

    async def page(self, link: ServerConnection) -> None:
        me = ""
        async for raw in link:
            message = json.loads(raw)
            match message["type"]:
                case "hello":
                    me = message["token"]
                    self.links[me] = link
                    you = {"participant_id": me, "role": "client", "display_name": me}
                    await link.send(json.dumps({"type": "welcome", "you": you, "ice_servers": []}))
                    await self.tell_roster()
                case "admit":
                    self.admitted.add(message["participant_id"])
                    await self.tell_roster()
                case "signal" if message["to"] == "bot":
                    answer = await self.room.offer(me, message["data"]["sdp"])
                    self.answers.append(answer)
                    data = {"type": "answer", "sdp": answer}
                    await link.send(json.dumps({"type": "signal", "from": "bot", "data": data}))
                case "signal":
                    relayed = {"type": "signal", "from": me, "data": message["data"]}
                    await self.links[message["to"]].send(json.dumps(relayed))
                case "mute":
                    pass
                case _:
                    self.controls.append((me, message))
                    await link.send(json.dumps(self.ack(message)))

    async def heard_through(self, lane_id: str, sample: int) -> None:
        """Wait until the bot got a lane up to a sample."""
        async with asyncio.timeout(20):
            while not any(f.end_sample > sample for f in self.frames.get(lane_id, [])):
                self.news.clear()
                await self.news.wait()

    def sound(self, lane_id: str, from_sample: int, to_sample: int) -> npt.NDArray[np.int16]:
        """What the bot got of a lane, on the call's clock."""
        out = np.zeros(to_sample - from_sample, np.int16)
        for frame in self.frames.get(lane_id, []):
            first, last = max(frame.start_sample, from_sample), min(frame.end_sample, to_sample)
            if first < last:
                part = frame.pcm[first - frame.start_sample : last - frame.start_sample]
                out[first - from_sample : last - from_sample] = part
        return out


@asynccontextmanager
async def demo_room(ptime_ms: int = 60) -> AsyncIterator[DemoRoom]:
    clock = SystemClock()
    call_clock = CallClock(clock, started_at=clock.now())
    worker = MediaThread()
    worker.start()
    room = BuiltinRoom(
        call_clock=call_clock, clock=clock, worker=worker, lane_ids=lambda p: f"lane-{p}", ptime_ms=ptime_ms
    )
    stage = DemoRoom(room, call_clock)
    await room.join(stage)
    async with serve(stage.page, "127.0.0.1", 0) as server:
        stage.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        try:
            yield stage
        finally:
            await room.leave(EndReason.CALL_ENDED)
            worker.close()
