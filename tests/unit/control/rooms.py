"""People and pages of a room, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.control.lobby import Seat
from bot.events import ConsentState, Role
from bot.media.room import Member


class Page:
    """A connected page that keeps what it was sent."""

    def __init__(self) -> None:
        self.got: list[Mapping[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    async def send(self, message: Mapping[str, Any]) -> None:
        self.got.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def member(who: str, role: Role = Role.CLIENT) -> Member:
    return Member(who, role, who.title())


def seat(
    who: str,
    role: Role = Role.CLIENT,
    *,
    admitted: bool = False,
    page: Page | None = None,
    consent: ConsentState = ConsentState.UNKNOWN,
    left_at_s: float | None = None,
) -> Seat:
    return Seat(member(who, role), admitted, consent, link=page, left_at_s=left_at_s)
