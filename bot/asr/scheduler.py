"""One engine, many lanes: which window is recognised next, on one owned thread.

- Finals come before partials, and lanes take turns, so that one lane's backlog delays no other's.
- A growing window has one place in the queue: its next revision replaces the one that waits, its final cancels it.
- When a speaker falls silent, the window is decoded at once, as if it had ended. If nothing more is said it has, and
  its final is there when the silence is long enough; otherwise that decode was a partial like any other.
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
from collections import OrderedDict
from collections.abc import Callable

import structlog

from bot.asr.captions import LaneVoice, segment_of
from bot.asr.engine import AsrEngine, Recognition
from bot.asr.hearing import hear
from bot.asr.load import BusyShare
from bot.asr.waiting import Job, SchedulerStats, Session, SetAside, SetAsideReason, Waiting
from bot.clock import Clock
from bot.events import Segment, SpeechWindow

__all__ = ["LaneVoice", "Scheduler", "SchedulerStats", "SetAside", "SetAsideReason"]

log = structlog.get_logger()

ATTEMPTS = 3
MAX_WAITING_S = 1800.0
"""Seconds of sound that may wait for recognition, all lanes together: 58 MB."""
PARTIAL_SHARE = 0.5
"""Share of the time that may go into partials: after one, the engine's thread rests from them as long as it took."""
FORGOTTEN = 10_000
"""Forgotten sessions that are remembered as such."""
CLOSE_TIMEOUT_S = 3.0
"""How long the end of the process waits for the decode that runs; its window is in the spool."""


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
        self._partial_share = partial_share
        self._changed = threading.Condition()
        self._waiting = Waiting(max_waiting_s)
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._partials_from_s = 0.0
        self._busy = BusyShare()
        self._counts = dict.fromkeys(("finals", "partials", "retried", "ready", "set_aside"), 0)
        self._closing = False
        self._released = False
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
            sessions = list(self._waiting.sessions.values())
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
            session, lane = self._waiting.place(voice.session_id, voice.lane_id)
            job = Job(session, lane, window, voice, deliver, on_set_aside, self._clock.monotonic_s())
            if not window.final:
                self._waiting.add_growing(job)
            elif not self._waiting.add_final(job):
                self._give_up(job, SetAsideReason.OVERLOADED)
            self._changed.notify_all()
        return True

    # -- out of it -----------------------------------------------------------------------------------------------------

    def forget(self, session_id: str) -> None:
        """Nothing of this session is delivered any more, and what waits of it is dropped, until :meth:`reopen`."""
        with self._changed:
            self._forgotten[session_id] = None
            self._forgotten.move_to_end(session_id)
            while len(self._forgotten) > FORGOTTEN:
                self._forgotten.popitem(last=False)
            session = self._waiting.drop_session(session_id)
        if session is not None:
            self._on_loop(_settle, session, False)

    def forget_lane(self, session_id: str, lane_id: str) -> None:
        """Drop what waits of one lane, and the result of a decode that runs. Windows submitted later are taken."""
        with self._changed:
            session = self._waiting.drop_lane(session_id, lane_id)
            if session is None:
                return
            settled = session.owed == 0
        if settled:
            self._on_loop(_settle, session, session.set_aside == 0)

    def reopen(self, session_id: str) -> None:
        """Take windows of a forgotten session again: for the pass after the call, over what the spool still holds."""
        with self._changed:
            self._forgotten.pop(session_id, None)

    async def drain(self, session_id: str, timeout_s: float) -> bool:
        """Wait until every final submitted so far was handed over. False: not in time, or some were set aside."""
        with self._changed:
            session = self._waiting.sessions.get(session_id)
            if session is None:
                return True
            if session.owed == 0:
                return session.set_aside == 0
            if self._released:
                return False
            waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            session.waiters.append(waiter)
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return False

    def release(self) -> None:
        """Answer who waits in :meth:`drain`, or will, with False: the process ends, what is left is in the spools."""
        with self._changed:
            self._released = True
            sessions = list(self._waiting.sessions.values())
        for session in sessions:
            self._on_loop(_settle, session, False)

    def lag_ms(self, session_id: str) -> int:
        """Age of a session's oldest final that is not yet in words, the one being decoded included. 0: none."""
        with self._changed:
            session, running = self._waiting.sessions.get(session_id), self._waiting.running
            oldest = [lane.finals[0].since_s for lane in session.lanes.values() if lane.finals] if session else []
            if running is not None and running.session is session and running.window.final:
                oldest.append(running.since_s)
        return round((self._clock.monotonic_s() - min(oldest)) * 1000) if oldest else 0

    @property
    def decode_s(self) -> float:
        """How long the window that is being decoded has been; 0: none is."""
        return self._busy.running_s(self._clock.monotonic_s())

    @property
    def stats(self) -> SchedulerStats:
        """The figures of this moment."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            waiting = self._waiting
            lanes = list(waiting.lanes())
            oldest = [lane.finals[0].since_s for lane in lanes if lane.finals]
            if waiting.running is not None and waiting.running.window.final:
                oldest.append(waiting.running.since_s)
            return SchedulerStats(
                waiting_finals=sum(len(lane.finals) for lane in lanes),
                waiting_partials=sum(lane.partial is not None for lane in lanes),
                lag_ms=round((now_s - min(oldest)) * 1000) if oldest else 0,
                busy_share=self._busy.share(now_s),
                waiting_s=round(max(0.0, waiting.seconds), 3),
                partials_skipped=waiting.partials_skipped,
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
                heard = self._recognised(job)
                segment = segment_of(job.window, job.voice, heard, *self._revision(job))
                if segment.final and heard.unheard_ms:
                    log.info(
                        "asr_speech_without_words", session_id=job.voice.session_id, lane_id=job.voice.lane_id,
                        window_id=job.window.window_id, ms=heard.unheard_ms,
                    )  # fmt: skip
            except Exception as error:  # noqa: BLE001 -- an engine's fault must not end recognition for every call
                failed = True
                log.error(  # no traceback: it may hold what was said
                    "asr_decode_failed", session_id=job.voice.session_id, lane_id=job.voice.lane_id,
                    window_id=job.window.window_id, error=type(error).__name__, attempt=job.attempts + 1,
                )  # fmt: skip
            ended_s = self._clock.monotonic_s()
            self._busy.end(ended_s)
            self._done(job, segment, failed=failed, took_s=ended_s - began_s, now_s=ended_s)

    def _next(self) -> Job | None:
        """The next window to decode, waiting for one. None: the end."""
        with self._changed:
            while not self._closing:
                rest_s = self._partials_from_s - self._clock.monotonic_s()
                job = self._waiting.next_job(growing=rest_s <= 0)
                if job is not None:
                    return job
                resting = any(lane.partial is not None for lane in self._waiting.lanes())
                self._changed.wait(max(0.005, rest_s) if resting else None)
            return None

    def _recognised(self, job: Job) -> Recognition:
        """Decode the window, unless the same sound was decoded when its speaker fell silent."""
        window, lane = job.window, job.lane
        this = (window.window_id, len(window.pcm))
        with self._changed:
            before = lane.settled
            if window.final:
                lane.settled = None
                if before is not None and before[:2] == this:
                    self._counts["ready"] += 1
                    return before[2]
        heard = hear(self._engine, window, job.voice.language)
        with self._changed:
            self._counts["retried"] += heard.retried
            if window.settled and not lane.dropped:
                lane.settled = (*this, heard)
        return heard

    def _revision(self, job: Job) -> tuple[int, int]:
        """The segment's revision, and up to where its lane's audio is in words: never past a window set aside."""
        lane, window = job.lane, job.window
        with self._changed:
            if lane.window_id != window.window_id:
                lane.window_id, lane.rev, lane.partial_speech = window.window_id, 0, 0
            lane.rev += 1
            held_at = lane.held_at
            return lane.rev, window.end_sample if held_at is None else min(held_at, window.end_sample)

    def _done(self, job: Job, segment: Segment | None, *, failed: bool, took_s: float, now_s: float) -> None:
        with self._changed:
            self._waiting.running = None
            if job.window.final:
                job.attempts += 1
                if failed:
                    if job.lane.dropped:
                        return
                    if job.attempts < self._attempts:
                        self._waiting.again(job)
                    else:
                        self._give_up(job, SetAsideReason.ENGINE)
                    return
                self._counts["finals"] += 1
            else:
                if not job.window.settled:
                    self._partials_from_s = now_s + took_s * (1 / self._partial_share - 1)
                self._counts["partials"] += 1
        if segment is not None and (segment.final or segment.text):
            self._on_loop(self._hand_over, job, segment)

    def _give_up(self, job: Job, reason: SetAsideReason) -> None:
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

    def _hand_over(self, job: Job, outcome: Segment | SetAside) -> None:
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


def _settle(session: Session, done: bool) -> None:
    """Answer those who wait for a session's last words. On the event loop."""
    waiters, session.waiters = session.waiters, []
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(done)
