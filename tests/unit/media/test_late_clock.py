"""Sound that was spoken at another time than where it lies: pause and resume hold all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from bot.events import SAMPLES_PER_MS, GateState, Pcm
from bot.media.lane import Lane
from bot.media.rtp import RtpIn
from bot.media.sendtime import SendTime
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


def sent_with_times(sent: Iterable[RtpIn], *, clock: int = 7_000_000) -> list[RtpIn]:
    """Packets as they are sent, each with its ``abs-send-time`` on a clock of its sender's own."""
    return [replace(p, send_time=(p.arrival_sample + clock) * (1 << 18) // 16_000 % (1 << 24)) for p in sent]


def stall(at: int, until: int, rate: float) -> Callable[[int], int]:
    """Nothing comes through from ``at``; from ``until`` on what was held comes ``rate`` times as fast as sent."""
    return lambda sent: sent if sent < at else max(sent, round(until + (sent - at) / rate))


def longer(at: int, by: int) -> Callable[[int], int]:
    """From ``at`` on the way is longer by so much."""
    return lambda sent: sent if sent < at else sent + by


SHUT_FROM, SHUT_TO = 30, 90
"""Packets that are sent while the gate is shut: 3.6 seconds."""
OPENS = 16_000 + SHUT_TO * PTIME
HELD_UP = {
    "at once": stall(16_000 + 32 * PTIME, OPENS + 300 * SAMPLES_PER_MS, 1000),
    "3x": stall(16_000 + 32 * PTIME, OPENS + 300 * SAMPLES_PER_MS, 3),
    "1.2x": stall(16_000 + 50 * PTIME, OPENS + 300 * SAMPLES_PER_MS, 1.2),
    "longer": longer(16_000 + 60 * PTIME, 1500 * SAMPLES_PER_MS),
    "a little longer": longer(16_000 + 60 * PTIME, 200 * SAMPLES_PER_MS),
}


@pytest.mark.parametrize("by", ["send times", "sender reports"])
@pytest.mark.parametrize("way", HELD_UP)
def test_what_is_held_up_until_after_resume_was_said_before_it(way: str, by: str) -> None:
    time, sink = VirtualTime(), Sink()
    lane = Lane("lane", sink)
    stream = LaneStream("lane", lane.gate, now_sample=time.now, later=time.later)
    lane.set_state(GateState.OPEN, 0)
    secret = tone_packets(hz=SECRET)
    sent = list(packets(count=200))
    if by == "send times":
        sent = sent_with_times(sent)
    else:  # the mapping of a report stays true, whenever it comes
        stream.report(sent[0].source, 99 << 32, sent[0].timestamp)
    sent = [
        replace(p, payload=secret[n % 60]) if SHUT_FROM <= n < SHUT_TO else p
        for n, p in enumerate(sent)
    ]
    turns = {16_000 + (SHUT_FROM - 1) * PTIME: GateState.PAUSED, OPENS: GateState.OPEN}
    arriving = sorted((HELD_UP[way](p.arrival_sample), n) for n, p in enumerate(sent))
    for at, number in arriving:
        for turn in [turn for turn in turns if turn <= at]:
            time.run_to(turn)
            lane.set_state(turns.pop(turn), turn)
        time.run_to(at)
        lane.elapse(at)
        stream.packet(replace(sent[number], arrival_sample=at))
    time.run_to(time.now() + 32_000)
    stream.stop()
    lane.finish(time.now())
    pcm = np.concatenate([audio.pcm for audio in sink.audio])
    assert loudness(pcm, SECRET) < loudness(pcm, ALLOWED) / 100
    assert accounted(lane)
    captured = len(pcm) / PTIME
    assert captured > SHUT_FROM - 6 + 200 - SHUT_TO - 45, "what was said before the pause and after it"


def test_a_sender_that_slept_is_believed_again() -> None:
    clock = SendTime()
    sent = sent_with_times(packets(count=600))
    asleep = 20 * 16_000
    lateness = [
        at - clock.left(replace(p, arrival_sample=at))
        for n, p in enumerate(sent)
        for at in [p.arrival_sample + (asleep if n >= 100 else 0)]
    ]
    assert max(lateness[:100]) <= 1
    assert lateness[100] == pytest.approx(asleep, rel=0.001)
    assert max(lateness[-300:]) <= 1, "after ten seconds it is taken for what it is"


@pytest.mark.parametrize("every_ms", [20, 60])
def test_a_slow_senders_clock_makes_nothing_late(every_ms: int) -> None:
    clock = SendTime()
    packet = next(iter(packets(count=1)))
    slow = 1 - 100e-6
    late = [
        at - clock.left(replace(packet, arrival_sample=at, send_time=int(at * slow * (1 << 18) / 16_000) % (1 << 24)))
        for at in range(0, 3600 * 16_000, every_ms * SAMPLES_PER_MS)
    ]
    assert max(late) <= 2, "an hour of 100 ppm is 360 ms"


def test_the_senders_time_wraps_and_silence_is_long() -> None:
    clock = SendTime()
    base = list(packets(count=3))
    arrivals = [0, 200 * 16_000, 290 * 16_000]
    times = [(at + 5) * (1 << 18) // 16_000 % (1 << 24) for at in arrivals]
    late = [
        at - clock.left(replace(p, arrival_sample=at, send_time=told))
        for p, at, told in zip(base, arrivals, times, strict=True)
    ]
    assert max(late) < 700, "the drift that is allowed for, and no turn of the counter"
