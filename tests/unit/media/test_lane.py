"""The gate cuts by sample, and the ledger closes, whatever comes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events import AudioFrame, BoundaryReason, GateState, Ledger
from bot.media.lane import ABSENT_AFTER, BRIDGE, Lane
from tests.unit.media.fakes import Sink

IN_FLIGHT = 400 * 16


def frame(start: int, length: int = 960, lost: int = 0) -> AudioFrame:
    """A frame whose samples tell their own place: sample i holds (start + i) mod 2^15."""
    pcm = ((start + np.arange(length)) % 2**15).astype(np.int16)
    return AudioFrame("lane", start, pcm, lost)


def opened(at: int = 0) -> tuple[Lane, Sink]:
    sink = Sink()
    lane = Lane("lane", sink)
    lane.set_state(GateState.OPEN, at)
    return lane, sink


def parts(ledger: Ledger) -> int:
    return ledger.off + ledger.absent + ledger.captured + ledger.paused + ledger.withheld + ledger.lost


def test_before_start_everything_is_off() -> None:
    sink = Sink()
    lane = Lane("lane", sink)
    lane.gate(frame(500))
    lane.elapse(16_000)
    assert lane.ledger == Ledger(elapsed=16_000 - IN_FLIGHT, off=16_000 - IN_FLIGHT)
    assert not sink.audio
    assert not sink.boundaries


def test_a_pause_cuts_the_frame_at_its_sample() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    assert lane.set_state(GateState.PAUSED, 1000) == 1000
    lane.gate(frame(960))
    assert [len(a.pcm) for a in sink.audio] == [960, 40]
    assert [(b.at_sample, b.reason) for b in sink.boundaries] == [(1000, BoundaryReason.PAUSED)]
    assert lane.ledger == Ledger(elapsed=1920, captured=1000, paused=920)


def test_samples_under_way_before_the_pause_are_still_captured() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.set_state(GateState.PAUSED, 3000)
    lane.elapse(3000 + IN_FLIGHT - 1)
    lane.gate(frame(960))
    lane.gate(frame(1920))
    assert sink.samples == 2880
    assert not sink.boundaries
    lane.gate(frame(2880))
    assert sink.samples == 3000
    assert [b.at_sample for b in sink.boundaries] == [3000]


def test_a_boundary_is_due_when_nothing_more_can_be_under_way() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.set_state(GateState.PAUSED, 3000)
    lane.elapse(3000 + IN_FLIGHT)
    assert [(b.at_sample, b.reason) for b in sink.boundaries] == [(3000, BoundaryReason.PAUSED)]
    lane.gate(frame(960))
    assert sink.samples == 960
    assert lane.ledger == Ledger(elapsed=3000, captured=960, absent=3000 - 960 - 960, lost=960)


def test_a_resume_never_reaches_back_before_a_pause() -> None:
    lane, sink = opened()
    lane.set_state(GateState.PAUSED, 2000)
    assert lane.set_state(GateState.OPEN, 1500) == 2000
    lane.gate(frame(0, 4000))
    assert lane.ledger == Ledger(elapsed=4000, captured=4000)
    assert [b.at_sample for b in sink.boundaries] == [2000]


def test_a_pause_never_reaches_back_before_what_is_captured() -> None:
    lane, sink = opened()
    lane.gate(frame(0, 4000))
    assert lane.set_state(GateState.PAUSED, 100) == 4000
    lane.gate(frame(4000))
    assert sink.samples == 4000


def test_lost_packets_are_lost_and_a_short_loss_does_not_end_the_stretch() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.gate(frame(1920, lost=960))
    assert lane.ledger == Ledger(elapsed=2880, captured=1920, lost=960)
    assert not sink.boundaries
    lane.gate(frame(2880 + BRIDGE, lost=BRIDGE))
    assert [(b.at_sample, b.reason) for b in sink.boundaries] == [(2880, BoundaryReason.LOST)]


def test_losses_outside_open_stretches_fall_under_the_state() -> None:
    lane, _ = opened()
    lane.set_state(GateState.WITHHELD, 960)
    lane.gate(frame(0))
    lane.gate(frame(1920, lost=960))
    assert lane.ledger == Ledger(elapsed=2880, captured=960, withheld=1920)


def test_silence_on_the_wire_is_absent_after_a_second_and_ends_the_stretch() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.elapse(960 + ABSENT_AFTER)
    assert lane.ledger.absent == 0
    lane.elapse(960 + ABSENT_AFTER + BRIDGE)
    assert lane.ledger == Ledger(elapsed=960 + BRIDGE, captured=960, absent=BRIDGE)
    assert [(b.at_sample, b.reason) for b in sink.boundaries] == [(960, BoundaryReason.ABSENT)]


def test_absence_turns_into_loss_when_missing_numbers_show_it() -> None:
    lane, _ = opened()
    lane.gate(frame(0))
    lane.elapse(100_000)
    lane.gate(frame(101_000, lost=80_000))
    assert lane.ledger == Ledger(elapsed=101_960, captured=1920, lost=80_000, absent=101_000 - 960 - 80_000)


def test_what_is_counted_anew_is_told() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.elapse(100_000)
    lane.gate(frame(960))
    lane.gate(frame(1920))
    assert sink.late == [(960, 1920), (1920, 2880)]
    lane.gate(frame(101_000, lost=80_000))
    assert sink.late[2:] == [(21_000, 100_000 - ABSENT_AFTER)]
    assert lane.ledger.lost == 80_000 + 1920


def test_finish_ends_the_open_stretch_and_nothing_follows() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.finish(2000)
    lane.gate(frame(2000))
    lane.elapse(100_000)
    assert lane.ledger == Ledger(elapsed=100_000 - IN_FLIGHT, captured=960, absent=1040, off=100_000 - IN_FLIGHT - 2000)
    assert [(b.at_sample, b.reason) for b in sink.boundaries] == [(2000, BoundaryReason.FINISHED)]


def test_discard_says_so_and_nothing_else() -> None:
    lane, sink = opened()
    lane.gate(frame(0))
    lane.set_state(GateState.OFF, 1500)
    lane.discard(2000)
    assert {b.reason for b in sink.boundaries} == {BoundaryReason.DISCARDED}


def test_a_restarted_lane_goes_on_counting() -> None:
    sink = Sink()
    saved = Ledger(elapsed=10_000, captured=8000, off=2000, speech=5000, silence=3000)
    lane = Lane("lane", sink, ledger=saved)
    lane.resume_at(20_000, 4000)
    lane.set_state(GateState.OPEN, 20_000)
    lane.gate(frame(20_000))
    assert lane.ledger == Ledger(elapsed=20_960, captured=12_960, off=2000, absent=6000, speech=5000, silence=3000)
    with pytest.raises(ValueError, match="more samples"):
        lane.resume_at(20_970, 100)


def test_levels() -> None:
    lane, sink = opened()
    tone = (np.sin(np.arange(16_000) / 5) * 3277).astype(np.int16)  # -20 dBFS peak
    lane.gate(AudioFrame("lane", 0, tone))
    lane.gate(AudioFrame("lane", 16_000, np.zeros(16_000, np.int16)))
    assert sink.levels[0].peak_dbfs == pytest.approx(-20, abs=0.1)
    assert sink.levels[0].rms_dbfs == pytest.approx(-23, abs=0.1)
    assert sink.levels[-1].rms_dbfs == -96


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(-3000, 9000), st.integers(0, 3000), st.integers(0, 9000)),
        st.tuples(st.just("state"), st.sampled_from(list(GateState)), st.integers(-4000, 4000)),
        st.tuples(st.just("elapse"), st.integers(-4000, 40_000)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.booleans())
def test_the_ledger_closes_whatever_comes(events: list[tuple[object, ...]], discard: bool) -> None:
    """Random frames (late, early, with gaps), state changes and clock steps: each sample counted exactly once."""
    sink = Sink()
    lane = Lane("lane", sink)
    now = 0
    changes: list[tuple[int, GateState]] = [(0, GateState.OFF)]
    for event in events:
        match event:
            case ("frame", int(gap), int(length), int(lost)):
                start = max(0, now + gap)
                now = max(now, start + length)
                lane.gate(frame(start, length, min(lost, start)))
            case ("state", GateState() as state, int(offset)):
                promised = lane.set_state(state, max(0, now + offset))
                assert promised >= changes[-1][0]
                assert promised >= lane.cursor
                changes.append((promised, state))
            case ("elapse", int(step)):
                now += max(0, step)
                lane.elapse(now)
        assert lane.ledger.elapsed == parts(lane.ledger) == lane.cursor
        assert all(value >= 0 for value in (lane.ledger.absent, lane.ledger.lost))
    end = max(now, lane.cursor, changes[-1][0])
    if discard:
        lane.discard(end)
    else:
        lane.finish(end)
    ledger = lane.ledger
    assert ledger.elapsed == parts(ledger) == end
    assert ledger.captured == sink.samples
    # every captured sample lies where the gate was open, is the sample that was sent, and came once, in order
    position = 0
    for audio in sink.audio:
        assert audio.start_sample >= position
        position = audio.end_sample
        assert np.array_equal(audio.pcm, ((audio.start_sample + np.arange(len(audio.pcm))) % 2**15).astype(np.int16))
        for at, _ in changes:
            following = [a for a, _ in changes if a > at]
            until = min(following, default=10**9)
            current = [s for a, s in changes if a == at][-1]
            if audio.start_sample < until and audio.end_sample > at:
                assert current is GateState.OPEN
    # a stretch that was left was closed, exactly where it was promised
    for (_, before), (at, after) in itertools.pairwise(changes):
        if before is GateState.OPEN and after is not GateState.OPEN and any(a.end_sample == at for a in sink.audio):
            assert any(b.at_sample == at for b in sink.boundaries)
