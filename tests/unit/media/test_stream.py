"""Packets become frames: order, time, loss, silence, wrap-around, drift."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.demo.packets import Asked, encode
from bot.events import AudioFrame
from bot.media.decode import opus_duration
from bot.media.rtp import RtpIn
from bot.media.stream import EARLY, LaneStream
from tests.unit.media.fakes import VirtualTime, assert_in_order, packets, tone_packets

PACKET = 960
REAL_DELAY = 300


class Played:
    """A stream fed with packets at their arrival times."""

    def __init__(self, *, early: int = 0) -> None:
        self.early = early
        self.time = VirtualTime()
        self.frames: list[AudioFrame] = []
        self.stream = LaneStream("lane", self._frame, now_sample=self.time.now, later=self.time.later)

    def _frame(self, frame: AudioFrame) -> None:
        assert frame.end_sample <= self.time.now() + self.early, "handed on before its time"
        self.frames.append(frame)

    def feed(self, *arriving: RtpIn, then: int = 16_000) -> Played:
        for packet in sorted(arriving, key=lambda p: p.arrival_sample):
            self.time.run_to(packet.arrival_sample)
            self.stream.packet(packet)
        self.time.run_to(self.time.now() + then)
        return self

    @property
    def samples(self) -> int:
        return sum(len(frame.pcm) for frame in self.frames)

    @property
    def lost(self) -> int:
        return sum(frame.lost_before for frame in self.frames)


def test_contiguous_over_both_wrap_arounds() -> None:
    played = Played().feed(*packets(count=20))
    assert_in_order(played.frames)
    assert played.lost == 0
    assert played.frames[0].start_sample == 16_000 - PACKET
    # the last 16 samples, which the resampler holds back, follow once the lane is idle
    assert len(played.frames[-1].pcm) == 16
    assert played.frames[-1].end_sample == 16_000 + 19 * PACKET
    assert played.samples == 20 * PACKET


def test_sound_is_the_sound_that_was_sent() -> None:
    played = Played().feed(*packets(count=20))
    pcm = np.concatenate([frame.pcm for frame in played.frames]).astype(float)[4000:]
    spectrum = np.abs(np.fft.rfft(pcm))
    assert abs(np.argmax(spectrum) * 16_000 / len(pcm) - 440) < 2


def probed(sent: list[RtpIn], after: int, count: int = 22) -> list[RtpIn]:
    """A browser's probe of the path: packets without sound, each with a number of its own and the time of the last."""
    last = sent[after]
    probe = [
        replace(last, sequence=(last.sequence + n) % 2**16, payload=b"", arrival_sample=last.arrival_sample + 16 * n)
        for n in range(1, count + 1)
    ]
    rest = [replace(packet, sequence=(packet.sequence + count) % 2**16) for packet in sent[after + 1 :]]
    return [*sent[: after + 1], *probe, *rest]


@pytest.mark.parametrize("after", [0, 1, 7, 8, 18])
def test_packets_without_sound_fill_no_time(after: int) -> None:
    plain = Played().feed(*packets(count=20))
    played = Played().feed(*probed(list(packets(count=20)), after))
    assert [(f.start_sample, f.end_sample) for f in played.frames] == [
        (f.start_sample, f.end_sample) for f in plain.frames
    ]
    assert all(np.array_equal(one.pcm, other.pcm) for one, other in zip(played.frames, plain.frames, strict=True))
    assert (played.lost, played.stream.undecodable, played.stream.reanchored) == (0, 0, 0)


@pytest.mark.parametrize("missing", [7, 8, 12, 29, 30])
def test_a_packet_that_is_missing_beside_a_probe_is_lost_as_far_as_it_held_sound(missing: int) -> None:
    sent = probed(list(packets(count=20)), 7)
    played = Played().feed(*(p for n, p in enumerate(sent) if n != missing))
    played.stream.stop()
    assert_in_order(played.frames)
    assert played.lost == (PACKET if sent[missing].payload else 0)
    assert played.frames[-1].end_sample == 16_000 + 19 * PACKET


def test_a_probe_in_another_order_and_of_another_source_changes_nothing() -> None:
    sent = probed(list(packets(count=20)), 7)
    sent[9:28] = [replace(p, arrival_sample=p.arrival_sample + 16 * n * 7 % 300) for n, p in enumerate(sent[9:28])]
    stranger = replace(sent[8], ssrc=99)
    played = Played().feed(stranger, *sent, replace(stranger, arrival_sample=sent[-1].arrival_sample))
    assert (played.lost, played.stream.undecodable, played.stream.reanchored) == (0, 0, 0)
    assert played.frames[-1].end_sample == 16_000 + 19 * PACKET


def test_a_missing_packet_is_lost_and_nothing_else() -> None:
    sent = list(packets(count=20))
    played = Played().feed(*(p for n, p in enumerate(sent) if n != 7))
    assert_in_order(played.frames)
    assert played.lost == PACKET
    played.stream.stop()
    assert played.samples == 19 * PACKET
    assert played.frames[-1].end_sample == 16_000 + 19 * PACKET


def test_packets_out_of_order_lose_nothing() -> None:
    sent = list(packets(count=20))
    late = replace(sent[7], arrival_sample=sent[8].arrival_sample + 160)
    played = Played().feed(*(late if n == 7 else p for n, p in enumerate(sent)))
    assert_in_order(played.frames)
    assert (played.lost, played.samples) == (0, 20 * PACKET)


def test_repeated_and_very_late_packets_change_nothing() -> None:
    sent = list(packets(count=20))
    again = [
        replace(sent[3], arrival_sample=sent[9].arrival_sample),
        replace(sent[5], arrival_sample=sent[5].arrival_sample + 1),
    ]
    played = Played().feed(*sent, *again)
    assert (played.lost, played.samples) == (0, 20 * PACKET)


def test_a_jump_of_rtp_time_without_a_missing_number_is_silence() -> None:
    sent = list(packets(count=10))
    hole = 400 * 16
    moved = [
        replace(p, timestamp=(p.timestamp + hole * 3) % 2**32, arrival_sample=p.arrival_sample + hole)
        for p in packets(count=20)
    ][10:]
    played = Played().feed(*sent, *moved)
    played.stream.stop()
    assert played.lost == 0
    assert played.samples == 20 * PACKET + hole
    assert_in_order(played.frames)
    pcm = np.concatenate([frame.pcm for frame in played.frames])
    assert np.abs(pcm[10 * PACKET + 200 : 10 * PACKET + hole - 200]).max() == 0


def test_an_outage_with_missing_numbers_is_lost_in_full() -> None:
    sent = list(packets(count=58))
    played = Played().feed(*sent[:10], *sent[50:])
    assert played.lost == 40 * PACKET


def test_stopped_rtp_time_begins_a_new_stretch() -> None:
    # a replaced track: numbers and RTP time go on where they stopped, five seconds later
    gap = 5 * 16_000
    sent = list(packets(count=10)) + [replace(p, arrival_sample=p.arrival_sample + gap) for p in packets(count=20)][10:]
    played = Played().feed(*sent)
    played.stream.stop()
    assert_in_order(played.frames)
    assert played.stream.reanchored == 1
    assert (played.lost, played.samples) == (0, 20 * PACKET)
    assert played.frames[-1].end_sample == 16_000 + 19 * PACKET + gap


def test_a_held_up_burst_is_not_a_new_stretch() -> None:
    # the network holds everything back for half a second and then delivers it at once
    sent = list(packets(count=30))
    burst = [
        replace(p, arrival_sample=max(p.arrival_sample, sent[18].arrival_sample)) if n >= 10 else p
        for n, p in enumerate(sent)
    ]
    played = Played().feed(*burst)
    played.stream.stop()
    assert played.stream.reanchored == 0
    assert (played.lost, played.samples) == (0, 30 * PACKET)
    assert played.frames[-1].end_sample == 16_000 + 29 * PACKET


def test_a_stretch_that_begins_with_a_burst_is_anchored_to_its_fastest_packet() -> None:
    sent = [replace(p, arrival_sample=max(p.arrival_sample, 16_000 + 5 * PACKET)) for p in packets(count=20)]
    played = Played().feed(*sent)
    assert played.frames[0].start_sample == 16_000 - PACKET


def test_a_new_source_takes_over_and_the_old_one_is_not_mixed_in() -> None:
    old = list(packets(count=20))
    new = list(packets(count=20, ssrc=8, timestamp=99, sequence=1, first_arrival=16_000 + 10 * PACKET + 500))
    played = Played().feed(*old, *new)
    played.stream.stop()
    assert_in_order(played.frames)
    assert played.lost == 0
    # the two overlap a little; the new one is drawn back onto its own time by leaving out single samples
    assert 31 * PACKET - 200 <= played.samples <= 31 * PACKET


def test_the_older_source_is_heard_again_when_the_newer_falls_silent() -> None:
    old = list(packets(count=60))
    new = list(packets(count=3, ssrc=8, timestamp=99, sequence=1, first_arrival=16_000 + 10 * PACKET + 500))
    played = Played().feed(*old, *new)
    assert played.frames[-1].end_sample > 16_000 + 58 * PACKET


def test_a_restarted_sender_is_not_a_loss() -> None:
    sent = list(packets(count=10)) + list(
        packets(count=10, sequence=30_000, timestamp=5, first_arrival=16_000 + 10 * PACKET)
    )
    played = Played().feed(*sent)
    played.stream.stop()
    assert (played.lost, played.samples) == (0, 20 * PACKET)


def test_undecodable_packets_are_lost() -> None:
    sent = list(packets(count=20))
    sent[5] = replace(sent[5], payload=b"\xff\xff\xff")
    sent[9] = replace(sent[9], payload=b"\xff")
    played = Played().feed(*sent)
    played.stream.stop()
    assert played.stream.undecodable == 2
    assert played.samples + played.lost == 20 * PACKET
    assert_in_order(played.frames)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_lies_ahead_of_an_end_is_lost_unless_nobody_wants_it(wanted: bool) -> None:
    sent = list(packets(count=20))
    ahead = [replace(p, arrival_sample=sent[8].arrival_sample) for p in sent[8:12]]
    played = Played(early=EARLY).feed(*sent[:8], *ahead, then=0)
    (played.stream.stop if wanted else played.stream.rest)()
    played.feed(*[replace(p, arrival_sample=p.arrival_sample + 80_000) for p in sent[12:]])
    assert played.lost == (3 * PACKET if wanted else 0)
    assert played.samples == 17 * PACKET


def test_nothing_of_before_rings_on_after_a_rest() -> None:
    tone = list(packets(count=10))
    quiet = [packet.payload for packet in encode(np.zeros(48_000, np.int16), Asked(ptime_ms=60)).packets]
    played = Played().feed(*tone)
    played.stream.rest()
    last = replace(tone[-1], arrival_sample=played.time.now())
    silence = [
        replace(last, sequence=last.sequence + 1 + n, timestamp=last.timestamp + 2880 * (n + 1), payload=payload,
                arrival_sample=last.arrival_sample + PACKET * (n + 1))
        for n, payload in enumerate(quiet)
    ]  # fmt: skip
    before = len(played.frames)
    played.feed(*silence)
    assert max(int(np.abs(frame.pcm.astype(int)).max()) for frame in played.frames[before:]) < 10


def test_stop_drops_nothing_and_begins_anew() -> None:
    sent = list(packets(count=20))
    played = Played()
    played.feed(*sent[:10], then=0)
    played.stream.stop()
    before = played.samples
    played.feed(*[replace(p, arrival_sample=p.arrival_sample + 80_000) for p in sent[15:]])
    assert before == 10 * PACKET
    assert played.lost == 0
    assert played.samples == 15 * PACKET


def _drifting(parts_per_million: int, minutes: int) -> Played:
    played = Played()
    payload = tone_packets()[30]
    count = minutes * 60_000 // 60
    rate = 1 + parts_per_million / 1e6
    jitter = random.Random(5)
    for number in range(count):
        # spoken over: real time of the end of this packet on the sender's clock
        spoken = 16_000 + number * PACKET * rate
        arrival = int(spoken + REAL_DELAY + jitter.random() * 300)
        played.time.run_to(arrival)
        played.stream.packet(RtpIn(1, 7, number % 2**16, number * 2880 % 2**32, payload, arrival))
        played.time.run_to(arrival)
    return played


def test_a_slow_sender_is_followed_without_a_gap() -> None:
    played = _drifting(+900, 2)
    assert_in_order(played.frames)
    assert played.stream.reanchored == 0
    last = played.frames[-1]
    spoken = 16_000 + (2 * 1000 - 1) * PACKET * 1.0009
    # never earlier than spoken (but for the few ms the codec itself delays), never later than 20 ms after the delay
    assert spoken - 120 <= last.end_sample <= spoken + REAL_DELAY + 320 + 320
    holes = [b.start_sample - a.end_sample for a, b in zip(played.frames, played.frames[1:], strict=False)]
    assert set(holes) == {0}


def test_a_fast_sender_is_followed_without_waiting_ever_longer() -> None:
    played = _drifting(-900, 2)
    played.time.run_to(played.time.now() + 4000)
    assert_in_order(played.frames)
    assert played.stream.reanchored == 0
    spoken = 16_000 + (2 * 1000 - 1) * PACKET * 0.9991
    assert spoken <= played.frames[-1].end_sample <= spoken + REAL_DELAY + 400


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_network_does(data: st.DataObject) -> None:
    """Loss, delay, reordering, repetition: frames stay in order, nothing comes early, everything adds up."""
    count = data.draw(st.integers(2, 50))
    delays = data.draw(st.lists(st.integers(0, 4000), min_size=count, max_size=count))
    present = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    sent = [
        replace(p, arrival_sample=p.arrival_sample + delay)
        for p, delay, there in zip(packets(count=count), delays, present, strict=True)
        if there
    ]
    repeats = data.draw(st.lists(st.sampled_from(sent), max_size=5)) if sent else []
    played = Played().feed(*sent, *[replace(p, arrival_sample=p.arrival_sample + 50) for p in repeats])
    played.stream.stop()
    assert_in_order(played.frames)
    assert played.samples <= len(sent) * PACKET + PACKET
    if played.frames:
        span = played.frames[-1].end_sample - played.frames[0].start_sample
        assert played.samples + played.lost <= span + PACKET * count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            RtpIn,
            connection=st.integers(1, 2),
            ssrc=st.integers(1, 3),
            sequence=st.integers(0, 2**16 - 1),
            timestamp=st.integers(0, 2**32 - 1),
            payload=st.one_of(st.binary(max_size=40), st.sampled_from(tone_packets())),
            arrival_sample=st.integers(0, 80_000),
        ),
        max_size=40,
    )
)
def test_nonsense_is_survived(sent: list[RtpIn]) -> None:
    played = Played(early=EARLY).feed(*sent, then=80_000)
    played.stream.stop()
    assert_in_order(played.frames)


def test_opus_durations() -> None:
    for ptime in (20, 40, 60):
        assert {opus_duration(p) for p in tone_packets(60, ptime_ms=ptime)} == {48 * ptime}
    assert opus_duration(b"") == 0
    assert opus_duration(b"\xff") == 0
    assert opus_duration(bytes([(31 << 3) | 3, 63])) == 0  # 63 x 20 ms is more than 120 ms
