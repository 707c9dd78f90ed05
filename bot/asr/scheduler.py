"""Which window is recognised next: one thread, one engine, all calls of the process.

Finals go before partials. A newer revision of a growing window takes the place of the one that waits; a final takes the
place of both. Overload policy: finals wait (their sound is in the spool), partials are left out.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.asr.captions import LaneVoice, segment_of
from bot.asr.engine import AsrEngine, Recognition
from bot.clock import Clock
from bot.events import Segment, SpeechWindow

log = structlog.get_logger()

Deliver = Callable[[Segment], None]
TRIES = 2
"""Of a final, before it is given up with empty text."""
CLOSE_TIMEOUT_S = 30.0

__all__ = ["LaneVoice", "Scheduler", "SchedulerStats"]


@dataclass(frozen=True, slots=True)
class SchedulerStats:
    """How far behind recognition is."""

    waiting_finals: int
    waiting_partials: int
    lag_ms: int
    """Age of the oldest final that waits."""
    failed: int
    """Finals that the engine could not take."""


@dataclass(frozen=True, slots=True)
class _Job:
    window: SpeechWindow
    voice: LaneVoice
    deliver: Deliver
    since_s: float


class Scheduler:
    """Owns the recognition thread. ``submit`` may be called from any thread; captions are delivered on the loop."""

    def __init__(self, engine: AsrEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._finals: deque[_Job] = deque()
        self._partials: OrderedDict[str, _Job] = OrderedDict()
        self._revs: dict[str, int] = {}
        self._open: dict[str, int] = {}
        """Finals of each session that are not delivered yet."""
        self._forgotten: set[str] = set()
        self._failed = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: dict[str, list[asyncio.Future[None]]] = {}

    def start(self) -> None:
        """Start the thread. On the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="quietnote-asr", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish the decode under way and stop; what waits stays in the spools. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, CLOSE_TIMEOUT_S)

    # -- in ------------------------------------------------------------------------------------------------------------

    def submit(self, window: SpeechWindow, voice: LaneVoice, deliver: Deliver) -> None:
        """Queue a window. A final is always delivered, with empty text when nothing was said."""
        job = _Job(window, voice, deliver, self._clock.monotonic_s())
        with self._wake:
            if voice.session_id in self._forgotten:
                return
            if window.final:
                self._partials.pop(window.window_id, None)
                self._finals.append(job)
                self._open[voice.session_id] = self._open.get(voice.session_id, 0) + 1
            else:
                self._partials[window.window_id] = job
            self._wake.notify()

    async def drain(self, session_id: str, timeout_s: float) -> bool:
        """Wait until every final of the session is delivered; False when that takes too long."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._wake:
            if not self._open.get(session_id):
                return True
            self._idle.setdefault(session_id, []).append(done)
        try:
            await asyncio.wait_for(done, timeout_s)
        except TimeoutError:
            return False
        return True

    def forget(self, session_id: str) -> None:
        """Drop all that waits of a session; nothing of it is delivered any more, not even what is being decoded."""
        with self._wake:
            self._forgotten.add(session_id)
            self._finals = deque(job for job in self._finals if job.voice.session_id != session_id)
            for window_id in [w for w, job in self._partials.items() if job.voice.session_id == session_id]:
                del self._partials[window_id]
            self._open.pop(session_id, None)
        self._tell_idle(session_id)

    @property
    def stats(self) -> SchedulerStats:
        """How far behind recognition is right now."""
        with self._wake:
            oldest = self._finals[0].since_s if self._finals else None
            lag_ms = int((self._clock.monotonic_s() - oldest) * 1000) if oldest is not None else 0
            return SchedulerStats(len(self._finals), len(self._partials), lag_ms, self._failed)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            heard = self._recognise(job)
            if heard is not None:
                self._hand_over(job, heard)

    def _next(self) -> _Job | None:
        with self._wake:
            while not self._stopping and not self._finals and not self._partials:
                self._wake.wait()
            if self._stopping:
                return None
            return self._finals.popleft() if self._finals else self._partials.popitem(last=False)[1]

    def _recognise(self, job: _Job) -> Recognition | None:
        final = job.window.final
        for attempt in range(TRIES if final else 1):
            try:
                return self._engine.recognise(job.window.pcm, language=job.voice.language, word_times=final)
            except Exception as error:  # noqa: BLE001  an engine may raise anything; the call goes on
                log.warning(
                    "decode_failed", session_id=job.voice.session_id, attempt=attempt, error=type(error).__name__
                )
        if not final:
            return None
        self._failed += 1
        return Recognition("", (), 0.0, 1.0, 0.0, job.voice.language)

    def _hand_over(self, job: _Job, heard: Recognition) -> None:
        window, session_id = job.window, job.voice.session_id
        with self._wake:
            if session_id in self._forgotten:
                return
            rev = self._revs.get(window.window_id, 0) + 1
            if window.final:
                self._revs.pop(window.window_id, None)
            else:
                self._revs[window.window_id] = rev
        segment = segment_of(window, job.voice, heard, rev)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._deliver, job, segment)

    def _deliver(self, job: _Job, segment: Segment) -> None:
        session_id = job.voice.session_id
        with self._wake:
            if session_id in self._forgotten:
                return
        job.deliver(segment)
        if not segment.final:
            return
        with self._wake:
            left = self._open.get(session_id, 1) - 1
            self._open[session_id] = left
            if left <= 0:
                self._open.pop(session_id, None)
        if left <= 0:
            self._tell_idle(session_id)

    def _tell_idle(self, session_id: str) -> None:
        for waiting in self._idle.pop(session_id, []):
            if not waiting.done():
                waiting.set_result(None)
