"""Where a packet lies on the call's clock: RTP time inside a stretch, arrival at its beginning.

Two bounds hold for every sample. It is never placed earlier than it was spoken, because a stretch is anchored to the
fastest of its first packets, and a packet cannot arrive before it was spoken. And it is never handed on before its
place is reached (:mod:`bot.media.stream` waits), so that a pause finds nothing behind itself.

Two machines' clocks drift apart. Small drift is followed by repeating or leaving out single samples, judged by the
fastest packet of the last seconds; when RTP time and arrival part by more than :data:`REANCHOR`, a new stretch begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bot.events import SAMPLES_PER_MS

RTP_PER_SAMPLE = 3
"""Opus counts RTP time at 48 kHz whatever it carries (RFC 7587), the call's clock counts at 16 kHz."""
REANCHOR = 250 * SAMPLES_PER_MS
"""How far RTP time and arrival may part inside a stretch."""
DEADBAND = 5 * SAMPLES_PER_MS
"""Lag that is left alone: less than the 6.5 ms by which an Opus encoder delays what it carries."""
SKEW_BLOCK = 160
"""While following drift, one sample in this many is repeated or left out (0.6 %)."""
QUIET_BLOCK = 4
"""The same, where nobody speaks and the lane runs behind."""
BUCKET = 1000 * SAMPLES_PER_MS
"""Drift is judged over one to two of these."""
RECENT = 500 * SAMPLES_PER_MS
"""How far back packets tell how late the lane runs: longer than a hold-up of one packet, short beside a pause."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What the timeline needs of a packet. Times are unwrapped."""

    ts: int
    """RTP time of its first sample, 48 kHz."""
    duration: int
    """48 kHz samples."""
    arrival: int
    """16 kHz sample on the call's clock."""
    left: int | None = None
    """When it left its sender at the earliest, where that is known; never after its arrival."""

    @property
    def end_ts(self) -> int:
        """RTP time just after its last sample."""
        return self.ts + self.duration


class Timeline:
    """The clock of one lane."""

    def __init__(self) -> None:
        self.anchored = False
        self.next_ts = 0
        """RTP time just after the last packet."""
        self.end = 0
        """Place just after the last packet."""
        self._bucket_start = 0
        self._lag_now: int | None = None
        self._lag_before: int | None = None
        self._recent: deque[tuple[int, int, int]] = deque()
        """Of the packets of the last :data:`RECENT`: arrival; how long after their place they came, and how long
        before it they left.
        """

    @property
    def late(self) -> int:
        """How long after its place sound was spoken at the latest.

        A sender whose clock stood still for a moment (a replaced microphone) stays late until drift is made up for.
        """
        late = min((came for _, came, _ in self._recent), default=0)
        return late if late > DEADBAND else 0

    @property
    def early(self) -> int:
        """How long before its place sound was spoken at the earliest: it was held up on its way, and placed later."""
        return max(0, max((left for _, _, left in self._recent), default=0))

    def place(self, packet: Timed) -> int:
        """Where the packet's end lies on the call's clock."""
        return self.end + (packet.end_ts - self.next_ts) // RTP_PER_SAMPLE

    def lag(self, packet: Timed) -> int:
        """How long after its place a packet arrived; negative when before."""
        return packet.arrival - self.place(packet)

    def doubtful(self, packet: Timed) -> bool:
        """True when this packet does not fit the stretch. One packet proves nothing: see :meth:`parted`."""
        return packet.ts < self.next_ts or abs(self.lag(packet)) > REANCHOR

    def parted(self, packets: Sequence[Timed]) -> bool:
        """True when RTP time and arrival have parted: no packet of these fits the stretch.

        After a hold-up in the network a burst arrives whose last packets are on time again; that is no parting.
        """
        if packets[0].ts < self.next_ts:
            return True
        lags = [self.lag(packet) for packet in packets]
        return min(lags) > REANCHOR or max(lags) < -REANCHOR

    def anchor(self, packets: Sequence[Timed]) -> None:
        """Begin a stretch with these packets, the fastest of which gives the time."""
        first = packets[0].ts
        start = min(packet.arrival - (packet.end_ts - first) // RTP_PER_SAMPLE for packet in packets)
        self.end = max(start, self.end)
        self.next_ts = first
        self.anchored = True
        self._lag_now = self._lag_before = None
        self._recent.clear()

    def advance(self, packet: Timed) -> None:
        """Go on to the end of ``packet``."""
        lag = self.lag(packet)
        since = packet.arrival - self._bucket_start
        if since >= BUCKET or since < 0:
            self._lag_before = self._lag_now if since < 2 * BUCKET else None
            self._lag_now, self._bucket_start = lag, packet.arrival
        else:
            self._lag_now = lag if self._lag_now is None else min(lag, self._lag_now)
        place = self.place(packet)
        self._recent.append((packet.arrival, lag, place - (packet.arrival if packet.left is None else packet.left)))
        while self._recent[0][0] < packet.arrival - RECENT:
            self._recent.popleft()
        self.end = place
        self.next_ts = packet.end_ts

    def skew(self, samples: int, *, quiet: bool) -> int:
        """How many of the ``samples`` just played to repeat (positive) or leave out (negative), and go along.

        What runs behind catches up where it is ``quiet``: nothing is heard of that.
        """
        if self._lag_before is None or self._lag_now is None:
            return 0
        lag = min(self._lag_before, self._lag_now)
        most = samples // (QUIET_BLOCK if quiet and lag < -DEADBAND else SKEW_BLOCK)
        change = min(lag, most) if lag > DEADBAND else max(lag, -most) if lag < 0 else 0
        self.end += change
        self._lag_now -= change
        self._lag_before -= change
        self._recent = deque((arrival, came - change, left + change) for arrival, came, left in self._recent)
        return change
