"""Acks of control messages that were carried out: a message that comes again gets the same ack and has no effect.

The same id with another action is another message: it is refused, not taken for the one that was carried out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from bot.control.capture import Ack
from bot.errors import IdempotencyConflict, Overloaded
from bot.events import CaptureState
from bot.store.sessions import SessionStore

log = structlog.get_logger()

REMEMBERED = 1000
"""Acks of a session kept in memory; the database has all of them."""


class AckMemory:
    """One session's acks, by who sent the message and its id."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self._recent: OrderedDict[tuple[str, str], _Done] = OrderedDict()

    async def load(self) -> None:
        """Take up what was acked before this process, so that what comes again is known before anything is done."""
        for who, message_id, ack in await self._store.acks(self._session_id, limit=REMEMBERED):
            self._recent[who, message_id] = _done(ack)

    def recent(self, who: str, message_id: str | None, action: str) -> Ack | None:
        """The ack, if it was given lately; never waits. Raises IdempotencyConflict when it was another action's."""
        done = self._recent.get((who, message_id)) if message_id else None
        return None if done is None else done.again(action)

    async def find(self, who: str, message_id: str | None, action: str) -> Ack | None:
        """The ack, however long ago. Raises IdempotencyConflict when it was another action's."""
        if message_id is None:
            return None
        stored = await self._store.remembered_ack(self._session_id, who, message_id)
        return None if stored is None else _done(stored).again(action)

    async def keep(self, who: str, message_id: str | None, action: str, ack: Ack) -> None:
        """Remember an ack: here, and in the database if it takes it. What was done is done, whether it does or not."""
        if message_id is None:
            return
        self._recent[who, message_id] = _Done(action, ack)
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        try:
            await self._store.remember_ack(
                self._session_id,
                who,
                message_id,
                {
                    "action": action,
                    "state": ack.state.value,
                    "effective_at_ms": ack.effective_at_ms,
                    "seq": ack.seq,
                },
            )
        except Overloaded as error:
            log.warning("ack_not_stored", session_id=self._session_id, error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Done:
    """A message that was carried out."""

    action: str | None
    """None in what an older release stored."""
    ack: Ack

    def again(self, action: str) -> Ack:
        """The ack for the same message once more."""
        if self.action not in {None, action}:
            raise IdempotencyConflict("That message_id was used for another action; give each message its own.")
        return self.ack


def _done(stored: Mapping[str, Any]) -> _Done:
    ack = Ack(CaptureState(stored["state"]), int(stored["effective_at_ms"]), int(stored["seq"]))
    return _Done(stored.get("action"), ack)
