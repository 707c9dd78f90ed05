"""Whose sound is received, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from bot.control.callmedia import IN_FLIGHT_MS
from bot.control.receiving import Receiving
from bot.events import GateState, sample_of

LONG_S = 5
LONG_MS = LONG_S * 1000
OPEN, PAUSED, WITHHELD, OFF = GateState.OPEN, GateState.PAUSED, GateState.WITHHELD, GateState.OFF


class Bot:
    def __init__(self) -> None:
        self.now_ms = 10_000
        self.turns: list[tuple[str, bool]] = []
        self.receiving = Receiving(LONG_S, lambda: sample_of(self.now_ms), lambda who, on: self.turns.append((who, on)))

    def gates(self, **gates: GateState) -> None:
        self.receiving.follow(gates)

    def later(self, ms: int) -> None:
        self.now_ms += ms
        self.receiving.look()

    def told(self) -> list[tuple[str, bool]]:
        """What was told since it was asked last."""
        told, self.turns = self.turns, []
        return told


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.mark.parametrize("gate", [OFF, PAUSED, WITHHELD])
def test_nobody_is_received_before_their_gate_opens(bot: Bot, gate: GateState) -> None:
    bot.gates(ellis=gate)
    assert bot.told() == [("ellis", False)]
    bot.later(100)
    bot.gates(ellis=gate)
    assert bot.told() == [], "said once"
    bot.gates(ellis=OPEN)
    assert bot.told() == [("ellis", True)]
    assert bot.receiving.receives("ellis")


@pytest.mark.parametrize("gate", [OFF, PAUSED])
def test_a_pause_stops_receiving_once_it_is_long(bot: Bot, gate: GateState) -> None:
    bot.gates(ellis=OPEN)
    bot.later(60_000)
    bot.gates(ellis=gate)
    bot.later(LONG_MS - 1)
    assert bot.told() == [("ellis", True)]
    bot.later(1)
    assert bot.told() == [("ellis", False)]
    bot.gates(ellis=OPEN)
    assert bot.told() == [("ellis", True)]


def test_who_is_withheld_is_received_only_as_long_as_older_sound_may_come(bot: Bot) -> None:
    bot.gates(ellis=OPEN, robin=OPEN)
    bot.told()
    bot.gates(ellis=PAUSED, robin=WITHHELD)
    bot.later(IN_FLIGHT_MS - 1)
    assert bot.told() == []
    bot.later(1)
    assert bot.told() == [("robin", False)]
    assert bot.receiving.receives("ellis")


def test_reasons_that_follow_each_other_are_one_time_shut(bot: Bot) -> None:
    bot.gates(ellis=OPEN, robin=OPEN)
    bot.told()
    bot.gates(ellis=PAUSED, robin=PAUSED)
    bot.later(LONG_MS - 1_000)
    bot.gates(ellis=OFF, robin=WITHHELD)
    assert bot.told() == [("robin", False)]
    bot.gates(ellis=PAUSED, robin=PAUSED)
    assert bot.told() == [("robin", True)]
    bot.later(1_000)
    assert bot.told() == [("ellis", False), ("robin", False)], "counted from when they were open, not from each reason"


def test_what_is_about_to_open_is_taken_up_before_it_does(bot: Bot) -> None:
    bot.gates(ellis=OPEN, robin=OPEN, kim=WITHHELD)
    bot.gates(ellis=PAUSED, robin=WITHHELD, kim=WITHHELD)
    bot.later(LONG_MS)
    bot.told()
    bot.receiving.about_to_open()
    assert bot.told() == [("ellis", True)], "who has not agreed is not received for anybody's asking"
    bot.later(LONG_MS - 1)
    assert bot.told() == []
    bot.later(1)
    assert bot.told() == [("ellis", False)], "nothing came of it"
