"""Acks of control messages that were carried out: a message that comes again gets the same ack and has no effect."""

from __future__ import annotations

from collections import OrderedDict

from bot.control.capture import Ack
from bot.events import CaptureState
from bot.store.sessions import SessionStore

REMEMBERED = 1000
"""Acks of a session kept in memory; the database has all of them."""


class AckMemory:
    """One session's acks, by who sent the message and its id."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self._recent: OrderedDict[tuple[str, str], Ack] = OrderedDict()

    def recent(self, who: str, message_id: str | None) -> Ack | None:
        """The ack, if it was given lately; never waits."""
        return self._recent.get((who, message_id)) if message_id else None

    async def find(self, who: str, message_id: str | None) -> Ack | None:
        """The ack, however long ago."""
        if message_id is None:
            return None
        stored = await self._store.remembered_ack(self._session_id, who, message_id)
        if stored is None:
            return None
        return Ack(CaptureState(stored["state"]), int(stored["effective_at_ms"]), int(stored["seq"]))

    async def keep(self, who: str, message_id: str | None, ack: Ack) -> None:
        """Remember an ack."""
        if message_id is None:
            return
        self._recent[who, message_id] = ack
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        await self._store.remember_ack(
            self._session_id,
            who,
            message_id,
            {"state": ack.state.value, "effective_at_ms": ack.effective_at_ms, "seq": ack.seq},
        )
