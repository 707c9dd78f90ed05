"""Pauses in virtual time: the real gate, spool, VAD, windows and queue, driven packet by packet as fast as they go.

A case is one session of both people: packets of 20 or 60 ms arrive with jitter, pauses and resumes fall wherever they
fall, a good part of them just after a window grew, settled or ended. Every sample carries in its lowest bit whether it
was said while recording was paused, so that a leak shows by what it holds, whatever place the code gives it. The
engine only notes what it is given: recognition has the other half of the bench.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bot.asr.captions import LaneVoice
from bot.asr.engine import Recognition
from bot.asr.scheduler import Scheduler
from bot.bench.pause_talk import PEOPLE, Talk
from bot.bench.spans import Lost, Span, between, lost_words
from bot.bench.taps import Place, Watch
from bot.control.callmedia import IN_FLIGHT_MS, TICK_S
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, AudioFrame, GateState, Pcm, Role, SpeechWindow
from bot.media.pipeline import LanePipeline
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.store.vault import Vault

PAUSES_A_CASE = 25
PTIMES_MS = (20, 60)
USUAL_DELAY_MS = 15.0
"""Mean of what a packet is late, exponential; the room waits some milliseconds more in any case."""
SPIKE = 0.01
SPIKE_MS = (80, 250)
"""One packet in a hundred is held up so long, and those behind it with it."""
NEVER = 1 << 62
TICK = round(TICK_S * SAMPLE_RATE_HZ)
IN_FLIGHT = IN_FLIGHT_MS * SAMPLES_PER_MS
PHASE = 120 * SAMPLES_PER_MS
"""A pause that follows a window comes so soon after it."""
PATIENCE = 4 * SAMPLE_RATE_HZ
REMEMBERED = 64
"""Pauses that packets under way may still belong to."""
READ_SHARE = 0.3
"""In how many pauses the spool is opened and read."""
DRAIN_TIMEOUT_S = 60.0


class Ear:
    """An engine that says that something was said; what it was given is noted by the watch."""

    name = "ear"

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:  # noqa: ARG002
        """A word, whatever it was."""
        return Recognition("said", (), 1.0, 0.0, 1.0, language)


class Case:
    """One session. Runs on one thread, in its own time."""

    def __init__(
        self, number: int, pauses: int, talk: Talk, rng: np.random.Generator, vad: SileroVad, scheduler: Scheduler,
        vault: Vault, folder: Path, watch: Watch,
    ) -> None:  # fmt: skip
        self.session_id = f"case{number}"
        self._talk = talk
        self._rng = rng
        self._scheduler = scheduler
        self._watch = watch
        self._left = pauses
        self._offset = int(rng.choice(talk.gaps_ms())) * SAMPLES_PER_MS
        self._now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._armed = False
        """The next window brings the pause."""
        self._opened_at = 0
        self._paused_at = NEVER
        self._pauses: list[Span] = []
        self._over = NEVER
        self.stretches: list[Span] = []
        """Where the gates were open, by what was acknowledged."""
        self._lanes: dict[str, LanePipeline] = {}
        self._spools: dict[str, Spool] = {}
        for who in PEOPLE:
            lane_id = self._lane_id(who)
            self._spools[who] = Spool(folder, vault, self.session_id, lane_id)
            self._lanes[who] = LanePipeline(
                lane_id=lane_id,
                vad=vad,
                spool=self._spools[who],
                on_window=self._taker(who, LaneVoice(self.session_id, lane_id, who, Role(who), "en")),
                on_level=lambda _: None,
                in_flight_ms=IN_FLIGHT_MS,
            )

    def _lane_id(self, who: str) -> str:
        return f"{self.session_id}-{who}"

    # -- time --------------------------------------------------------------------------------------------------------

    def _at(self, sample: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(sample, self._now), next(self._count), what))

    def run(self) -> None:
        """From Start to Finish."""
        self._turn(GateState.OPEN)
        for who in PEOPLE:
            self._speak(who)
        self._tick()
        self._plan_pause()
        while self._events and self._events[0][0] < self._over:
            self._now, _, what = heapq.heappop(self._events)
            what()
        for lane in self._lanes.values():
            lane.finish(self.stretches[-1][1])

    def _tick(self) -> None:
        for lane in self._lanes.values():
            lane.elapse(self._now)
        self._at(self._now + TICK, self._tick)

    # -- sound -------------------------------------------------------------------------------------------------------

    def _speak(self, who: str) -> None:
        length = int(self._rng.choice(PTIMES_MS)) * SAMPLES_PER_MS
        first = int(self._rng.integers(0, length))
        arrived = 0

        def send(start: int) -> None:
            nonlocal arrived
            late_ms = self._rng.exponential(USUAL_DELAY_MS)
            if self._rng.random() < SPIKE:
                late_ms += self._rng.uniform(*SPIKE_MS)
            arrived = max(arrived, start + length + round(min(late_ms, SPIKE_MS[1]) * SAMPLES_PER_MS))
            self._at(arrived, lambda: self._arrive(who, start, length))
            self._at(start + length, lambda: send(start + length))

        send(first)

    def _arrive(self, who: str, start: int, length: int) -> None:
        pcm = self._talk.piece(who, self._offset + start, length) & ~1
        for low, high in (*self._pauses, (self._paused_at, NEVER)):
            pcm[max(0, low - start) : max(0, high - start)] |= 1
        self._lanes[who].gate(AudioFrame(self._lane_id(who), start, pcm))

    # -- words -------------------------------------------------------------------------------------------------------

    def _taker(self, who: str, voice: LaneVoice) -> Callable[[SpeechWindow], None]:
        committed = 0

        def take(window: SpeechWindow) -> None:
            self._scheduler.submit(window, voice, lambda _: None)
            if self._armed:
                self._armed = False
                self._at(self._now + int(self._rng.integers(0, PHASE)), self._pause)
            if window.final:
                self._at(self._now + int(self._rng.integers(TICK, 10 * TICK)), lambda: commit(window.end_sample))

        def commit(sample: int) -> None:
            nonlocal committed
            committed = max(committed, sample)
            self._lanes[who].committed(committed)

        return take

    # -- pauses ------------------------------------------------------------------------------------------------------

    def _turn(self, state: GateState) -> int:
        """All gates at once, as a call does it; from when on it holds for all of them."""
        return max(lane.set_state(state, self._now) for lane in self._lanes.values())

    def _plan_pause(self) -> None:
        kind = self._rng.random()
        if kind < 0.4:
            self._armed = True
            opened = self._opened_at
            self._at(self._now + PATIENCE, lambda: self._impatient(opened))
        else:
            wait_ms = self._rng.uniform(20, 400) if kind < 0.55 else self._rng.uniform(300, 4000)
            self._at(self._now + round(wait_ms * SAMPLES_PER_MS), self._pause)

    def _impatient(self, opened: int) -> None:
        if self._armed and opened == self._opened_at:
            self._armed = False
            self._pause()

    def _pause(self) -> None:
        at = self._turn(GateState.PAUSED)
        self._paused_at = at
        self.stretches.append((self._opened_at, at))
        kind = self._rng.random()
        span_ms = (10, 200) if kind < 0.25 else (200, 2500) if kind < 0.85 else (2500, 8000)
        length = round(self._rng.uniform(*span_ms) * SAMPLES_PER_MS)
        if self._rng.random() < READ_SHARE:
            self._at(self._now + length // 2, self._look)
        self._at(self._now + length, self._resume)

    def _look(self) -> None:
        for spool in self._spools.values():
            for audio in spool.read():
                self._watch.audio(Place.DISK, audio)

    def _resume(self) -> None:
        at = self._turn(GateState.OPEN)
        self._pauses = [*self._pauses[-REMEMBERED:], (self._paused_at, at)]
        self._paused_at, self._opened_at = NEVER, at
        self._left -= 1
        if self._left:
            self._plan_pause()
        else:
            self._at(self._now + 2 * SAMPLE_RATE_HZ, self._finish)

    def _finish(self) -> None:
        at = self._turn(GateState.OFF)
        self.stretches.append((self._opened_at, at))
        self._paused_at = at  # nothing said after Finish may be kept either
        self._over = self._now + IN_FLIGHT

    # -- what came of it ---------------------------------------------------------------------------------------------

    @property
    def ledgers_close(self) -> bool:
        """Every lane's account."""
        return all(lane.ledger().closes for lane in self._lanes.values())

    def lost(self) -> Lost:
        """Words of both lanes that no final has."""
        found = Lost()
        for who in PEOPLE:
            words = self._talk.words_within(who, self._offset, self._offset + self._now)
            here = [(start - self._offset, end - self._offset) for start, end in words]
            found += lost_words(here, self.stretches, self._watch.finals(self._lane_id(who)))
        return found

    def paused(self) -> dict[str, list[Span]]:
        """The pauses of each lane, by its id."""
        return {self._lane_id(who): between(self.stretches) for who in PEOPLE}


async def play(case: Case, scheduler: Scheduler) -> None:
    """Run a case in a thread of its own and wait for the queue."""
    await asyncio.to_thread(case.run)
    if not await scheduler.drain(case.session_id, DRAIN_TIMEOUT_S):
        raise TimeoutError(f"the queue was not empty after {DRAIN_TIMEOUT_S:g} s")
    scheduler.forget(case.session_id)
