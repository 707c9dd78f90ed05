"""Finals of all lanes, on one clock, with the gaps."""

from __future__ import annotations

from collections.abc import Iterable

from bot.events import Gap, Segment, Transcript


def assemble(
    session_id: str, segments: Iterable[Segment], gaps: Iterable[Gap] = (), language: str = "en"
) -> Transcript:
    """The transcript: finals with words in the order they were spoken."""
    spoken = sorted((s for s in segments if s.final and s.text), key=lambda s: (s.start_ms, s.end_ms, s.segment_id))
    return Transcript(session_id, tuple(spoken), tuple(sorted(gaps, key=lambda g: (g.start_ms, g.end_ms))), language)
