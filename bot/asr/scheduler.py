"""One engine, many lanes: which window is recognised next, on one owned thread.

- Finals come before partials, and lanes take turns, so that one lane's backlog delays no other's.
- A growing window has one place in the queue: its next revision replaces the one that waits, its final cancels it.
- Partials are what gives way: none is decoded while a final waits, nor more often than :data:`PARTIAL_SHARE` allows,
  nor when nothing more was said since the last one.
- A final is never dropped silently. It is delivered, or after a few failed tries, or when more sound waits than
  :data:`MAX_WAITING_S`, it is *set aside*: the caller is told, and no later final of that lane says that its audio may
  go, so that the spool keeps it for the pass after the call.

Results are delivered on the event loop that started the scheduler.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from bot.asr.captions import LaneVoice, segment_of
from bot.asr.engine import AsrEngine
from bot.asr.load import BusyShare
from bot.clock import Clock
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, Segment, SpeechWindow

__all__ = ["LaneVoice", "Scheduler", "SchedulerStats", "SetAside", "SetAsideReason"]

log = structlog.get_logger()

ATTEMPTS = 3
MAX_WAITING_S = 1800.0
"""Seconds of sound that may wait for recognition, all lanes together: 58 MB."""
PARTIAL_SHARE = 0.5
"""Share of the time that may go into partials: after one, the engine's thread rests from them as long as it took."""
MIN_NEW_SPEECH = 400 * SAMPLES_PER_MS
"""A partial is worth a decode when this much more was said."""
FORGOTTEN = 10_000
"""Forgotten sessions that are remembered as such."""
CLOSE_TIMEOUT_S = 30.0


class SetAsideReason(StrEnum):
    """Why a final was not recognised."""

    ENGINE = "engine"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class SetAside:
    """A final that was not recognised. Its audio is still wanted."""

    session_id: str
    lane_id: str
    window_id: str
    start_sample: int
    end_sample: int
    reason: SetAsideReason


@dataclass(frozen=True, slots=True)
class SchedulerStats:
    """How the recogniser is doing."""

    waiting_finals: int
    waiting_partials: int
    lag_ms: int
    """Age of the oldest final that is not yet in words, the one being decoded included."""
    busy_share: float
    """Share of the last seconds that the engine worked, 0 to 1."""
    waiting_s: float = 0.0
    """Seconds of sound in waiting finals."""
    finals: int = 0
    partials: int = 0
    partials_skipped: int = 0
    retried: int = 0
    """Finals that needed a second decode."""
    set_aside: int = 0


@dataclass(slots=True)
class _Session:
    session_id: str
    lanes: dict[str, _Lane] = field(default_factory=dict)
    set_aside: int = 0
    dropped: bool = False
    waiters: list[asyncio.Future[bool]] = field(default_factory=list)

    @property
    def owed(self) -> int:
        return sum(lane.owed for lane in self.lanes.values())


@dataclass(slots=True)
class _Lane:
    finals: deque[_Job] = field(default_factory=deque)
    partial: _Job | None = None
    turn: int = 0
    """When this lane was served last."""
    window_id: str = ""
    rev: int = 0
    partial_speech: int = 0
    """Speech in the last partial decoded of ``window_id``."""
    held_at: int | None = None
    """Where the earliest window begins that was set aside."""
    owed: int = 0
    """Finals submitted and neither handed over nor set aside."""
    dropped: bool = False


@dataclass(slots=True)
class _Job:
    session: _Session
    lane: _Lane
    window: SpeechWindow
    voice: LaneVoice
    deliver: Callable[[Segment], None]
    on_set_aside: Callable[[SetAside], None] | None
    since_s: float
    attempts: int = 0
    void: bool = False
    """Its result is no longer wanted."""

    @property
    def seconds(self) -> float:
        return len(self.window.pcm) / SAMPLE_RATE_HZ


class Scheduler:
    """Shares one engine among all lanes of the process. ``submit``, ``forget`` and ``stats`` from any thread."""

    def __init__(
        self,
        engine: AsrEngine,
        clock: Clock,
        *,
        attempts: int = ATTEMPTS,
        max_waiting_s: float = MAX_WAITING_S,
        partial_share: float = PARTIAL_SHARE,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._attempts = attempts
        self._max_waiting_s = max_waiting_s
        self._partial_share = partial_share
        self._changed = threading.Condition()
        self._sessions: dict[str, _Session] = {}
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._running: _Job | None = None
        self._turns = 0
        self._waiting_s = 0.0
        self._partials_from_s = 0.0
        self._busy = BusyShare()
        self._counts = dict.fromkeys(("finals", "partials", "partials_skipped", "retried", "set_aside"), 0)
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine's thread. Call on the event loop that shall get the results, once."""
        if self._thread is not None or self._closing:
            raise RuntimeError("a scheduler is started once")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="asr", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Let the running decode end, leave what waits, end the thread. Idempotent."""
        with self._changed:
            self._closing = True
            sessions = list(self._sessions.values())
            self._changed.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, CLOSE_TIMEOUT_S)
            if thread.is_alive():
                log.warning("asr_thread_stuck")
        for session in sessions:
            _settle(session, done=False)

    # -- in ------------------------------------------------------------------------------------------------------------

    def submit(
        self,
        window: SpeechWindow,
        voice: LaneVoice,
        deliver: Callable[[Segment], None],
        on_set_aside: Callable[[SetAside], None] | None = None,
    ) -> bool:
        """Have a window recognised. False: not taken, because the session was forgotten or the scheduler is closed.

        ``deliver`` gets the segment, with empty text where nothing was said; a partial that says nothing is not
        delivered. A final taken here ends in ``deliver`` or, exceptionally, in ``on_set_aside``.
        """
        with self._changed:
            if self._closing or voice.session_id in self._forgotten:
                return False
            session = self._sessions.setdefault(voice.session_id, _Session(voice.session_id))
            lane = session.lanes.setdefault(voice.lane_id, _Lane())
            job = _Job(session, lane, window, voice, deliver, on_set_aside, self._clock.monotonic_s())
            if window.final:
                self._take_final(job)
            else:
                self._take_partial(job)
            self._changed.notify_all()
        return True

    def _take_final(self, job: _Job) -> None:
        lane, window_id = job.lane, job.window.window_id
        if lane.partial is not None and lane.partial.window.window_id == window_id:
            lane.partial = None
        running = self._running
        if running is not None and running.lane is lane and running.window.window_id == window_id:
            running.void = running.void or not running.window.final
        lane.owed += 1
        if self._waiting_s + job.seconds > self._max_waiting_s:
            self._give_up(job, SetAsideReason.OVERLOADED)
            return
        lane.finals.append(job)
        self._waiting_s += job.seconds

    def _take_partial(self, job: _Job) -> None:
        lane, window = job.lane, job.window
        if lane.partial is not None:
            self._counts["partials_skipped"] += 1
            lane.partial = None
        known = lane.partial_speech if lane.window_id == window.window_id else 0
        if window.speech_samples - known < MIN_NEW_SPEECH:
            self._counts["partials_skipped"] += 1
            return
        lane.partial = job

    # -- out of it -----------------------------------------------------------------------------------------------------

    def forget(self, session_id: str) -> None:
        """Nothing of this session is delivered any more, and what waits of it is dropped, until :meth:`reopen`."""
        with self._changed:
            self._forgotten[session_id] = None
            self._forgotten.move_to_end(session_id)
            while len(self._forgotten) > FORGOTTEN:
                self._forgotten.popitem(last=False)
            session = self._sessions.pop(session_id, None)
            if session is not None:
                session.dropped = True
                for lane in session.lanes.values():
                    self._drop(lane)
        if session is not None:
            self._on_loop(_settle, session, False)

    def forget_lane(self, session_id: str, lane_id: str) -> None:
        """Drop what waits of one lane, and the result of a decode that runs. Windows submitted later are taken."""
        with self._changed:
            session = self._sessions.get(session_id)
            lane = session.lanes.pop(lane_id, None) if session is not None else None
            if session is None or lane is None:
                return
            self._drop(lane)
            settled = session.owed == 0
        if settled:
            self._on_loop(_settle, session, session.set_aside == 0)

    def reopen(self, session_id: str) -> None:
        """Take windows of a forgotten session again: for the pass after the call, over what the spool still holds."""
        with self._changed:
            self._forgotten.pop(session_id, None)

    def _drop(self, lane: _Lane) -> None:
        """Empty a lane for good; a decode that runs ends unheard."""
        self._waiting_s -= sum(job.seconds for job in lane.finals)
        lane.finals.clear()
        lane.partial = None
        lane.dropped = True

    async def drain(self, session_id: str, timeout_s: float) -> bool:
        """Wait until every final submitted so far was handed over. False: not in time, or some were set aside."""
        with self._changed:
            session = self._sessions.get(session_id)
            if session is None:
                return True
            if session.owed == 0:
                return session.set_aside == 0
            waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            session.waiters.append(waiter)
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return False

    @property
    def stats(self) -> SchedulerStats:
        """The figures of this moment."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            lanes = [lane for session in self._sessions.values() for lane in session.lanes.values()]
            oldest = [lane.finals[0].since_s for lane in lanes if lane.finals]
            if self._running is not None and self._running.window.final:
                oldest.append(self._running.since_s)
            return SchedulerStats(
                waiting_finals=sum(len(lane.finals) for lane in lanes),
                waiting_partials=sum(lane.partial is not None for lane in lanes),
                lag_ms=round((now_s - min(oldest)) * 1000) if oldest else 0,
                busy_share=self._busy.share(now_s),
                waiting_s=round(max(0.0, self._waiting_s), 3),
                **self._counts,
            )

    # -- the engine's thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            began_s = self._clock.monotonic_s()
            self._busy.begin(began_s)
            segment: Segment | None = None
            failed = False
            try:
                heard = self._engine.recognise(job.window.pcm, language=job.voice.language, word_times=job.window.final)
                with self._changed:
                    self._counts["retried"] += heard.retried
                segment = segment_of(job.window, job.voice, heard, *self._revision(job))
            except Exception as error:  # noqa: BLE001 -- an engine's fault must not end recognition for every call
                failed = True
                log.error(  # no traceback: it may hold what was said
                    "asr_decode_failed", session_id=job.voice.session_id, lane_id=job.voice.lane_id,
                    window_id=job.window.window_id, error=type(error).__name__, attempt=job.attempts + 1,
                )  # fmt: skip
            ended_s = self._clock.monotonic_s()
            self._busy.end(ended_s)
            self._done(job, segment, failed=failed, took_s=ended_s - began_s, now_s=ended_s)

    def _next(self) -> _Job | None:
        """The next window to decode, waiting for one. None: the end."""
        with self._changed:
            while not self._closing:
                job = self._pick()
                if job is not None:
                    self._running = job
                    return job
                wait_s = None
                if self._lanes_with_partials():
                    wait_s = max(0.005, self._partials_from_s - self._clock.monotonic_s())
                self._changed.wait(wait_s)
            return None

    def _pick(self) -> _Job | None:
        lanes = [lane for session in self._sessions.values() for lane in session.lanes.values()]
        with_finals = [lane for lane in lanes if lane.finals]
        job: _Job | None = None
        if with_finals:
            lane = min(with_finals, key=lambda lane: lane.turn)
            job = lane.finals.popleft()
            self._waiting_s -= job.seconds
        elif self._clock.monotonic_s() >= self._partials_from_s:
            with_partials = self._lanes_with_partials()
            if with_partials:
                lane = min(with_partials, key=lambda lane: lane.turn)
                job, lane.partial = lane.partial, None
                assert job is not None
                if lane.window_id != job.window.window_id:
                    lane.window_id, lane.rev = job.window.window_id, 0
                lane.partial_speech = job.window.speech_samples
        if job is not None:
            self._turns += 1
            job.lane.turn = self._turns
        return job

    def _lanes_with_partials(self) -> list[_Lane]:
        return [
            lane for session in self._sessions.values() for lane in session.lanes.values() if lane.partial is not None
        ]

    def _revision(self, job: _Job) -> tuple[int, int]:
        """The segment's revision, and up to where its lane's audio is in words: never past a window set aside."""
        lane, window = job.lane, job.window
        with self._changed:
            if lane.window_id != window.window_id:
                lane.window_id, lane.rev, lane.partial_speech = window.window_id, 0, 0
            lane.rev += 1
            held_at = lane.held_at
            return lane.rev, window.end_sample if held_at is None else min(held_at, window.end_sample)

    def _done(self, job: _Job, segment: Segment | None, *, failed: bool, took_s: float, now_s: float) -> None:
        with self._changed:
            self._running = None
            if job.window.final:
                job.attempts += 1
                if failed:
                    if job.lane.dropped:
                        return
                    if job.attempts < self._attempts:
                        job.lane.finals.appendleft(job)
                        self._waiting_s += job.seconds
                    else:
                        self._give_up(job, SetAsideReason.ENGINE)
                    return
                self._counts["finals"] += not failed
            else:
                self._partials_from_s = now_s + took_s * (1 / self._partial_share - 1)
                self._counts["partials"] += 1
        if segment is not None and (segment.final or segment.text):
            self._on_loop(self._hand_over, job, segment)

    def _give_up(self, job: _Job, reason: SetAsideReason) -> None:
        """Set a final aside. Holds the lock."""
        window, voice = job.window, job.voice
        held_at = job.lane.held_at
        job.lane.held_at = window.start_sample if held_at is None else min(held_at, window.start_sample)
        job.session.set_aside += 1
        self._counts["set_aside"] += 1
        log.error(
            "asr_final_set_aside", session_id=voice.session_id, lane_id=voice.lane_id, window_id=window.window_id,
            reason=reason.value,
        )  # fmt: skip
        aside = SetAside(
            voice.session_id, voice.lane_id, window.window_id, window.start_sample, window.end_sample, reason
        )
        self._on_loop(self._hand_over, job, aside)

    # -- on the event loop ---------------------------------------------------------------------------------------------

    def _on_loop(self, fn: Callable[..., None], *args: object) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            log.warning("asr_loop_gone")

    def _hand_over(self, job: _Job, outcome: Segment | SetAside) -> None:
        if job.void or job.lane.dropped or job.session.dropped:
            return
        try:
            if isinstance(outcome, Segment):
                job.deliver(outcome)
            elif job.on_set_aside is not None:
                job.on_set_aside(outcome)
        except Exception as error:  # noqa: BLE001 -- one listener's fault must not stop the others' words
            log.error(
                "asr_delivery_failed", session_id=job.voice.session_id, window_id=job.window.window_id,
                error=type(error).__name__,
            )  # fmt: skip
        if not job.window.final:
            return
        with self._changed:
            job.lane.owed -= 1
            settled = job.session.owed == 0
        if settled:
            _settle(job.session, job.session.set_aside == 0)


def _settle(session: _Session, done: bool) -> None:
    """Answer those who wait for a session's last words. On the event loop."""
    waiters, session.waiters = session.waiters, []
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(done)
