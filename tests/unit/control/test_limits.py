"""Rate limits with and without the bus."""

from __future__ import annotations

import pytest

from bot.clock import ManualClock
from bot.control.limits import REMEMBERED, Limit, RateLimiter
from bot.errors import RateLimited


class Counter:
    """A bus that counts for several processes, or is away."""

    def __init__(self) -> None:
        self.counts: dict[str, int] | None = {}

    async def count(self, name: str, ttl_s: float) -> int | None:
        if self.counts is None:
            return None
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name]


LIMIT = Limit(tries=2, window_s=60)


async def test_a_limit_holds_over_processes() -> None:
    bus, clock = Counter(), ManualClock()
    here, there = RateLimiter(bus, clock, b"k"), RateLimiter(bus, clock, b"k")
    await here.check("login", "ada@example.org", LIMIT)
    await there.check("login", "ada@example.org", LIMIT)
    with pytest.raises(RateLimited):
        await here.check("login", "ada@example.org", LIMIT)
    await here.check("login", "bo@example.org", LIMIT)
    assert bus.counts is not None
    assert not any("ada" in name for name in bus.counts), "no address reaches the bus"


async def test_without_the_bus_this_process_still_counts() -> None:
    bus, clock = Counter(), ManualClock()
    bus.counts = None
    limiter = RateLimiter(bus, clock, b"k")
    for _ in range(2):
        await limiter.check("login", "a", LIMIT)
    with pytest.raises(RateLimited):
        await limiter.check("login", "a", LIMIT)
    clock.advance(60)
    await limiter.check("login", "a", LIMIT)


async def test_memory_is_bounded() -> None:
    limiter = RateLimiter(Counter(), ManualClock(), b"k")
    for number in range(REMEMBERED + 50):
        await limiter.check("join", str(number), LIMIT)
    assert len(limiter._here) == REMEMBERED
