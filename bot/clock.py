"""Time, injected.

Everything that asks for the time asks a :class:`Clock`, so that tests run on a virtual one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> datetime:
        """The wall time, timezone-aware, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never steps back; its zero means nothing."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall time."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
        self._monotonic_s = 1000.0

    def now(self) -> datetime:
        """Where a test put it."""
        return self._now

    def monotonic_s(self) -> float:
        """Where a test put it."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds``."""
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def jump(self, seconds: float) -> None:
        """Put the wall clock forward or back: it was set, or the machine stood still meanwhile."""
        self._now += timedelta(seconds=seconds)


class SettledTime:
    """Wall time for what cannot be undone: a jump of the clock counts only once it has stood for a while.

    Until then time goes on from where it was. What a wrong clock would destroy is kept for ten minutes more, in which
    it may be put right; what a clock that was put back would keep is not kept longer.
    """

    STANDS_S = 600.0
    NO_JUMP_S = 60.0
    """Wall and monotonic time may part by so much between two looks: they are looked at every minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._line = clock.now(), clock.monotonic_s()
        self._other: tuple[datetime, float] | None = None
        """Where another line of time was first seen, that the clock may have jumped to."""
        self.put_back = timedelta()
        """By how much it was put back when it last was, and that stood."""

    def now(self) -> datetime:
        """The time that things are destroyed by."""
        wall, mono = self._clock.now(), self._clock.monotonic_s()
        expected = _on(self._line, mono)
        if self._near(wall, expected):
            self._line, self._other = (wall, mono), None
            return wall
        if self._other is None or not self._near(wall, _on(self._other, mono)):
            self._other = wall, mono
        if mono - self._other[1] < self.STANDS_S:
            return expected
        self.put_back = max(expected - wall, timedelta())
        self._line, self._other = (wall, mono), None
        return wall

    def _near(self, one: datetime, other: datetime) -> bool:
        return abs((one - other).total_seconds()) <= self.NO_JUMP_S


def _on(line: tuple[datetime, float], mono: float) -> datetime:
    return line[0] + timedelta(seconds=mono - line[1])


class CallClock:
    """The one time line of a call: milliseconds, and 16 kHz samples, since the bot's call began.

    It is made from a wall time that is stored with the session, so that a restarted process goes on counting on
    the same line.
    """

    def __init__(self, clock: Clock, *, started_at: datetime) -> None:
        self._clock = clock
        self._origin_s = clock.monotonic_s() - (clock.now() - started_at).total_seconds()
        self.started_at = started_at

    def now_ms(self) -> int:
        """Milliseconds since the call began."""
        return int((self._clock.monotonic_s() - self._origin_s) * 1000)

    def now_sample(self) -> int:
        """16 kHz samples since the call began."""
        return int((self._clock.monotonic_s() - self._origin_s) * 16_000)

    def at_sample(self, monotonic_s: float) -> int:
        """The sample position of a moment given on the injected monotonic clock."""
        return int((monotonic_s - self._origin_s) * 16_000)
