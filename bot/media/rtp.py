"""Packets of one RTP source: put back in order, holes told apart, numbers unwrapped."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DROPOUT = 3000
"""RFC 3550 appendix A.1: a larger step forward is a restarted sender, not a loss."""
MAX_MISORDER = 100
"""RFC 3550 appendix A.1: a larger step back is a restarted sender, not a late packet."""
CAPACITY = 128
"""Packets held at most; about eight seconds at 60 ms, so time always decides first."""


@dataclass(frozen=True, slots=True)
class RtpIn:
    """One received Opus packet."""

    connection: int
    """Which connection and receiver it came through; with ``ssrc`` this names its source."""
    ssrc: int
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, 48 kHz."""
    payload: bytes
    """Without its padding. Empty: a browser that probes the path sends such packets; they have a number and no time."""
    arrival_sample: int
    """When it arrived, in 16 kHz samples on the call's clock."""
    send_time: int | None = None
    """``abs-send-time``: 24 bits, in 2^-18 seconds of the sender's clock. None: it does not say."""
    left_sample: int | None = None
    """When it left its sender at the earliest, on the call's clock, as :class:`bot.media.sendtime.SendTime` tells."""

    @property
    def source(self) -> tuple[int, int]:
        """The source it belongs to."""
        return (self.connection, self.ssrc)


def unwrap(value: int, near: int, bits: int) -> int:
    """The number whose low ``bits`` are ``value`` and which lies nearest to ``near``."""
    span = 1 << bits
    step = (value - near) % span
    return near + step - (span if step >= span // 2 else 0)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A packet whose turn it is."""

    packet: RtpIn
    missing: int
    """Packets directly before it that never came."""


class Reorder:
    """Holds packets until their turn, or until what is missing before them is overdue.

    The window is a stretch of time, not a count of packets, so that the delay does not grow with the packet length.
    Late ones and repetitions are dropped; their place was already counted as missing, or they were already played.
    """

    def __init__(self, window_samples: int) -> None:
        self._window = window_samples
        self._held: dict[int, RtpIn] = {}
        self._empty: set[int] = set()
        """Numbers from the next one on that came without sound."""
        self._next: int | None = None
        self.late = 0
        """Packets that came after they had been given up, or twice, or to a full buffer."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """True when no more can be held: further packets are refused and so count as missing."""
        return len(self._held) >= CAPACITY

    def restarts(self, packet: RtpIn) -> bool:
        """True when its number cannot belong to the same count: the sender began anew."""
        if self._next is None:
            return False
        step = unwrap(packet.sequence, self._next, 16) - self._next
        return step > MAX_DROPOUT or step < -MAX_MISORDER

    def pass_over(self, packet: RtpIn) -> None:
        """Take a packet without sound in: its number is not missing."""
        if self._next is None and not self._held:
            return
        number = self._number(packet)
        if self._next is None or 0 <= number - self._next <= MAX_DROPOUT:
            self._empty.add(number)

    def _number(self, packet: RtpIn) -> int:
        near = self._next if self._next is not None else min(self._held, default=packet.sequence)
        return unwrap(packet.sequence, near, 16)

    def add(self, packet: RtpIn) -> None:
        """Take a packet in."""
        number = self._number(packet)
        if self._next is not None and number < self._next:
            self.late += 1
            return
        if number in self._held or self.full:
            self.late += 1
            return
        self._held[number] = packet

    def head(self, now_sample: int | None) -> Ordered | None:
        """The packet whose turn it is at ``now_sample`` (None: wait for nothing), without taking it; None: none yet."""
        if not self._held:
            return None
        number = min(self._held)
        missing = 0
        if self._next is not None:
            missing = number - self._next - sum(1 for empty in self._empty if empty < number)
        if missing and now_sample is not None and not self.full and now_sample < self.due_sample():
            return None
        return Ordered(self._held[number], missing)

    def due_sample(self) -> int:
        """When what is missing before the first held packet will be given up."""
        return min(packet.arrival_sample for packet in self._held.values()) + self._window

    def take(self) -> None:
        """Remove the packet :meth:`head` gave."""
        number = min(self._held)
        del self._held[number]
        self._next = number + 1
        self._empty = {empty for empty in self._empty if empty > number}

    def held(self) -> list[RtpIn]:
        """All held packets, in order."""
        return [self._held[number] for number in sorted(self._held)]
