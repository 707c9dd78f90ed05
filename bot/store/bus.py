"""The live bus: what may be lost, between the processes of one service.

Captions, state changes and leases go over Redis or Valkey. A message that cannot be sent is counted and forgotten: an
outage there never breaks a call, because everything that must not be lost is in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bot.clock import Clock, SystemClock

log = structlog.get_logger()

TIMEOUT_S = 1.0
"""The longest anybody waits for the bus."""
REST_S = 1.0
"""After a failure nothing is sent for this long, so that a dead bus costs a call no time."""
MAX_CONNECTIONS = 64
POLL_S = 5.0
MAX_PAYLOAD_BYTES = 1 << 20

_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder == false or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""
_FAILURES = (RedisError, OSError, TimeoutError)


def live_channel(session_id: str) -> str:
    """The channel on which a session's live state and sealed captions travel."""
    return f"qn:live:{session_id}"


def inbox_channel(clinic_id: str) -> str:
    """The channel on which processes tell each other, in ids, what moved in a clinic's inbox and list of notes."""
    return f"qn:inbox:{clinic_id}"


@dataclass(slots=True)
class BusStats:
    """Counters since the start."""

    published: int = 0
    lost: int = 0
    """Messages that were not sent because the bus was away."""
    outages: int = 0


class Bus:
    """One process's connection to Redis or Valkey."""

    def __init__(self, url: str, *, clock: Clock | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._client: Redis | None = None
        self._resting_until_s = 0.0
        self._closing = asyncio.Event()
        self.reachable = False
        self.stats = BusStats()

    async def open(self) -> None:
        """Connect. A bus that does not answer is no error: it is tried again with every use."""
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)
        self._closing.clear()
        await self.ping()

    async def close(self) -> None:
        """End every subscription and connection. Idempotent."""
        self._closing.set()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ping(self) -> bool:
        """True when the bus answers right now."""
        self._resting_until_s = 0.0
        return await self._do("PING") is not None

    async def publish(self, channel: str, payload: bytes) -> None:
        """Send to whoever listens now. Never raises for an outage: the message is counted as lost."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError("too large for the bus")
        if await self._do("PUBLISH", channel, payload) is None:
            self.stats.lost += 1
        else:
            self.stats.published += 1

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Messages of a channel, from the moment the block is entered; over an outage it goes on when the bus is back.

        What is sent while the bus is away is not made up for. A reader that stays far behind is cut off by the server
        and goes on with what is sent after that.
        """
        if self._client is None:
            raise RuntimeError("the bus is not open")
        line = _Line(self._client, channel)
        try:
            await self._listen(line)
            yield self._messages(line)
        finally:
            await line.hang_up()

    async def lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Take or renew the sole right to ``name``. False when another owner has it, or when the bus is away."""
        taken = await self._do("EVAL", _LEASE, 1, _lease_key(name), owner, max(1, int(ttl_s * 1000)))
        return bool(taken == 1)

    async def release(self, name: str, owner: str) -> None:
        """Give a lease back, if it is still ``owner``'s."""
        await self._do("EVAL", _RELEASE, 1, _lease_key(name), owner)

    async def held(self, name: str) -> bool | None:
        """True when somebody has the right to ``name``; None when the bus is away, which says nothing of it."""
        found = await self._do("EXISTS", _lease_key(name))
        return bool(found) if found is not None else None

    async def count(self, name: str, ttl_s: float) -> int | None:
        """Count one more under ``name``, forgotten ``ttl_s`` after the first; None when the bus is away."""
        counted = await self._do("EVAL", _COUNT, 1, f"qn:count:{name}", max(1, int(ttl_s * 1000)))
        return int(counted) if counted is not None else None

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _do(self, *command: Any) -> Any:
        """Carry out a command; None when the bus is away."""
        if self._client is None or self._clock.monotonic_s() < self._resting_until_s:
            return None
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                answer = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except _FAILURES as error:
            self._went_away(error)
            return None
        self._came_back()
        return answer

    def _went_away(self, error: BaseException) -> None:
        self._resting_until_s = self._clock.monotonic_s() + REST_S
        if self.reachable or self.stats.outages == 0:
            self.stats.outages += 1
            log.warning("bus_away", error=type(error).__name__)
        self.reachable = False

    def _came_back(self) -> None:
        if not self.reachable and self.stats.outages:
            log.info("bus_back", lost=self.stats.lost)
        self.reachable = True

    async def _listen(self, line: _Line) -> None:
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                await line.listen()
        except _FAILURES as error:
            self._went_away(error)
            await line.hang_up()
        else:
            self._came_back()

    async def _messages(self, line: _Line) -> AsyncIterator[bytes]:
        while not self._closing.is_set():
            if not line.listening:
                await self._rest()
                if not self._closing.is_set():
                    await self._listen(line)
                continue
            try:
                message = await line.next(POLL_S)
            except _FAILURES as error:
                if not self._closing.is_set():
                    self._went_away(error)
                await line.hang_up()
                continue
            if message is not None:
                yield message

    async def _rest(self) -> None:
        """Wait before the next try, or until the bus is closed."""
        try:
            async with asyncio.timeout(REST_S):
                await self._closing.wait()
        except TimeoutError:
            pass


class _Line:
    """One subscription's connection, made anew after each failure."""

    def __init__(self, client: Redis, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._pubsub: PubSub | None = None

    @property
    def listening(self) -> bool:
        return self._pubsub is not None

    async def listen(self) -> None:
        """Subscribe, and wait until the server says so."""
        self._pubsub = self._client.pubsub()
        await self._pubsub.subscribe(self._channel)
        while (message := await self._pubsub.get_message(timeout=None)) is None or message["type"] != "subscribe":
            pass

    async def next(self, timeout_s: float) -> bytes | None:
        """The next message; None when there was none for a while."""
        assert self._pubsub is not None
        message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        return message["data"] if message is not None and message["type"] == "message" else None

    async def hang_up(self) -> None:
        """Close the connection. Idempotent."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()  # type: ignore[no-untyped-call]


def _lease_key(name: str) -> str:
    return f"qn:lease:{name}"
