"""When a packet left its sender, on the call's clock, as if every packet had come by the fastest way.

Arrival tells only that sound was spoken before it. A path that stalls and then hands over what it held, or that grows
longer, brings sound seconds after it was spoken: said during a pause, it would arrive after Resume. Only the sender's
own clock tells how old it is. Browsers put that time into every packet (the ``abs-send-time`` header extension of
libwebrtc: 24 bits, 6.18 fixed point); from others the latest RTCP sender report ties RTP time to it (RFC 3550, 6.4.1).

The least of arrival minus sender's time is the fastest way; by what a packet exceeds it, it is late.
"""

from __future__ import annotations

from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS
from bot.media.rtp import RtpIn, unwrap
from bot.media.timeline import RTP_PER_SAMPLE

SEND_TIME_BITS = 24
SEND_TIME_PER_S = 1 << 18
DRIFT = 5000
"""The fastest way may grow by one sample in this many (200 ppm): two machines' clocks never part faster."""
SLEPT = 1000 * SAMPLES_PER_MS
"""A sender whose packets are all late by more than this, and evenly, has slept: its clock stood still."""
EVEN = 100 * SAMPLES_PER_MS
EVENLY_FOR = 10_000 * SAMPLES_PER_MS
"""A path that hands over a backlog is not even for so long."""


class SendTime:
    """The clock of one sender, read by what comes from it. Times are 16 kHz samples on the call's clock."""

    def __init__(self) -> None:
        self._report: tuple[int, int] | None = None
        """The latest sender report: its sender's time in samples, its RTP time."""
        self._by_packets = False
        self._last: tuple[int, int] | None = None
        """Sender's time and arrival of the packet before."""
        self._fastest: float | None = None
        """Least of arrival minus sender's time; not whole, because it grows by less than a sample between packets."""
        self._even: tuple[int, int, int] | None = None
        """Since when packets are late evenly, and the least and the greatest lateness since then."""

    def report(self, ntp: int, rtp: int) -> None:
        """Take a sender report: 64-bit NTP time, and the RTP time of the same moment."""
        self._report = (ntp * SAMPLE_RATE_HZ >> 32, rtp)

    def left(self, packet: RtpIn) -> int:
        """When ``packet`` left its sender at the earliest; its arrival, while its sender has not told its time."""
        sent = self._sent(packet)
        if sent is None:
            return packet.arrival_sample
        offset = packet.arrival_sample - sent
        if self._fastest is None or self._last is None:
            self._fastest = offset
        else:
            crept = max(0, packet.arrival_sample - self._last[1]) / DRIFT
            self._fastest = min(self._fastest + crept, offset)
        self._last = (sent, packet.arrival_sample)
        lateness = offset - int(self._fastest)
        if self._slept(packet.arrival_sample, lateness):
            self._fastest, self._even, lateness = offset, None, 0
        return packet.arrival_sample - lateness

    def _sent(self, packet: RtpIn) -> int | None:
        """The sender's time of a packet, on its own clock."""
        if packet.send_time is not None:
            if not self._by_packets:
                self._by_packets, self._fastest = True, None
            if self._last is None or self._fastest is None:
                return packet.send_time * SAMPLE_RATE_HZ // SEND_TIME_PER_S
            expected = (self._last[0] + packet.arrival_sample - self._last[1]) * SEND_TIME_PER_S // SAMPLE_RATE_HZ
            return unwrap(packet.send_time, expected, SEND_TIME_BITS) * SAMPLE_RATE_HZ // SEND_TIME_PER_S
        if self._report is None or self._by_packets:
            return None
        at, rtp = self._report
        return at + (unwrap(packet.timestamp, rtp, 32) - rtp) // RTP_PER_SAMPLE

    def _slept(self, arrival: int, lateness: int) -> bool:
        """Whether all that came for long was late by about as much."""
        if lateness < SLEPT:
            self._even = None
            return False
        since, least, most = self._even or (arrival, lateness, lateness)
        least, most = min(least, lateness), max(most, lateness)
        if most - least > EVEN:
            since, least, most = arrival, lateness, lateness
        self._even = (since, least, most)
        return arrival - since >= EVENLY_FOR
