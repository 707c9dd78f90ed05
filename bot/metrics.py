"""Counters for Prometheus: numbers of this process, never an id and never a word.

A label's name is one of a few, and its values come from closed sets (routes, states, slugs), so that no label can
carry health information and none can grow without bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

SAFE_LABELS = frozenset({"method", "route", "status", "kind", "state", "slug", "reason", "step", "result"})
"""Label names that may be used."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Bucket borders of durations."""


class Metrics:
    """All metrics of a process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self.counter("http_requests", "HTTP requests answered.", ("method", "route", "status"))
        self.request_seconds = self.histogram("http_request_seconds", "Time to answer.", ("method", "route"))
        self.problems = self.counter("problems", "Problems answered, by slug.", ("slug",))
        self.pages = self.gauge("pages", "Call pages connected now.")
        self.streams = self.gauge("event_streams", "Event streams open now.")
        self.outgoing_dropped = self.counter(
            "outgoing_dropped", "Messages to a slow page or stream that were left out.", ("kind",)
        )
        self.too_slow = self.counter("pages_closed_too_slow", "Pages and streams closed for falling behind.")
        self.logins = self.counter("logins", "Attempts to sign in.", ("result",))
        self.session_events = self.counter("session_events", "Changes of state, by the event's name.", ("kind",))

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A number that only rises."""
        return Counter(name, text, _checked(labels), namespace="quietnote", registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """A number that rises and falls."""
        return Gauge(name, text, _checked(labels), namespace="quietnote", registry=self.registry)

    def histogram(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """A distribution of seconds."""
        return Histogram(name, text, _checked(labels), namespace="quietnote", registry=self.registry, buckets=SECONDS)

    def observe(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for: the depth of a queue, a lag."""
        self.gauge(name, text).set_function(read)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


def _checked(labels: Sequence[str]) -> Sequence[str]:
    unknown = set(labels) - SAFE_LABELS
    if unknown:
        raise ValueError(f"not a label that may be used: {', '.join(sorted(unknown))}")
    return labels
