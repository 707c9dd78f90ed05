"""Who is heard, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from bot.control.hearing import ABSENT_AFTER_MS, FIRST_SOUND_MS, Hearing
from bot.events import sample_of


class Ear:
    def __init__(self) -> None:
        self.now_ms = 10_000
        self.firsts = 0
        self.hearing = Hearing(lambda: sample_of(self.now_ms), self._first)

    def _first(self) -> None:
        self.firsts += 1

    def frame(self, who: str) -> None:
        self.hearing.frame(who, sample_of(self.now_ms))


@pytest.fixture
def ear() -> Ear:
    made = Ear()
    for who in ("ellis", "robin"):
        made.hearing.expect(who)
    return made


def test_nobody_is_absent_while_they_are_still_connecting(ear: Ear) -> None:
    assert ear.hearing.waits
    ear.now_ms += FIRST_SOUND_MS - 1
    assert (ear.hearing.waits, set(ear.hearing.absent())) == (True, set())
    ear.now_ms += 1
    assert (ear.hearing.waits, set(ear.hearing.absent())) == (False, {"ellis", "robin"})


def test_the_first_sound_of_each_is_told_once_and_ends_the_waiting(ear: Ear) -> None:
    ear.frame("ellis")
    assert (ear.firsts, ear.hearing.waits) == (1, True)
    ear.frame("robin")
    ear.frame("robin")
    assert (ear.firsts, ear.hearing.waits) == (2, False)


def test_who_sends_nothing_is_absent_until_they_send_again(ear: Ear) -> None:
    for _ in range(4):
        ear.now_ms += ABSENT_AFTER_MS // 4
        ear.frame("ellis")
    assert ear.hearing.absent() == frozenset(), "robin is still given the time of a page that connects"
    for _ in range(4):
        ear.now_ms += ABSENT_AFTER_MS // 4
        ear.frame("ellis")
    assert ear.hearing.absent() == {"robin"}
    ear.frame("robin")
    assert ear.hearing.absent() == frozenset()
    ear.now_ms += ABSENT_AFTER_MS
    ear.frame("robin")
    assert ear.hearing.absent() == {"ellis"}


def test_silence_in_packets_far_apart_is_heard(ear: Ear) -> None:
    dtx_ms = 400
    for _ in range(20):
        ear.frame("ellis")
        ear.frame("robin")
        ear.now_ms += dtx_ms
        assert ear.hearing.absent() == frozenset()


def test_expecting_somebody_again_forgets_nothing(ear: Ear) -> None:
    ear.frame("robin")
    ear.now_ms += ABSENT_AFTER_MS
    ear.hearing.expect("robin")
    assert "robin" in ear.hearing.absent()


def test_of_who_is_not_received_nothing_is_known(ear: Ear) -> None:
    for who in ("ellis", "robin"):
        ear.frame(who)
        ear.hearing.rest(who)
    ear.now_ms += 60_000
    assert ear.hearing.absent() == frozenset()
    ear.hearing.go_on("ellis")
    assert ear.hearing.waits, "their page takes a moment to send again"
    ear.frame("ellis")
    assert (ear.firsts, ear.hearing.waits) == (3, False), "robin holds nobody up"
    ear.hearing.go_on("robin")
    ear.now_ms += FIRST_SOUND_MS
    assert "robin" in ear.hearing.absent()


def test_who_was_absent_before_stays_so_until_they_are_heard_or_come_back(ear: Ear) -> None:
    ear.now_ms += FIRST_SOUND_MS
    for who in ("ellis", "robin"):
        ear.hearing.rest(who)
    ear.hearing.came_back("ellis")
    assert ear.hearing.absent() == {"robin"}
    ear.hearing.go_on("robin")
    assert (set(ear.hearing.absent()), ear.hearing.waits) == ({"robin"}, False)
    ear.hearing.go_on("ellis")
    assert ear.hearing.waits
    ear.frame("robin")
    ear.frame("ellis")
    assert ear.hearing.absent() == frozenset()


def test_who_rests_before_they_are_expected_is_waited_for_from_when_they_go_on(ear: Ear) -> None:
    ear.hearing.rest("kim")
    ear.hearing.expect("kim")
    ear.now_ms += FIRST_SOUND_MS
    assert "kim" not in ear.hearing.absent()
    ear.hearing.go_on("kim")
    assert ear.hearing.waits
