"""A sender whose clock parted from ours by less than makes a new stretch: pause and resume hold all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bot.events import SAMPLES_PER_MS, GateState, Pcm
from bot.media.lane import Lane
from bot.media.rtp import RtpIn
from bot.media.stream import LaneStream
from tests.unit.media.fakes import Sink, VirtualTime, packets, tone_packets

PTIME = 60 * SAMPLES_PER_MS
ALLOWED = 440
SECRET = 1760


def loudness(pcm: Pcm, hz: int) -> float:
    """How much of a tone there is, on any scale."""
    if not len(pcm):
        return 0.0
    spectrum = np.abs(np.fft.rfft(pcm.astype(float) * np.hanning(len(pcm))))
    bins = np.fft.rfftfreq(len(pcm), 1 / 16_000)
    return float(spectrum[np.abs(bins - hz) < 40].max())


def accounted(lane: Lane) -> bool:
    """Whether every sample is under one heading. (A lane alone does not tell speech from silence.)"""
    book = lane.ledger
    return book.elapsed == book.off + book.absent + book.captured + book.paused + book.withheld + book.lost


def moved(packet: RtpIn, number: int, *, clock_ms: int) -> RtpIn:
    """After ten packets the sender's clock stands still for ``clock_ms``, or, when negative, jumps ahead."""
    if number < 10:
        return packet
    if clock_ms > 0:
        return replace(packet, arrival_sample=packet.arrival_sample + clock_ms * SAMPLES_PER_MS)
    return replace(packet, timestamp=(packet.timestamp - clock_ms * 48) % 2**32)


def heard(clock_ms: int, *, opens: bool) -> tuple[Pcm, Lane]:
    """What is captured of a call whose gate turns in the middle, while a secret tone is sent on the shut side."""
    time, sink = VirtualTime(), Sink()
    lane = Lane("lane", sink)
    stream = LaneStream("lane", lane.gate, now_sample=time.now, later=time.later)
    lane.set_state(GateState.PAUSED if opens else GateState.OPEN, 0)
    secret = tone_packets(hz=SECRET)
    turn = 30
    for number, packet in enumerate(packets(count=60)):
        sent = moved(packet, number, clock_ms=clock_ms)
        if (number < turn) is opens:
            sent = replace(sent, payload=secret[number])
        time.run_to(sent.arrival_sample)
        stream.packet(sent)
        if number == turn - 1:  # all that was sent before the turn has arrived now
            lane.set_state(GateState.OPEN if opens else GateState.PAUSED, time.now())
    time.run_to(time.now() + 16_000)
    stream.stop()
    lane.finish(time.now())
    return np.concatenate([audio.pcm for audio in sink.audio]), lane


@pytest.mark.parametrize("opens", [False, True], ids=["pause", "resume"])
@pytest.mark.parametrize("clock_ms", [-240, -100, 0, 30, 100, 240])
def test_nothing_of_the_shut_side_is_captured(clock_ms: int, opens: bool) -> None:
    pcm, lane = heard(clock_ms, opens=opens)
    assert loudness(pcm, SECRET) < loudness(pcm, ALLOWED) / 100
    assert accounted(lane)
    # 30 packets are on the open side, or those less what is doubtful
    assert 30 * PTIME - (abs(clock_ms) + 60) * SAMPLES_PER_MS <= len(pcm) <= 31 * PTIME


def test_a_hold_up_in_the_network_is_not_a_late_clock() -> None:
    time, sink = VirtualTime(), Sink()
    lane = Lane("lane", sink)
    stream = LaneStream("lane", lane.gate, now_sample=time.now, later=time.later)
    lane.set_state(GateState.OPEN, 0)
    held_up = range(26, 30)
    for number, packet in enumerate(packets(count=40)):
        late = replace(packet, arrival_sample=16_000 + 30 * PTIME) if number in held_up else packet
        time.run_to(late.arrival_sample)
        if number == 29:  # said while the last words before it are still under way
            lane.set_state(GateState.PAUSED, 16_000 + 29 * PTIME)
        stream.packet(late)
    stream.stop()
    lane.finish(time.now())
    assert sum(len(audio.pcm) for audio in sink.audio) == 30 * PTIME
    assert accounted(lane)
