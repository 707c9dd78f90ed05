"""Rate limits: how often something may be tried in a while, counted over all processes while the bus is there.

What is counted is named by a keyed hash: neither an address nor an e-mail reaches the bus.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from bot.clock import Clock
from bot.errors import RateLimited

REMEMBERED = 10_000
"""Names counted in this process at once; the oldest is forgotten first."""


class Counting(Protocol):
    """What is asked of the bus."""

    async def count(self, name: str, ttl_s: float) -> int | None:
        """Count one more under ``name``, forgotten ``ttl_s`` after the first; None while the bus is away."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``tries`` within ``window_s`` seconds."""

    tries: int
    window_s: float


class RateLimiter:
    """Counts tries on the bus, and in this process in case the bus is away."""

    def __init__(self, bus: Counting, clock: Clock, secret: bytes) -> None:
        self._bus = bus
        self._clock = clock
        self._secret = secret
        self._here: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def check(self, what: str, who: str, limit: Limit) -> None:
        """Count one try of ``who``. Raises RateLimited beyond the limit."""
        name = f"{what}:{hmac.new(self._secret, f'{what}|{who}'.encode(), hashlib.sha256).hexdigest()[:32]}"
        here = self._count_here(name, limit.window_s)
        everywhere = await self._bus.count(name, limit.window_s)
        if max(here, everywhere or 0) > limit.tries:
            raise RateLimited("Too many tries; wait a little.", retry_after_s=int(limit.window_s))

    def _count_here(self, name: str, window_s: float) -> int:
        now = self._clock.monotonic_s()
        since, tries = self._here.pop(name, (now, 0))
        if now - since >= window_s:
            since, tries = now, 0
        self._here[name] = (since, tries + 1)
        while len(self._here) > REMEMBERED:
            self._here.popitem(last=False)
        return tries + 1
