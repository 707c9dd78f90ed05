"""Serving and working, as transactions: :mod:`bot.store.serving` says what they mean."""

from __future__ import annotations

from collections.abc import Collection

from bot.store import serving
from bot.store.ground import Ground
from bot.store.serving import Run


class ClaimStore(Ground):
    """Who serves and works at sessions, among processes that share the database."""

    async def take_session(self, session_id: str, dead: Collection[str]) -> str | None:
        """Serve a session, also one that a process of the ``dead`` served; else, who serves it. Raises NotFound."""
        if self._process is None:
            return None
        async with self._db.write() as db:
            return await serving.take(db, session_id, self._process, dead)

    async def give_back(self, session_ids: Collection[str] | None = None) -> None:
        """Serve these sessions no more; without any named, none."""
        if self._process is not None and (session_ids is None or session_ids):
            async with self._db.write() as db:
                await serving.give_back(db, self._process, session_ids)

    async def served(self) -> dict[str, str]:
        """By session, the process that serves it."""
        async with self._db.read() as db:
            return await serving.served(db)

    async def take_work(self, run: Run) -> None:
        """Let this run alone work at its session. Raises TakenOver when a later one does, NotFound."""
        async with self._db.write() as db:
            await serving.take_work(db, run)
