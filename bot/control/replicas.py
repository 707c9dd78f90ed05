"""Several processes behind one address: each keeps its lease, and what a dead one left is taken up by another.

    every third of a lease   the lease is renewed; sessions that another process took over are let go of here
    every lease              who runs workflows or serves sessions is looked after: what the dead left is adopted, and
                             sessions that nobody deals with are taken up
    every minute             sessions in which nothing goes on are given back: whoever is asked next may serve them

Nothing here is needed for what goes on in a process: without the bus calls and workflows go on, and nobody is taken for
dead.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from bot.aftercall import AfterCall
from bot.control.registry import ENDED, RUNNING, LiveSessions
from bot.control.stage import BOT_PRESENT
from bot.errors import QuietnoteError
from bot.store.db import Database
from bot.store.members import Members
from bot.store.parts import of_subject, subject_of
from bot.store.serving import Run, TakenOver, run_number
from bot.store.sessions import SessionRecord, SessionStore

log = structlog.get_logger()

IDLE_S = 60.0
GIVE_BACK_S = 2.0
"""Longest wait of a process that ends for the database to note that."""


class Colleagues:
    """What the workflow engine must know of the other processes."""

    def __init__(self, store: SessionStore, members: Members) -> None:
        self._store = store
        self._members = members

    def is_dead(self, executor_id: str) -> bool:
        """True for an executor that was found dead."""
        return self._members.is_dead(executor_id)

    async def claim(self, subject: str, run: int, taken_up: int) -> Run:
        """Let this run alone work at a part of a session; it is ``lost`` where a later one does."""
        session_id, part = of_subject(subject)
        claimed = Run(session_id, run_number(part, run, taken_up))
        with contextlib.suppress(TakenOver):
            await self._store.take_work(claimed)
        return claimed


class Replicas:
    """This process's part in it."""

    def __init__(
        self, members: Members, vault_id: str, db: Database, store: SessionStore, live: LiveSessions, work: AfterCall
    ) -> None:
        self._members = members
        self._vault_id = vault_id
        self._db = db
        self._store = store
        self._live = live
        self._work = work

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        look_at = idle_at = clock()
        while True:
            await self._guarded("renew", self.renew())
            if clock() >= look_at:
                look_at = clock() + self._members.ttl_s
                await self._guarded("look", self.look())
            if clock() >= idle_at:
                idle_at = clock() + IDLE_S
                await self._guarded("idle", self._give_back_idle())
            await asyncio.sleep(self._members.every_s)

    async def leave(self) -> None:
        """The process ends in good order: others need not wait to take over what it leaves."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                await self._guarded("give_back", self._store.give_back())
                await self._members.leave()

    async def renew(self) -> None:
        """Stay a member, and let go of what others took over meanwhile."""
        await self._members.renew(self._vault_id)
        here = self._live.open_here()
        if here:
            served = await self._store.served()
            for session_id in here:
                if served.get(session_id, self._members.id) != self._members.id:
                    await self._live.drop(session_id)

    async def look(self) -> None:
        """Look after the others, and take up what nobody deals with any more."""
        served = await self._store.served()
        dead = await self._members.look({*served.values(), *await self._work.engine.executors()})
        if dead and (adopted := await self._work.engine.adopt(dead)):
            log.info("workflows_adopted", count=adopted)
        async with self._db.turn("orphans", wait=False) as mine:
            if not mine:
                return
            for record in await self._store.unfinished():
                server = served.get(record.id)
                if (server is None or server in dead) and await self._is_orphan(record):
                    await self._live.take_up(record)

    async def _is_orphan(self, record: SessionRecord) -> bool:
        if record.capture in RUNNING or record.bot in BOT_PRESENT:
            return True
        return record.capture in ENDED and not await self._work.engine.was_started(subject_of(record))

    async def _give_back_idle(self) -> None:
        await self._store.give_back(await self._live.put_away_idle())

    async def _guarded(self, what: str, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except QuietnoteError as error:
            log.warning("replica_round_failed", what=what, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001  the next round tries again
            log.error("replica_round_failed", what=what, error=type(error).__name__)
