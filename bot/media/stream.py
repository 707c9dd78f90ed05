"""One participant's packets become frames on the call's clock: order, time, decoding. Runs on the media thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, AudioFrame, Pcm
from bot.media.decode import OpusDecoder, opus_duration
from bot.media.rtp import Reorder, RtpIn, unwrap
from bot.media.sendtime import SendTime
from bot.media.timeline import RTP_PER_SAMPLE, Timed, Timeline

REORDER = 80 * SAMPLES_PER_MS
"""How long a missing packet is waited for."""
SETTLE = 120 * SAMPLES_PER_MS
"""How long packets are kept at the beginning of a stretch, to anchor it to the fastest of them."""
MAX_FILL = 1000 * SAMPLES_PER_MS
"""The longest jump of RTP time that is filled with silence (DTX sends every 400 ms). A longer one is absence."""
TAKEOVER = 500 * SAMPLES_PER_MS
"""A source that was replaced is heard again once the newer one has been quiet for this long."""
IDLE = 250 * SAMPLES_PER_MS
"""Without a packet for this long, the last samples are taken out of the resampler."""
EARLY = 20 * SAMPLES_PER_MS
"""How far ahead of the clock the last packets of a source that ended may lie."""
QUIET = 328
"""Peak of a packet in which nobody speaks: -40 dBFS."""
MAX_OLDER = 8
"""Replaced sources that are remembered."""


class Timer(Protocol):
    """Calls back on the media thread."""

    def __call__(self, delay_s: float, fn: Callable[[], None], /) -> None:
        """Call ``fn`` after ``delay_s``."""
        ...


class LaneStream:
    """The one stream of a lane, whatever connections and sources it comes through.

    Frames come out in order, never overlap, never lie ahead of the clock. ``lost_before`` is counted from missing
    sequence numbers (and packets that cannot be decoded) only; a jump of RTP time without one is silence.
    """

    def __init__(
        self,
        lane_id: str,
        deliver: Callable[[AudioFrame], None],
        *,
        now_sample: Callable[[], int],
        later: Timer,
    ) -> None:
        self._lane_id = lane_id
        self._deliver = deliver
        self._now = now_sample
        self._later = later
        self._decoder = OpusDecoder()
        self._reorder = Reorder(REORDER)
        self._time = Timeline()
        self._source: tuple[int, int] | None = None
        self._older: list[tuple[int, int]] = []
        self._senders: dict[tuple[int, int], SendTime] = {}
        """The clock of each source that is remembered."""
        self._last_arrival = 0
        self._wake_at: int | None = None
        self._idle_at: int | None = None
        self._settle_until: int | None = None
        self._believed_ts: int | None = None
        """Packets up to this RTP time were looked at as a burst and fit."""
        self._given = 0
        """Place just after the last sample handed on. The resampler holds back the few samples up to the time's end."""
        self._handed = 0
        """End of the last frame."""
        self._lost = 0
        """Samples lost directly before the next frame."""
        self._duration = 960
        """Length of the last packet at 48 kHz: what a missing one is taken to have held."""
        self.reanchored = 0
        """Stretches begun because RTP time and arrival had parted."""
        self.undecodable = 0
        """Packets that could not be decoded."""

    def packet(self, packet: RtpIn) -> None:
        """Take a packet of this lane, in whatever order they arrive."""
        if not packet.payload:
            self._take_padding(packet)
            return
        if not self._take_source(packet):
            return
        if self._reorder.restarts(packet):
            self._begin(packet.source)
        self._last_arrival = max(packet.arrival_sample, self._last_arrival)
        self._reorder.add(replace(packet, left_sample=self._sender(packet.source).left(packet)))
        self._pump()

    def _take_padding(self, packet: RtpIn) -> None:
        """A packet without sound: it tells of the path and of its own number, and fills no time."""
        if packet.source != self._source:
            return
        if packet.send_time is not None:
            self._sender(packet.source).left(packet)
        self._reorder.pass_over(packet)
        self._pump()

    def report(self, source: tuple[int, int], ntp: int, rtp: int) -> None:
        """Take a sender report of a source: 64-bit NTP time, and the RTP time of the same moment."""
        self._sender(source).report(ntp, rtp)

    def stop(self) -> None:
        """Hand on what is held and forget the rest; the next packet begins a new stretch."""
        self._begin(None)

    def rest(self) -> None:
        """As :meth:`stop`, where nothing more is wanted: what is thrown away is not lost, and nothing rings on."""
        self.stop()
        self._lost = 0
        self._decoder = OpusDecoder()  # its memory holds the last sound, and would play the end of it into the next

    def _sender(self, source: tuple[int, int]) -> SendTime:
        if source not in self._senders:
            known = {self._source, *self._older}
            self._senders = {who: clock for who, clock in self._senders.items() if who in known}
            self._senders[source] = SendTime()
        return self._senders[source]

    # -- whose packets -----------------------------------------------------------------------------------------------

    def _take_source(self, packet: RtpIn) -> bool:
        """Whether to play this packet's source; a source never seen before takes over."""
        source = packet.source
        if source == self._source:
            return True
        if source in self._older:
            if self._source is not None and packet.arrival_sample - self._last_arrival < TAKEOVER:
                return False
            self._older.remove(source)
        if self._source is not None:
            self._older = [*self._older[1 - MAX_OLDER :], self._source]
        self._begin(source)
        return True

    def _begin(self, source: tuple[int, int] | None) -> None:
        self._play_out()
        self._drain()
        self._source = source
        self._reorder = Reorder(REORDER)
        self._time.anchored = False
        self._settle_until = self._believed_ts = None

    def _play_out(self) -> None:
        """Play what is held without waiting for anything more; what lies ahead of the clock is lost."""
        if not len(self._reorder):
            return
        if not self._time.anchored:
            self._anchor(self._timed(), 0)
        ahead = self._now() + EARLY
        while (head := self._reorder.head(None)) is not None:
            timed = self._one(head.packet)
            if timed.ts < self._time.next_ts or self._time.place(timed) > ahead:
                self._drain()
                self._lost += timed.duration // RTP_PER_SAMPLE
                self._reorder.take()
                continue
            self._play(head.packet, timed, head.missing)

    # -- when --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Play every packet whose turn and time have come, and ask to be woken for the next."""
        while len(self._reorder):
            now = self._now()
            if self._settle_until is not None:
                if now < self._settle_until:
                    return self._wake(self._settle_until)
                self._settle_until = None
                self._settle()
            head = self._reorder.head(now)
            if head is None:
                return self._wake(self._reorder.due_sample())
            timed = self._one(head.packet)
            if not self._time.anchored or self._in_doubt(timed):
                self._settle_until = head.packet.arrival_sample + SETTLE
                continue
            place = self._time.place(timed)
            if place > now:
                return self._wake(place)
            self._play(head.packet, timed, head.missing)
        return None

    def _in_doubt(self, timed: Timed) -> bool:
        if self._believed_ts is not None and self._time.next_ts <= timed.ts <= self._believed_ts:
            return False
        return self._time.doubtful(timed)

    def _settle(self) -> None:
        """Begin a stretch with what has been collected, unless the one that runs still fits."""
        packets = self._timed()
        self._believed_ts = max(packet.ts for packet in packets)
        if self._time.anchored:
            if not self._time.parted(packets):
                return
            self.reanchored += 1
        head = self._reorder.head(None)
        self._anchor(packets, head.missing if head is not None else 0)

    def _wake(self, at_sample: int) -> None:
        if self._wake_at is not None and self._wake_at <= at_sample:
            return
        self._wake_at = at_sample
        self._later(max(0, at_sample - self._now()) / SAMPLE_RATE_HZ + 0.001, self._woken)

    def _woken(self) -> None:
        self._wake_at = None
        self._pump()

    def _timed(self) -> list[Timed]:
        timed: list[Timed] = []
        for packet in self._reorder.held():
            timed.append(self._one(packet, timed[-1].ts if timed else None))
        return timed

    def _one(self, packet: RtpIn, near: int | None = None) -> Timed:
        duration = opus_duration(packet.payload) or self._duration
        ts = unwrap(packet.timestamp, self._time.next_ts if near is None else near, 32)
        return Timed(ts, duration, packet.arrival_sample, packet.left_sample)

    # -- sound -------------------------------------------------------------------------------------------------------

    def _play(self, packet: RtpIn, timed: Timed, missing: int) -> None:
        self._reorder.take()
        self._pass_over((timed.ts - self._time.next_ts) // RTP_PER_SAMPLE, missing)
        self._time.next_ts = timed.ts
        pcm = self._decoder.decode(packet.payload)
        if pcm is None:
            self.undecodable += 1
            self._drain()
            self._time.advance(timed)
            self._lose(self._time.end - self._given)
            return
        self._time.advance(timed)
        self._duration = timed.duration
        self._emit(self._skewed(pcm))
        if self._idle_at is None:
            self._later(IDLE / SAMPLE_RATE_HZ, self._idle)
        self._idle_at = self._now() + IDLE

    def _idle(self) -> None:
        wait = (self._idle_at or 0) - self._now()
        if wait > 0:
            self._later(wait / SAMPLE_RATE_HZ + 0.001, self._idle)
            return
        self._idle_at = None
        self._drain()

    def _pass_over(self, samples: int, missing: int) -> None:
        """Account for time between two packets: lost as far as packets are missing, silence otherwise."""
        lost = min(samples, missing * self._duration // RTP_PER_SAMPLE)
        silent = samples - lost
        if silent > MAX_FILL:
            self._drain()
            self._time.end += silent
            self._given, self._lost = self._time.end, 0
        elif silent:
            pcm = self._decoder.silence(silent * RTP_PER_SAMPLE)
            self._time.end += silent
            self._emit(pcm)
        if lost:
            self._drain()
            self._time.end += lost
            self._lose(lost)

    def _lose(self, samples: int) -> None:
        self._given += samples
        self._lost += samples

    def _anchor(self, packets: list[Timed], missing: int) -> None:
        """Begin a stretch. Time since the last one is lost as far as packets are missing, absent otherwise."""
        self._drain()
        self._time.anchor(packets)
        gap = self._time.end - self._given
        self._lost = min(gap, self._lost + missing * self._duration // RTP_PER_SAMPLE)
        self._given = self._time.end

    def _skewed(self, pcm: Pcm) -> Pcm:
        there = min(len(pcm), self._duration // RTP_PER_SAMPLE)  # a packet may hold more than it says
        change = self._time.skew(there, quiet=int(np.abs(pcm.astype(np.int32)).max(initial=0)) < QUIET)
        if not change:
            return pcm
        spots = (np.arange(abs(change)) * len(pcm)) // abs(change)
        return np.insert(pcm, spots, pcm[spots]) if change > 0 else np.delete(pcm, spots)

    def _drain(self) -> None:
        """Take the last samples out of the resampler, so that exactly the time's end is reached."""
        tail = self._decoder.drain()
        wanted = self._time.end - self._given
        if len(tail) and wanted > 0:
            self._emit(np.pad(tail[:wanted], (0, max(0, wanted - len(tail)))))

    def _emit(self, pcm: Pcm) -> None:
        pcm = pcm[: max(0, self._time.end - self._given)]
        if not len(pcm):
            return
        lost = min(self._lost, self._given - self._handed)  # what lay ahead of the clock had no time of its own
        frame = AudioFrame(self._lane_id, self._given, pcm, lost, self._time.late, self._time.early)
        self._given = self._handed = frame.end_sample
        self._lost = 0
        self._deliver(frame)
