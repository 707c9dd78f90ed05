"""Parts of a gate's world: the real database, scheduler and room contract, each held in a test's hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from bot.asr.captions import segment_of
from bot.asr.engine import Recognition
from bot.asr.scheduler import Scheduler
from bot.clock import ManualClock
from bot.errors import StorageUnavailable
from bot.events import EndReason, Pcm, Word
from bot.media.room import Room, RoomListener
from bot.store.db import Database


def sound(start: int, end: int) -> Pcm:
    """What every microphone hears: samples that tell where they belong, a second of speech, half a second of none."""
    at = np.arange(start, end)
    return np.where(at // 8000 % 3 < 2, at % 20_000 + 2_000, 0).astype(np.int16)


class HeldDatabase(Database):
    """The real database, which a test can make slow, fail, or be the last thing a process did."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.busy = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._open = asyncio.Event()
        self._open.set()
        self.passing: int | None = None
        """Transactions to come until all stall."""
        self.failing = self.sparing = 0
        """Writes to come that fail, and how many before them do not."""
        self.unreadable = 0
        """Reads to come that fail."""
        self.kill_in: int | None = None
        """Writes to come until the process is killed."""
        self.kill_after = False
        """It is killed after that write rather than before it."""
        self.killed = asyncio.Event()

    def stall(self, after: int = 0) -> None:
        """Nothing is read or written any more, after so many transactions."""
        self.passing = after

    def go_on(self) -> None:
        """It works again."""
        self.passing, self.failing, self.sparing, self.kill_in = None, 0, 0, None
        self.unreadable = 0
        self._open.set()

    async def _turn(self) -> None:
        if self.passing is not None:
            self.passing -= 1
            if self.passing < 0:
                self._open.clear()
        await self._open.wait()

    async def _dead(self) -> None:
        self.killed.set()
        await asyncio.Event().wait()

    def _kills(self) -> bool:
        if self.kill_in is None:
            return False
        self.kill_in -= 1
        return self.kill_in <= 0

    @asynccontextmanager
    async def _transaction(self, begin: str, *, commit: bool) -> AsyncIterator[Any]:
        if self.killed.is_set():
            await self._dead()
        await self._turn()
        kills = commit and self._kills()
        if kills and not self.kill_after:
            await self._dead()
        if commit and self.sparing:
            self.sparing -= 1
        elif commit and self.failing:
            self.failing -= 1
            raise StorageUnavailable("database", "full")
        elif not commit and self.unreadable:
            self.unreadable -= 1
            raise StorageUnavailable("database", "io")
        self.busy += 1
        self.idle.clear()
        try:
            async with super()._transaction(begin, commit=commit) as session:
                yield session
        finally:
            self.busy -= 1
            if not self.busy:
                self.idle.set()
        if kills:
            await self._dead()


class PumpedScheduler(Scheduler):
    """The real scheduler, which recognises when the test says so instead of on a thread of its own."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def pump(self) -> None:
        while True:
            with self._changed:
                job = self._waiting.next_job(growing=False)
            if job is None:
                return
            segment = segment_of(job.window, job.voice, self._recognised(job), *self._revision(job))
            now_s = self._clock.monotonic_s()
            self._done(job, segment, failed=False, took_s=0.0, now_s=now_s)


class Instant:
    """An engine that always hears the same word, as long as the window."""

    name = "instant"

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        words = (Word("yes", 0, len(pcm) // 16, 0.9),)
        return Recognition("yes", words, 0.9, 0.1, 1.0, language)


class Inline:
    """The media thread's work, done at once."""

    running_s = 0.0

    def __init__(self) -> None:
        self.dead = False

    def post(self, fn: Callable[..., object], *args: object) -> bool:
        if not self.dead:
            fn(*args)
        return True


class Sleeper:
    """``asyncio`` for the modules that wait for time: their sleeps end when the test's clock says so."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._asleep, (self._clock.monotonic_s() + seconds, next(self._numbers), future))
        await future

    async def to_thread(self, fn: Callable[..., Any], *args: Any) -> Any:
        return fn(*args)

    def wake(self) -> None:
        while self._asleep and self._asleep[0][0] <= self._clock.monotonic_s() + 1e-6:
            future = heapq.heappop(self._asleep)[2]
            if not future.done():
                future.set_result(None)


class ScriptedRoom(Room):
    """Connections without a network: it keeps what is sent, and says what people say."""

    def __init__(self, **_given: Any) -> None:
        self.listener: RoomListener | None = None
        self.sent: list[tuple[str | None, Mapping[str, Any]]] = []

    async def join(self, listener: RoomListener) -> None:
        self.listener = listener

    async def leave(self, reason: EndReason) -> None:
        self.listener = None

    def receive(self, participant_id: str, on: bool) -> None:
        pass

    async def drop(self, participant_id: str) -> None:
        pass

    async def send(self, payload: bytes, to: str | None = None) -> None:
        message = json.loads(payload)
        if message["type"] == "ack":
            self.sent.append((to, message))


class NoBus:
    """Nobody listens."""

    async def publish(self, channel: str, payload: bytes) -> None:
        pass
