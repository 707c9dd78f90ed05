"""Participants of benched calls, in a process of their own, so that what they cost is not measured.

    python -m bot.bench.senders        one job on the first line of standard input, then orders, one a line

They are driven by :mod:`bot.bench.live` and answer in JSON lines. All times are monotonic seconds, which on one
machine are the same for every process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Heard, Peer
from bot.media import loopback

ROLES = {"doctor": "clinician", "patient": "client"}
"""Lanes of a recording, and what they are in a session."""
CONNECT_TIMEOUT_S = 30.0
LAST_WORDS_S = 20.0
"""Longest wait for the last final after the lanes ended."""
QUIET_S = 3.0
"""Without a new caption for this long, the last final was the last."""
TRANSCRIPT_TIMEOUT_S = 120.0


def say(event: str, **data: Any) -> None:
    """One line to the driver."""
    sys.stdout.write(json.dumps({"event": event, **data}) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class _Times:
    """What was seen of one caption."""

    first_s: float | None = None
    final: Mapping[str, Any] | None = None
    final_s: float = 0.0


class Call:
    """One call: two peers and what they saw."""

    def __init__(self, index: int, base_url: str, job: Mapping[str, Any], recordings: Mapping[str, Recording]) -> None:
        self.index = index
        self._captions: dict[str, _Times] = {}
        self._clock_zero_s: float | None = None
        self._last_caption_s = 0.0
        origin_s = time.monotonic()
        self._peers = {
            lane: Peer(
                base_url,
                job["session_id"],
                job["tokens"][role],
                recording=recordings[lane],
                origin_s=origin_s,
                on_message=self._heard,
            )
            for lane, role in ROLES.items()
        }

    def _heard(self, _peer: Peer, heard: Heard) -> None:
        message = heard.message
        if message["type"] == "state" and message["now_ms"] > 0:
            zero = heard.at_s - message["now_ms"] / 1000
            self._clock_zero_s = min(zero, self._clock_zero_s or zero)
        elif message["type"] == "caption":
            times = self._captions.setdefault(message["segment_id"], _Times())
            if message["final"]:
                if times.final is None:
                    times.final, times.final_s = message, heard.at_s
                    self._last_caption_s = heard.at_s
            elif times.first_s is None and message["text"]:
                times.first_s = heard.at_s

    async def begin(self) -> None:
        """Both come in, the client agrees, the clinician presses Start; ready when both are captured."""
        clinician, client = self._peers["doctor"], self._peers["patient"]
        await clinician.join()
        await client.join()
        await clinician.admit(client.participant_id)
        await client.until(lambda: client.admitted, "admission", CONNECT_TIMEOUT_S)
        await client.consent("granted")
        pressed_s = time.monotonic()
        ack = await clinician.control("start")
        for peer in self._peers.values():
            await peer.until_connected(CONNECT_TIMEOUT_S)
        await clinician.until(lambda: _captured(clinician) == len(ROLES), "captured sound of both", CONNECT_TIMEOUT_S)
        ids = {lane: peer.participant_id for lane, peer in self._peers.items()}
        opened_ms = float(ack["effective_at_ms"])
        say("ready", call=self.index, pressed_s=pressed_s, opened_ms=opened_ms, participants=ids)

    def play(self, at_s: float) -> None:
        """Both lanes speak."""
        starts = {lane: peer.play(at_s) for lane, peer in self._peers.items()}
        asked = {lane: asdict(peer.asked) if peer.asked else None for lane, peer in self._peers.items()}
        say("playing", call=self.index, starts_s=starts, asked=asked)

    async def last_words(self, ended_s: float) -> None:
        """Wait until nothing more is captioned, then tell all captions."""
        await asyncio.sleep(max(0.0, ended_s - time.monotonic()))
        while True:
            now_s = time.monotonic()
            open_partials = any(t.final is None for t in self._captions.values())
            quiet_s = now_s - max(ended_s, self._last_caption_s)
            if now_s - ended_s > LAST_WORDS_S or (quiet_s > QUIET_S and not open_partials):
                break
            await asyncio.sleep(0.1)
        shown = ("participant_id", "start_ms", "end_ms", "text")
        captions = [
            {key: t.final[key] for key in shown} | {"at_s": t.final_s, "first_s": t.first_s}
            for t in self._captions.values()
            if t.final is not None and t.final["text"]
        ]
        say("captions", call=self.index, captions=captions, clock_zero_s=self._clock_zero_s)

    async def finish(self) -> None:
        """Finish, wait for the transcript, hang up."""
        clinician = self._peers["doctor"]
        await clinician.control("finish")
        await clinician.until(
            lambda: clinician.state.get("transcript") in {"ready", "failed"}, "the transcript", TRANSCRIPT_TIMEOUT_S
        )
        say("finished", call=self.index, transcript=clinician.state.get("transcript"))

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(peer.leave() for peer in self._peers.values()), return_exceptions=True)


def _captured(clinician: Peer) -> int:
    """How many lanes are heard."""
    return sum(lane["captured_ms"] > 0 for lane in clinician.ledger.values())


async def _order(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    if not line:
        raise CallFailed("The driver is gone.")
    order: dict[str, Any] = json.loads(line)
    return order


async def run() -> None:
    """Carry out one job."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loopback.choose("auto")
    job = await _order(reader)
    seconds = float(job["seconds"])
    recordings = {
        lane: await asyncio.to_thread(Recording.read, Path(job["files"][lane]), seconds=seconds) for lane in ROLES
    }
    calls = [Call(one["index"], job["base_url"], one, recordings) for one in job["calls"]]
    try:
        for call in calls:
            await call.begin()
        at_s = float((await _order(reader))["play_at_s"])
        for call in calls:
            call.play(at_s)
        await asyncio.gather(*(call.last_words(at_s + seconds) for call in calls))
        await _order(reader)
        await asyncio.gather(*(call.finish() for call in calls))
    except CallFailed as error:
        say("failed", reason=str(error))
    finally:
        await asyncio.gather(*(call.close() for call in calls))


if __name__ == "__main__":
    asyncio.run(run())
