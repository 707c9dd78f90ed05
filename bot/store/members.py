"""The processes of one service: which of them live, by leases on the bus.

A process renews one lease while it lives. Another one is taken for dead when its lease was missing for as long as a
lease lasts, over looks at a bus that answered each time: a bus that was away, or that was started again and remembers
nothing, proves nobody's death. Who leaves in good order says so, and is taken for gone at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

import structlog

from bot.clock import Clock
from bot.errors import SetupError
from bot.store.bus import Bus

log = structlog.get_logger()

RENEWALS = 3
"""Renewals in that time."""
GONE_S = 3600.0
"""How long it is remembered that a process left in good order."""


class OtherVault(SetupError):
    """Processes that share a database hold different keys."""

    def __init__(self) -> None:
        super().__init__(
            "other processes of this service have another data directory; give all of them the same one "
            "(QUIETNOTE_DATA_DIR), or each service a database and a Redis of its own"
        )


class BusNeeded(SetupError):
    """Several processes cannot share a database without a bus between them."""

    def __init__(self) -> None:
        super().__init__("REDIS_URL does not answer, and processes that share a database need it to start")


def new_process() -> str:
    """A name for this process, another one at each start."""
    return f"proc_{secrets.token_hex(12)}"


class Members:
    """This process among its like."""

    def __init__(self, process: str, bus: Bus, clock: Clock, *, ttl_s: float) -> None:
        """A lease that is not renewed lasts ``ttl_s``."""
        self.id = process
        self.ttl_s = ttl_s
        self._bus = bus
        self._clock = clock
        self._missing: dict[str, float] = {}
        """Since when a process has no lease."""
        self._dead: set[str] = set()

    @property
    def every_s(self) -> float:
        """Pause between two renewals."""
        return self.ttl_s / RENEWALS

    async def join(self, vault_id: str) -> None:
        """Be there. Raises BusNeeded, and OtherVault where the others' keys are not those of ``vault_id``."""
        if not await self._bus.ping():
            raise BusNeeded
        if not await self.renew(vault_id):
            raise OtherVault if await self._bus.ping() else BusNeeded

    async def renew(self, vault_id: str) -> bool:
        """Go on being there; False when that could not be said, or others have another vault."""
        same = await self._bus.lease("vault", vault_id, 2 * self.ttl_s)
        return await self._bus.lease(_name(self.id), self.id, self.ttl_s) and same

    async def leave(self) -> None:
        """Be gone, in good order."""
        await self._bus.lease(f"gone:{self.id}", self.id, GONE_S)
        await self._bus.release(_name(self.id), self.id)

    async def look(self, processes: Collection[str]) -> frozenset[str]:
        """Look after these; those of them that are dead."""
        for process in sorted(set(processes) - self._dead - {self.id}):
            if await self._is_dead(process):
                log.warning("process_gone", executor_id=process)
                self._dead.add(process)
        return self.dead & frozenset(processes)

    @property
    def dead(self) -> frozenset[str]:
        """Those that a look found dead."""
        return frozenset(self._dead)

    def is_dead(self, process: str) -> bool:
        """True for one that a look found dead."""
        return process in self._dead

    async def answers(self, process: str) -> bool:
        """True when its lease stands at this moment."""
        return await self._bus.held(_name(process)) is True

    async def _is_dead(self, process: str) -> bool:
        held, now = await self._bus.held(_name(process)), self._clock.monotonic_s()
        if held is None:
            self._missing.clear()
            return False
        if held:
            self._missing.pop(process, None)
            return False
        since = self._missing.setdefault(process, now)
        return now - since >= self.ttl_s or await self._bus.held(f"gone:{process}") is True


def _name(process: str) -> str:
    return f"process:{process}"
