"""Packets encoded beforehand are what the answer asked for."""

from __future__ import annotations

import numpy as np
import pytest

from bot.demo.dialogue import load
from bot.demo.packets import RTP_RATE_HZ, Asked, Recording, asked_by, encode, read_sound

ANSWER = """v=0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;ptime=60;usedtx=1;maxplaybackrate=16000;stereo=0;useinbandfec=1
a=ptime:60
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=ptime:20
"""
SPEECH = read_sound(load().path("client"), seconds=20)


def test_the_answer_is_read() -> None:
    assert asked_by(ANSWER.replace("\n", "\r\n")) == Asked(ptime_ms=60, dtx=True, max_rate_hz=16_000, fec=True)
    assert asked_by("m=audio 9 x 96\na=rtpmap:96 opus/48000/2\n") == Asked()
    assert asked_by("m=audio 9 x 0\na=rtpmap:0 PCMU/8000\na=ptime:40\n").ptime_ms == 40


@pytest.mark.parametrize("ptime_ms", [20, 40, 60])
def test_every_packet_holds_one_ptime_and_the_rate_is_that_of_wideband_speech(ptime_ms: int) -> None:
    lane = encode(SPEECH, Asked(ptime_ms=ptime_ms, max_rate_hz=16_000))
    assert [p.at for p in lane.packets] == list(range(0, len(SPEECH), lane.asked.samples))
    assert lane.duration_ms == 20_000
    assert lane.packets_per_s == pytest.approx(1000 / ptime_ms, rel=0.02)
    assert 4 < lane.kbit_per_s < 24
    # RFC 6716, 3.1: configurations 8 to 11 are wideband SILK of 10, 20, 40 and 60 ms; the third bit says mono
    config = {20: 9, 40: 10, 60: 11}[ptime_ms]
    assert {p.payload[0] >> 3 for p in lane.packets} == {config}
    assert {p.payload[0] & 0b111 for p in lane.packets} == {0}


@pytest.mark.parametrize(("lane", "chromium_bytes"), [("clinician", 57.8), ("client", 65.8)])
def test_packets_are_as_large_as_those_of_chromium(lane: str, chromium_bytes: float) -> None:
    """The figures are those of ``tests/e2e/test_senders.py``: the same sound, asked for in the same way."""
    packets = encode(read_sound(load().path(lane), seconds=9.6), Asked(60, max_rate_hz=16_000, fec=True)).packets
    assert len(packets) == 160
    assert np.mean([len(packet.payload) for packet in packets]) == pytest.approx(chromium_bytes, rel=0.1)


def test_digital_silence_is_sent_and_small() -> None:
    """A muted microphone of Chromium sends packets of 21 bytes."""
    packets = encode(np.zeros(RTP_RATE_HZ, np.int16), Asked(60, max_rate_hz=16_000, fec=True)).packets
    assert [len(packet.payload) for packet in packets[1:]] == [21] * (len(packets) - 1)


def test_dtx_leaves_packets_out_while_nobody_speaks() -> None:
    sent = encode(SPEECH, Asked(60, dtx=False, max_rate_hz=16_000))
    less = encode(SPEECH, Asked(60, dtx=True, max_rate_hz=16_000))
    assert len(less.packets) < 0.8 * len(sent.packets)
    holes = np.diff([p.at for p in less.packets])
    assert holes.max() <= 0.48 * RTP_RATE_HZ  # a refresh at least every 400 ms, on the grid of 60 ms
    assert min(len(p.payload) for p in less.packets) > 2


def test_an_answer_without_wishes_gets_full_band_at_20_ms() -> None:
    lane = encode(SPEECH[: RTP_RATE_HZ * 5], Asked())
    assert lane.packets_per_s == pytest.approx(50, rel=0.02)
    assert {p.payload[0] >> 3 for p in lane.packets} <= {13, 15, 27, 31}  # hybrid or CELT


def test_a_lane_is_encoded_once_for_each_way_it_is_asked_for() -> None:
    recording = Recording(SPEECH[:RTP_RATE_HZ])
    asked = Asked(60, max_rate_hz=16_000)
    assert recording.as_asked(asked) is recording.as_asked(asked)
    assert recording.as_asked(Asked(20)) is not recording.as_asked(asked)
    assert recording.duration_ms == 1000


def test_the_end_is_filled_up() -> None:
    lane = encode(np.zeros(100, dtype=np.int16), Asked(20))
    assert len(lane.packets) == 1
    assert encode(np.zeros(0, dtype=np.int16), Asked(20)).packets == ()
