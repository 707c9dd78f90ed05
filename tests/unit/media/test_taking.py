"""Which packets are taken."""

from __future__ import annotations

from bot.media.taking import HELD, Taking

PACKET = 960


def test_what_is_not_taken_is_counted() -> None:
    taking = Taking()
    assert taking.takes("ann", 1, 0)
    taking.turn("ann", False)
    assert not taking.takes("ann", 1, PACKET)
    assert taking.takes("ben", 2, PACKET)
    assert taking.unwanted == {"ann": 1}


def test_the_first_packet_of_who_had_stopped_sending_is_not_taken() -> None:
    taking = Taking()
    taking.takes("ann", 1, 0)
    taking.turn("ann", False)
    taking.takes("ann", 1, PACKET)
    taking.turn("ann", True)
    assert [taking.takes("ann", 1, PACKET + HELD + n * PACKET) for n in range(3)] == [False, True, True]


def test_who_sends_all_the_while_loses_nothing_when_they_are_taken_again() -> None:
    taking = Taking()
    taking.turn("ann", False)
    for n in range(50):
        taking.takes("ann", 1, n * PACKET)
    taking.turn("ann", True)
    assert taking.takes("ann", 1, 50 * PACKET)


def test_a_connection_that_has_sent_nothing_yet_holds_nothing_of_before() -> None:
    taking = Taking()
    taking.turn("ann", False)
    taking.turn("ann", True)
    assert taking.takes("ann", 1, 10 * HELD)
    taking.turn("ann", False)
    taking.turn("ann", True)
    assert taking.takes("ann", 2, 30 * HELD)


def test_who_was_taken_all_along_is_not_taken_again() -> None:
    taking = Taking()
    taking.takes("ann", 1, 0)
    taking.turn("ann", True)
    assert taking.takes("ann", 1, 10 * HELD), "their network stood still, that is all"
