"""Whose request is being served: known to the audit of whatever that request writes, and of nothing else.

Work that a request leaves behind (a task it spawned) inherits its context and is not its doing: the credentials count
in the task they were checked in only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, by verified credentials."""

    actor: str
    """An id: of a user, of a participant, or of a platform's key."""
    through: str
    """The key's id again, or the door: ``page``, ``token``, ``link``."""


class _Request:
    """A request under way, and the task that serves it."""

    def __init__(self) -> None:
        self.task = asyncio.current_task()
        self.acting: Acting | None = None


_request: ContextVar[_Request | None] = ContextVar("quietnote_request", default=None)


@contextmanager
def request() -> Iterator[None]:
    """Serve a request: who makes it is not known yet."""
    token = _request.set(_Request())
    try:
        yield
    finally:
        _request.reset(token)


def act(actor: str, through: str) -> None:
    """The request is ``actor``'s: its credentials were checked. Outside a request nothing is kept."""
    serving = _request.get()
    if serving is not None and serving.task is asyncio.current_task():
        serving.acting = Acting(actor, through)


def acting() -> Acting | None:
    """Who made the request that this task serves; None where it serves none, or nobody was identified."""
    serving = _request.get()
    return serving.acting if serving is not None and serving.task is asyncio.current_task() else None
