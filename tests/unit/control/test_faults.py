"""The watchdogs over what is captured, by a clock that is set by hand."""

from __future__ import annotations

import pytest

from bot.clinics import CapturePolicy
from bot.control.faults import DECODE_S, MEDIA, MEDIA_S, NO_WORDS, ONCE_HEARD, RECOGNITION, SILENT, LaneLook, Watchdogs
from bot.events import SAMPLE_RATE_HZ, GateState

POLICY = CapturePolicy(no_words_s=20, silent_microphone_s=15)
WHO, OTHER = "robin", "ellis"
OPEN, PAUSED, WITHHELD = GateState.OPEN, GateState.PAUSED, GateState.WITHHELD
SPEECH_DBFS, ROOM_DBFS, NOTHING_DBFS = -25.0, -79.0, -96.0


class Watch:
    """Looks five times a second, as the session does."""

    def __init__(self) -> None:
        self.dogs = Watchdogs(POLICY)
        self.now_s = 500.0
        self.speech = {WHO: 0.0, OTHER: 0.0}
        self.found: set[tuple[str, str | None]] = set()

    def go(
        self,
        seconds: float,
        *,
        speaks: str | None = None,
        dbfs: float | None = ROOM_DBFS,
        gate: GateState = OPEN,
        muted: bool = False,
        absent: bool = False,
    ) -> set[tuple[str, str | None]]:
        """Let time pass; what is said of level, gate and mute is said of one of the two."""
        for _ in range(round(seconds * 5)):
            self.now_s += 0.2
            if speaks is not None:
                self.speech[speaks] += 0.2
            look = LaneLook(gate, self._samples(WHO), dbfs, muted, absent)
            other = LaneLook(PAUSED if gate is PAUSED else OPEN, self._samples(OTHER), ROOM_DBFS)
            self.found = set(self.dogs.look({WHO: look, OTHER: other}, now_s=self.now_s))
        return self.found

    def _samples(self, who: str) -> int:
        return round(self.speech[who] * SAMPLE_RATE_HZ)

    @property
    def quiet_s(self) -> float:
        return round(self.dogs.quiet_s(self.now_s), 3)


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.go(0.2)
    return made


# -- speech without words ---------------------------------------------------------------------------------------------


def test_speech_without_words_is_told_and_the_first_words_take_it_back(watch: Watch) -> None:
    assert watch.go(19.8, speaks=WHO) == set()
    assert watch.go(0.2, speaks=WHO) == {(NO_WORDS, WHO)}
    assert watch.go(60) == {(NO_WORDS, WHO)}, "silence does not mend it"
    watch.dogs.words(OTHER)
    assert watch.go(0.2) == {(NO_WORDS, WHO)}, "nor do another's words"
    watch.dogs.words(WHO)
    assert watch.go(0.2) == set()


def test_only_speech_counts_and_words_in_between_begin_it_anew(watch: Watch) -> None:
    for _ in range(5):
        watch.go(15, speaks=WHO)
        watch.dogs.words(WHO)
        assert watch.go(60) == set()


def test_what_was_said_before_this_process_is_not_missed(watch: Watch) -> None:
    dogs = Watchdogs(POLICY)
    look = {WHO: LaneLook(OPEN, 3600 * SAMPLE_RATE_HZ, SPEECH_DBFS)}
    assert dogs.look(look, now_s=0.0) == set()


def test_what_was_withdrawn_has_no_words_to_come(watch: Watch) -> None:
    watch.go(15, speaks=WHO)
    watch.go(1, gate=WITHHELD, dbfs=None)
    assert watch.go(15, speaks=WHO) == set()
    assert watch.go(5, speaks=WHO) == {(NO_WORDS, WHO)}


def test_a_pause_forgets_nothing_of_it(watch: Watch) -> None:
    watch.go(15, speaks=WHO)
    watch.go(30, gate=PAUSED, dbfs=None)
    assert watch.go(5, speaks=WHO) == {(NO_WORDS, WHO)}


# -- a microphone that gives nothing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dbfs", [NOTHING_DBFS, -85.1])
def test_a_microphone_that_never_gave_sound_is_told_of_within_seconds(watch: Watch, dbfs: float) -> None:
    dogs = Watchdogs(POLICY)
    watch.dogs = dogs
    assert watch.go(15, dbfs=dbfs) == set()
    assert watch.go(0.2, dbfs=dbfs) == {(SILENT, WHO)}
    assert watch.go(0.2, dbfs=ROOM_DBFS) == set(), "the quietest room is enough"


def test_one_that_gave_sound_before_is_given_longer(watch: Watch) -> None:
    watch.go(1, dbfs=SPEECH_DBFS)
    assert watch.go(15.0 * ONCE_HEARD, dbfs=NOTHING_DBFS) == set()
    assert watch.go(0.2, dbfs=NOTHING_DBFS) == {(SILENT, WHO)}


def test_who_mutes_is_not_silent_and_begins_anew_afterwards(watch: Watch) -> None:
    assert watch.go(600, dbfs=NOTHING_DBFS, muted=True) == set()
    assert watch.go(15, dbfs=NOTHING_DBFS) == set()
    assert watch.go(0.2, dbfs=NOTHING_DBFS) == {(SILENT, WHO)}, "it has given nothing since"
    assert watch.go(0.2, dbfs=NOTHING_DBFS, muted=True) == set()


@pytest.mark.parametrize(
    "away", [{"gate": PAUSED, "dbfs": None}, {"gate": WITHHELD, "dbfs": None}, {"dbfs": None, "absent": True}]
)
def test_of_a_lane_that_is_not_heard_nothing_is_said(watch: Watch, away: dict[str, object]) -> None:
    assert watch.go(600, **away) == set()  # type: ignore[arg-type]


def test_a_pause_does_not_make_a_good_microphone_a_new_one(watch: Watch) -> None:
    watch.go(1, dbfs=SPEECH_DBFS)
    watch.go(5, gate=PAUSED, dbfs=None)
    watch.go(0.2, dbfs=None)  # no level has come yet
    assert watch.go(30, dbfs=NOTHING_DBFS) == set()


# -- machines ----------------------------------------------------------------------------------------------------------


def test_a_thread_that_stands_still_is_named(watch: Watch) -> None:
    assert watch.dogs.look({}, now_s=1.0, decode_s=DECODE_S - 0.1, media_s=MEDIA_S - 0.1) == set()
    assert watch.dogs.look({}, now_s=1.0, decode_s=DECODE_S) == {(RECOGNITION, None)}
    assert watch.dogs.look({}, now_s=1.0, media_s=MEDIA_S) == {(MEDIA, None)}


# -- silence of all ----------------------------------------------------------------------------------------------------


def test_it_is_quiet_while_nobody_speaks(watch: Watch) -> None:
    watch.go(90)
    assert watch.quiet_s == 90
    watch.go(0.2, speaks=OTHER)
    assert watch.quiet_s == 0
    watch.go(30)
    assert watch.quiet_s == 30


def test_time_in_which_nobody_could_be_heard_is_not_quiet(watch: Watch) -> None:
    watch.go(90)
    watch.go(3600, gate=PAUSED, dbfs=None)
    assert watch.quiet_s == 0
    watch.go(5)
    assert watch.quiet_s == 5
