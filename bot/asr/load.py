"""How busy the engine is."""

from __future__ import annotations

import threading
from collections import deque

SPAN_S = 10.0


class BusyShare:
    """Share of the last :data:`SPAN_S` seconds spent between :meth:`begin` and :meth:`end`. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: deque[tuple[float, float]] = deque()
        self._since_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Work begins."""
        with self._lock:
            self._since_s = now_s

    def end(self, now_s: float) -> None:
        """Work ends."""
        with self._lock:
            if self._since_s is not None:
                self._spans.append((self._since_s, now_s))
            self._since_s = None
            self._trim(now_s)

    def running_s(self, now_s: float) -> float:
        """How long the work that goes on has been going on; 0: none does."""
        with self._lock:
            return 0.0 if self._since_s is None else now_s - self._since_s

    def share(self, now_s: float) -> float:
        """The share, 0 to 1; work that still goes on counts."""
        with self._lock:
            self._trim(now_s)
            spans = list(self._spans)
            if self._since_s is not None:
                spans.append((self._since_s, now_s))
        busy_s = sum(min(end, now_s) - max(start, now_s - SPAN_S) for start, end in spans)
        return min(1.0, max(0.0, busy_s / SPAN_S))

    def _trim(self, now_s: float) -> None:
        while self._spans and self._spans[0][1] <= now_s - SPAN_S:
            self._spans.popleft()
