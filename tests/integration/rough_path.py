"""A scripted way from a participant to the bot: it loses, delays, reorders, holds up or cuts what is sent.

It stands where aiortc hands packets to DTLS, so that everything behind it is real: encryption, sockets, the bot. What
it does follows a seed, packet by packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.demo.peer import BOT, Peer

REORDERED_S = 0.07
"""How much longer a packet of 60 ms is under way that the next one overtakes."""


class RoughPath:
    """A path whose faults are set while it is used. Without any it passes everything on at once."""

    def __init__(self, send: Any, *, seed: int) -> None:
        self._send = send
        self._rng = random.Random(seed)
        self._under_way: list[tuple[float, int, float, bytes]] = []
        self._count = 0
        self._changed = asyncio.Event()
        self._is_shut = self._is_cut = False
        self.loss = 0.0
        """The share of packets that is dropped."""
        self.jitter_s = 0.0
        """Up to how much longer than the fastest a packet takes; packets overtake each other then."""
        self.reordered = 0.0
        """The share of packets that the next one overtakes."""
        self.backlog_speed = math.inf
        """How much faster than it was sent what was held up goes out."""
        self.sent = self.dropped = 0
        """Packets of sound that were given to the path, and those of them that never arrive."""

    @property
    def held(self) -> int:
        """Packets under way."""
        return len(self._under_way)

    def shut(self) -> None:
        """Hold everything up."""
        self._is_shut = True

    def open(self) -> None:
        """Let go what was held up, in the order it was sent."""
        self._is_shut = False
        self._changed.set()

    def cut(self) -> None:
        """Drop everything."""
        self._is_cut = True

    def mend(self) -> None:
        """Drop nothing more, and delay nothing."""
        self._is_cut = False
        self.loss = self.jitter_s = self.reordered = 0.0

    async def take(self, data: bytes) -> None:
        """A packet sets out."""
        drop, wait, overtaken = (self._rng.random() for _ in range(3))
        now, sound = time.monotonic(), not 64 <= data[1] & 0x7F < 96  # RFC 5761: those are RTCP
        self.sent += sound
        if self._is_cut or drop < self.loss:
            self.dropped += sound
            return
        due = now + wait * self.jitter_s + (REORDERED_S if overtaken < self.reordered else 0.0)
        self._count += 1
        heapq.heappush(self._under_way, (due, self._count, now, data))
        self._changed.set()

    async def run(self) -> None:
        """Carry packets until cancelled, or until the connection is gone."""
        last_sent = last_out = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while True:
                self._changed.clear()
                wait_s: float | None = None
                if self._under_way and not self._is_shut:
                    due, _, sent, data = self._under_way[0]
                    goes = max(due, last_out + max(0.0, sent - last_sent) / self.backlog_speed)
                    wait_s = goes - time.monotonic()
                    if wait_s <= 0:
                        heapq.heappop(self._under_way)
                        last_sent, last_out = sent, time.monotonic()
                        await self._send(data)
                        continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait_s)


@asynccontextmanager
async def rough_path(peer: Peer, *, seed: int = 1) -> AsyncIterator[RoughPath]:
    """The way from a peer to the bot, for as long as its connection stands."""
    transport: Any = peer._links[BOT]._pc.getSenders()[0].transport
    path = RoughPath(transport._send_rtp, seed=seed)
    transport._send_rtp = path.take
    running = asyncio.create_task(path.run())
    try:
        yield path
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
