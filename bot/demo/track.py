"""A microphone made of packets encoded beforehand, in real time."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from bot.demo.packets import RTP_RATE_HZ, TIME_BASE, Asked, EncodedLane, encode

IDLE_S = 6
"""Length of the silence that is repeated while nothing is played."""
RECEIVABLE_S = 0.25
"""Longest sleep at a stretch, so that a lane commanded meanwhile starts on time."""


@lru_cache(maxsize=8)
def _quiet(asked: Asked) -> EncodedLane:
    """An open microphone in a quiet room: noise at -72 dBFS."""
    noise = np.random.default_rng(1).normal(0, 8, IDLE_S * RTP_RATE_HZ)
    return encode(noise.astype(np.int16), asked)


class PacketTrack(MediaStreamTrack):
    """Sends silence until told to play, then the lane, then silence again.

    RTP time runs on without a break, on a grid of whole packets counted from ``origin_s`` (monotonic seconds), so that
    tracks of one origin and one packet length share their clock. A packet leaves when its last sample would have been
    spoken, as from a real microphone.
    """

    kind = "audio"

    def __init__(self, asked: Asked, *, origin_s: float | None = None) -> None:
        super().__init__()
        self._asked = asked
        self._origin_s = time.monotonic() if origin_s is None else origin_s
        self._ptime_s = asked.ptime_ms / 1000
        self._slot = self._slot_at(time.monotonic())
        self._first_slot = self._slot
        self._lane: dict[int, bytes] = {}
        self._lane_from = self._lane_to = 0
        quiet = _quiet(asked)
        self._quiet = {packet.at // asked.samples: packet.payload for packet in quiet.packets}
        self._quiet_slots = IDLE_S * 1000 // asked.ptime_ms
        self.muted = False
        self._held_until: int | None = 0
        """The first slot that is sent; None while none is."""

    def _slot_at(self, monotonic_s: float) -> int:
        """The next whole packet after a moment."""
        return int((monotonic_s - self._origin_s) / self._ptime_s) + 1

    def play(self, lane: EncodedLane, at_s: float) -> float:
        """Play ``lane`` from about ``at_s`` (monotonic) on; returns when its first sample is really spoken."""
        if lane.asked != self._asked:
            raise ValueError("the lane was encoded for another answer")
        self._lane_from = max(self._slot_at(at_s - self._ptime_s / 2), self._slot + 1)
        self._lane_to = self._lane_from + -(-lane.duration_ms // self._asked.ptime_ms)
        self._lane = {self._lane_from + packet.at // self._asked.samples: packet.payload for packet in lane.packets}
        return self._origin_s + self._lane_from * self._ptime_s

    def hold(self, held: bool) -> None:
        """Send nothing, not even silence; then only packets of which every sample is said from then on."""
        if held:
            self._held_until = None
        elif self._held_until is None:
            self._held_until = self._slot_at(time.monotonic())

    def _payload(self, slot: int) -> bytes | None:
        if not self.muted and self._lane_from <= slot < self._lane_to:
            return self._lane.get(slot)
        return self._quiet.get((slot - self._first_slot) % self._quiet_slots)

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due."""
        while self.readyState == "live":
            due_s = self._origin_s + (self._slot + 1) * self._ptime_s
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, RECEIVABLE_S))
                continue
            slot, payload = self._slot, self._payload(self._slot)
            self._slot += 1
            if self._held_until is None or slot < self._held_until:
                continue
            if payload is not None:
                packet: av.Packet[Any] = av.Packet(payload)
                packet.pts = (slot - self._first_slot) * self._asked.samples
                packet.time_base = TIME_BASE
                return packet
        raise MediaStreamError
