"""What waits to be sent to one page or stream: bounded, with a policy that never loses what matters.

Overload policy: levels, ledgers, lags and partial captions are left out first, the oldest before the newer; a newer
partial replaces the older one of the same segment. States, acks, finals and everything else are never left out: when
only such messages wait and there is no room, the outbox is over, and whoever is behind it is closed and comes back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

LIMIT = 256
"""Messages that may wait: about a minute of a busy call."""

Message = Mapping[str, Any]


def may_drop(message: Message) -> bool:
    """True for what the next message of its kind makes worthless."""
    kind = message.get("type")
    return kind in {"levels", "ledger", "lag"} or (kind == "caption" and message.get("final") is not True)


class Outbox:
    """Messages for one receiver. All methods belong to the event loop."""

    def __init__(self, *, limit: int = LIMIT, on_drop: Callable[[str], None] = lambda _kind: None) -> None:
        self._limit = limit
        self._on_drop = on_drop
        self._waiting: deque[Message] = deque()
        self._wake = asyncio.Event()
        self.over = False
        """True when it could not take a message that must not be lost, or was closed."""

    @property
    def depth(self) -> int:
        """Messages waiting."""
        return len(self._waiting)

    def put(self, message: Message) -> bool:
        """Take a message; False when the receiver is too far behind and must be closed."""
        if self.over:
            return False
        if may_drop(message):
            self._forget_older(message)
        if len(self._waiting) >= self._limit and not self._make_room():
            if may_drop(message):
                self._on_drop(str(message["type"]))
                return True
            self.close()
            return False
        self._waiting.append(message)
        self._wake.set()
        return True

    async def get(self) -> Message | None:
        """The next message; None when the outbox is over."""
        while not self._waiting:
            if self.over:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Take no more and forget what waits."""
        self.over = True
        self._waiting.clear()
        self._wake.set()

    def _forget_older(self, message: Message) -> None:
        key = _subject(message)
        for index, waiting in enumerate(self._waiting):
            if may_drop(waiting) and _subject(waiting) == key:
                del self._waiting[index]
                self._on_drop(str(message["type"]))
                return

    def _make_room(self) -> bool:
        for index, waiting in enumerate(self._waiting):
            if may_drop(waiting):
                del self._waiting[index]
                self._on_drop(str(waiting["type"]))
                return True
        return False


def _subject(message: Message) -> tuple[Any, Any]:
    return message.get("type"), message.get("segment_id")
