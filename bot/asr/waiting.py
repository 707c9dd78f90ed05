"""Windows that wait for the engine, and whose turn it is.

Nothing here locks: the scheduler holds its lock around every call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from bot.asr.captions import LaneVoice
from bot.asr.engine import Recognition
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, Segment, SpeechWindow

MIN_NEW_SPEECH = 400 * SAMPLES_PER_MS
"""A partial is worth a decode when this much more was said."""


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
    ready: int = 0
    """Finals whose sound had been decoded while the speaker was silent, before it was known that they had ended."""
    set_aside: int = 0


@dataclass(slots=True)
class Session:
    """What is owed to one session."""

    session_id: str
    lanes: dict[str, Lane] = field(default_factory=dict)
    set_aside: int = 0
    dropped: bool = False
    waiters: list[asyncio.Future[bool]] = field(default_factory=list)

    @property
    def owed(self) -> int:
        """Finals of all lanes that are neither handed over nor set aside."""
        return sum(lane.owed for lane in self.lanes.values())


@dataclass(slots=True)
class Lane:
    """One lane's place in the queue, and what is known of its windows."""

    finals: deque[Job] = field(default_factory=deque)
    partial: Job | None = None
    turn: int = 0
    """When this lane was served last."""
    window_id: str = ""
    rev: int = 0
    partial_speech: int = 0
    """Speech in the last partial decoded of ``window_id``."""
    settled: tuple[str, int, Recognition] | None = None
    """Window, length in samples and words of the last window that was decoded while its speaker was silent."""
    held_at: int | None = None
    """Where the earliest window begins that was set aside."""
    owed: int = 0
    """Finals submitted and neither handed over nor set aside."""
    dropped: bool = False


@dataclass(slots=True)
class Job:
    """One window on its way through the engine."""

    session: Session
    lane: Lane
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
        """Length of its sound."""
        return len(self.window.pcm) / SAMPLE_RATE_HZ


class Waiting:
    """The queue: finals first, then windows whose speaker fell silent, then growing ones; lanes take turns."""

    def __init__(self, max_waiting_s: float) -> None:
        self.sessions: dict[str, Session] = {}
        self.running: Job | None = None
        self.seconds = 0.0
        """Sound in waiting finals."""
        self.partials_skipped = 0
        self._max_waiting_s = max_waiting_s
        self._turns = 0

    def lanes(self) -> Iterator[Lane]:
        """Every lane that is known."""
        for session in self.sessions.values():
            yield from session.lanes.values()

    # -- in ------------------------------------------------------------------------------------------------------------

    def place(self, session_id: str, lane_id: str) -> tuple[Session, Lane]:
        """The session and lane of these ids, made if they are new."""
        session = self.sessions.setdefault(session_id, Session(session_id))
        return session, session.lanes.setdefault(lane_id, Lane())

    def add_final(self, job: Job) -> bool:
        """Take a final; what waits or runs of its growing window is no longer wanted. False: there is no room."""
        lane, window_id = job.lane, job.window.window_id
        if lane.partial is not None and lane.partial.window.window_id == window_id:
            lane.partial = None
        running = self.running
        if running is not None and running.lane is lane and running.window.window_id == window_id:
            running.void = running.void or not running.window.final
        lane.owed += 1
        if self.seconds + job.seconds > self._max_waiting_s:
            return False
        lane.finals.append(job)
        self.seconds += job.seconds
        return True

    def add_growing(self, job: Job) -> None:
        """Take a growing window in place of the one that waits, if it holds something new."""
        lane, window = job.lane, job.window
        if lane.partial is not None:
            self.partials_skipped += 1
            lane.partial = None
        known = lane.partial_speech if lane.window_id == window.window_id else 0
        if not window.settled and window.speech_samples - known < MIN_NEW_SPEECH:
            self.partials_skipped += 1
            return
        lane.partial = job

    def again(self, job: Job) -> None:
        """Put a final back in front: its decode failed."""
        job.lane.finals.appendleft(job)
        self.seconds += job.seconds

    # -- out -----------------------------------------------------------------------------------------------------------

    def next_job(self, *, growing: bool) -> Job | None:
        """Whose turn it is; ``growing``: whether it may be a window that still grows."""
        job = self._next_final() or self._next_growing(lambda job: job.window.settled)
        if job is None and growing:
            job = self._next_growing(lambda _: True)
        if job is not None:
            self._turns += 1
            job.lane.turn = self._turns
        self.running = job
        return job

    def _next_final(self) -> Job | None:
        lane = min((lane for lane in self.lanes() if lane.finals), key=lambda lane: lane.turn, default=None)
        if lane is None:
            return None
        job = lane.finals.popleft()
        self.seconds -= job.seconds
        return job

    def _next_growing(self, wanted: Callable[[Job], bool]) -> Job | None:
        lanes = [lane for lane in self.lanes() if lane.partial is not None and wanted(lane.partial)]
        lane = min(lanes, key=lambda lane: lane.turn, default=None)
        if lane is None:
            return None
        job, lane.partial = lane.partial, None
        assert job is not None
        if lane.window_id != job.window.window_id:
            lane.window_id, lane.rev = job.window.window_id, 0
        lane.partial_speech = job.window.speech_samples
        return job

    # -- away ----------------------------------------------------------------------------------------------------------

    def drop_session(self, session_id: str) -> Session | None:
        """Forget a session with all its lanes."""
        session = self.sessions.pop(session_id, None)
        if session is not None:
            session.dropped = True
            for lane in session.lanes.values():
                self._drop(lane)
        return session

    def drop_lane(self, session_id: str, lane_id: str) -> Session | None:
        """Forget one lane. None: it is not known."""
        session = self.sessions.get(session_id)
        lane = session.lanes.pop(lane_id, None) if session is not None else None
        if lane is None:
            return None
        self._drop(lane)
        return session

    def _drop(self, lane: Lane) -> None:
        """Empty a lane for good; a decode that runs ends unheard."""
        self.seconds -= sum(job.seconds for job in lane.finals)
        lane.finals.clear()
        lane.partial = lane.settled = None
        lane.dropped = True
