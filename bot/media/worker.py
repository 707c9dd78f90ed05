"""The one media thread of a process: decoding, gates, VAD and sealing happen here, one call at a time, in order."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

QUEUE_LIMIT = 8192
"""About a minute of packets of ten calls: a thread that is so far behind will not catch up."""

Job = tuple[Callable[..., object], tuple[object, ...]]


class MediaThread:
    """An owned thread with a bounded queue in and timers of its own.

    Overload policy: a full queue refuses new work, and ``post`` says so. A refused packet shows up as a gap in the
    lane's sequence numbers, so what it held is counted as lost in the ledger.
    """

    def __init__(self, *, limit: int = QUEUE_LIMIT) -> None:
        self._queue: queue.Queue[Job | None] = queue.Queue(maxsize=limit)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._since_s: float | None = None
        self.refused = 0
        """Calls that a full queue refused."""
        self.faults = 0
        """Calls that raised."""

    def start(self) -> None:
        """Begin to work. May be called once."""
        if self._thread is not None:
            raise RuntimeError("a media thread is started once")
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)
        self._thread.start()

    def post(self, fn: Callable[..., object], *args: object) -> bool:
        """Have ``fn(*args)`` called on the media thread, after all that was posted before. False: full or closed."""
        if self._closed:
            return False
        try:
            self._queue.put_nowait((fn, args))
        except queue.Full:
            self.refused += 1
            return False
        return True

    def later(self, delay_s: float, fn: Callable[[], None]) -> None:
        """Have ``fn`` called after ``delay_s``. Only from the media thread itself."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), fn))

    @property
    def depth(self) -> int:
        """Calls that wait."""
        return self._queue.qsize()

    @property
    def running_s(self) -> float:
        """How long the call that is being carried out has been; 0: none is."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def close(self, timeout_s: float = 2.0) -> None:
        """Work off what was posted, then end the thread. Idempotent; timers still pending are dropped."""
        thread, self._thread = self._thread, None
        self._closed = True
        if thread is None:
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            log.warning("media_thread_stuck", depth=self.depth)
            return
        thread.join(timeout_s)
        if thread.is_alive():
            log.warning("media_thread_stuck", depth=self.depth)

    def _run(self) -> None:
        while True:
            try:
                job = self._queue.get(timeout=self._wait_s())
            except queue.Empty:
                self._run_due_timers()
                continue
            if job is None:
                return
            self._call(job[0], job[1])
            self._run_due_timers()

    def _wait_s(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_due_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._call(heapq.heappop(self._timers)[2], ())

    def _call(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        self._since_s = time.monotonic()
        try:
            fn(*args)
        except Exception as error:  # noqa: BLE001 -- one lane's fault must not end every call of the process
            self.faults += 1
            # no traceback: it may hold what was said
            log.error("media_call_failed", fn=getattr(fn, "__qualname__", ""), error=type(error).__name__)
        finally:
            self._since_s = None
