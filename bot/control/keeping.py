"""Finals and gaps on their way to the database: in order, and kept while it takes none."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from bot.errors import QuietnoteError, StorageUnavailable
from bot.events import Gap, Segment
from bot.store.sessions import SessionStore

log = structlog.get_logger()

WAITING = 2000
"""Items that may wait for the database at once; further partials are left out."""
KEPT = 5000
"""Finals and gaps kept while the database takes none: hours of a call."""
TRY_AGAIN_S = 0.5
SETTLE_S = 30.0
"""Longest wait for a database that takes nothing, when a call ends."""
DISK_FULL, STORAGE = "disk-full", "storage-unavailable"
"""Warnings of their own: what helps differs from what helps when the service is merely behind."""


def warning_of(error: QuietnoteError) -> str:
    """What a fault is called where it is shown."""
    if isinstance(error, StorageUnavailable):
        return DISK_FULL if error.cause == "full" else STORAGE
    return str(getattr(error, "slug", "overloaded"))


class Keeper:
    """One session's way from the recogniser to the database. On the event loop.

    A final is passed on once it is stored. While it cannot be, it and all later ones wait here, so that no lane's
    watermark passes words that are not stored; their audio stays in the spool meanwhile. Overload policy: partials are
    dropped when :data:`WAITING` wait, finals when :data:`KEPT` do, which is told as ``overloaded``.
    """

    def __init__(
        self,
        store: SessionStore,
        session_id: str,
        *,
        on_segment: Callable[[Segment], Awaitable[None]],
        on_committed: Callable[[Segment], None],
        on_fault: Callable[[str], None],
        epoch: int = 0,
    ) -> None:
        self._store, self._session_id, self._epoch = store, session_id, epoch
        self._on_segment, self._on_committed, self._on_fault = on_segment, on_committed, on_fault
        self._incoming: asyncio.Queue[tuple[int, Segment | Gap] | None] = asyncio.Queue(maxsize=WAITING)
        self._kept: deque[Segment | Gap] = deque()
        self._count = 0
        self._dropped: dict[str, int] = {}
        """By lane: the last item that was put before what was waiting of it was dropped."""
        self._shown: dict[str, Segment] = {}
        """By lane: the partial that pages show."""
        self._saving = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Items that are not stored yet."""
        return self._incoming.qsize() + len(self._kept)

    def start(self) -> None:
        """Begin to store."""
        self._task = asyncio.create_task(self._take_all(), name=f"commit:{self._session_id}")

    def put(self, item: Segment | Gap) -> None:
        """Queue an item; never waits."""
        self._count += 1
        try:
            self._incoming.put_nowait((self._count, item))
        except asyncio.QueueFull:
            if isinstance(item, Gap) or item.final:
                self._lost()

    async def save(self) -> bool:
        """Store what is kept, in order; False while the database takes none."""
        async with self._saving:
            while self._kept:
                item = self._kept[0]
                try:
                    await self._store_one(item)
                except QuietnoteError as error:
                    log.warning("final_not_committed", session_id=self._session_id, error=type(error).__name__)
                    self._on_fault(warning_of(error))
                    if error.retryable:
                        return False
                else:
                    if isinstance(item, Segment):
                        await self._tell(item)
                if self._kept and self._kept[0] is item:
                    self._kept.popleft()
            return True

    async def settle(self) -> bool:
        """Store all that was put; False if the database did not take it within :data:`SETTLE_S`, or nobody stores."""
        if self._task is None:
            return False
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._incoming.join()
                while not await self.save():  # noqa: ASYNC110  a disk tells nobody that it has room again
                    await asyncio.sleep(TRY_AGAIN_S)
        except TimeoutError:
            log.error("words_not_stored", session_id=self._session_id, depth=self.depth)
            return False
        return True

    def forget(self) -> None:
        """Drop what is not stored."""
        self._kept.clear()

    def drop_lane(self, lane_id: str) -> None:
        """Drop what of one lane is not stored, and take back what pages show of it; what is put later is taken."""
        self._dropped[lane_id] = self._count
        self._kept = deque(item for item in self._kept if isinstance(item, Gap) or item.lane_id != lane_id)
        if (partial := self._shown.pop(lane_id, None)) is not None:
            self.put(replace(partial, rev=partial.rev + 1, text="", words=()))

    async def close(self) -> None:
        """Store what can be stored now, then end. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            await self._incoming.put(None)
            await asyncio.wait_for(task, SETTLE_S)

    async def _take_all(self) -> None:
        while (waiting := await self._incoming.get()) is not None:
            count, item = waiting
            try:
                if isinstance(item, Segment) and count <= self._dropped.get(item.lane_id, 0):
                    continue
                if isinstance(item, Segment) and not item.final:
                    await self._tell(item)
                elif len(self._kept) < KEPT:
                    self._kept.append(item)
                    await self.save()
                else:
                    self._lost()
            finally:
                self._incoming.task_done()
        self._incoming.task_done()  # the end marker: whoever waits for the rest need not wait for it

    async def _store_one(self, item: Segment | Gap) -> None:
        if isinstance(item, Gap):
            await self._store.add_gap(self._session_id, item)
            return
        await self._store.commit_final(self._session_id, item, epoch=self._epoch)
        self._on_committed(item)

    async def _tell(self, segment: Segment) -> None:
        if segment.final or not segment.text:
            self._shown.pop(segment.lane_id, None)
        else:
            self._shown[segment.lane_id] = segment
        try:
            await self._on_segment(segment)
        except QuietnoteError as error:
            self._on_fault(warning_of(error))

    def _lost(self) -> None:
        log.error("final_not_kept", session_id=self._session_id)
        self._on_fault("overloaded")
