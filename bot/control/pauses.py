"""When recording was paused, read from a session's events: for a process that was not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bot.events import CaptureState, SessionEvent


class Pause(NamedTuple):
    """A pause on the call's clock, in ms; ``end_ms`` is None while it goes on."""

    start_ms: int
    end_ms: int | None


def pauses(events: Iterable[SessionEvent]) -> list[Pause]:
    """The pauses that these events, oldest first, tell of. One that changed its reasons is one."""
    found: list[Pause] = []
    since: int | None = None
    for event in events:
        state, at = event.data.get("state"), event.data.get("effective_at_ms")
        if not event.kind.startswith("capture.") or state is None or at is None:
            continue
        if state == CaptureState.PAUSED:
            since = at if since is None else since
        elif since is not None:
            found.append(Pause(since, at))
            since = None
    return found if since is None else [*found, Pause(since, None)]
