"""Work on what was said that is under way, so that it can be stopped at once when it may not go on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work was stopped: what it was done with is being destroyed."""


class UnderWay:
    """What is being done in this process, by session. On the event loop."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    async def run(self, session_id: str, work: Awaitable[T]) -> T:
        """Do ``work`` for a session. Raises :class:`Stopped` when :meth:`stop` came before its end."""
        task = asyncio.ensure_future(work)
        self._tasks[session_id].add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task not in self._tasks[session_id]:  # taken out by stop: nobody cancelled us
                raise Stopped from None
            raise
        finally:
            self._tasks[session_id].discard(task)
            if not self._tasks[session_id]:
                del self._tasks[session_id]

    def stop(self, session_id: str) -> None:
        """Stop whatever is being done for a session."""
        for task in self._tasks.pop(session_id, set()):
            task.cancel()
