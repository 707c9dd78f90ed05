"""Pauses, read from what was recorded of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.control.pauses import Pause, pauses
from bot.events import SessionEvent

AT = datetime(2026, 3, 1, tzinfo=UTC)


def told(*steps: tuple[str, str, int]) -> list[SessionEvent]:
    return [
        SessionEvent("ses_1", n, f"capture.{kind}", AT, {"state": state, "effective_at_ms": at, "by": "clinician"})
        for n, (kind, state, at) in enumerate(steps)
    ]


STARTED = ("started", "capturing", 0)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], []),
        ([STARTED], []),
        ([STARTED, ("paused", "paused", 500)], [Pause(500, None)]),
        ([STARTED, ("paused", "paused", 500), ("paused", "paused", 900)], [Pause(500, None)]),
        ([STARTED, ("paused", "paused", 500), ("resumed", "capturing", 900)], [Pause(500, 900)]),
        ([STARTED, ("paused", "paused", 500), ("finished", "finished", 900)], [Pause(500, 900)]),
        (
            [STARTED, ("paused", "paused", 5), ("resumed", "capturing", 9), ("paused", "paused", 20)],
            [Pause(5, 9), Pause(20, None)],
        ),
    ],
)
def test_pauses(steps: list[tuple[str, str, int]], found: list[Pause]) -> None:
    assert pauses(told(*steps)) == found


def test_other_events_say_nothing_of_it() -> None:
    absent = SessionEvent("ses_1", 9, "capture.absent", AT, {"participant_id": "robin", "at_ms": 700})
    bot = SessionEvent("ses_1", 10, "bot.state_changed", AT, {"state": "leaving"})
    assert pauses([*told(STARTED, ("paused", "paused", 500)), absent, bot]) == [Pause(500, None)]
