"""``bench aftercall``: a short pass through all of it, and the whole claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.bench import aftercall
from bot.bench.aftercall import NotEmpty, Played
from bot.bench.forensics import said_in

GOALS_S = {"end_to_transcript_s": 2.0, "end_to_draft_s": 5.0}
ERASURE_P95_S = 2.0
LAG_S = 1.0


async def test_a_minute_of_call_and_what_is_left_of_it(tmp_path: Path) -> None:
    lines: list[str] = []
    figures = await aftercall.run(0.75, keep=tmp_path / "kept", progress=lines.append)
    assert (figures["minutes"], figures["sessions"]) == (0.75, 1)
    assert (figures["forensic_hits"], figures["forensic"]["unreadable"]) == (0, 0)
    assert figures["forensic"]["control_missed"] == []
    assert figures["forensic"]["looked_for"]["samples"] > 2 * 45 * 16_000
    assert figures["windows"] > 5
    assert figures["ledger_closed"]
    assert 0 < figures["end_to_transcript_s"] <= figures["end_to_erased_s"] <= figures["end_to_draft_s"]
    assert 0 <= figures["erasure_delay_s"]["p50"] <= figures["erasure_delay_s"]["p95"]
    assert figures["audio_half_life_s"] > 0
    assert figures["speed"] > 0
    assert lines
    assert (tmp_path / "kept" / "data" / "quietnote.db").is_file(), "it is left for a search from outside"
    assert (tmp_path / "kept" / "logs" / "quietnote.log").read_text()
    assert said_in(tmp_path / "kept", "breathing exercise", "six hours") == []
    with pytest.raises(NotEmpty):
        await aftercall.run(0.75, keep=tmp_path / "kept", progress=lines.append)


def test_several_are_told_as_percentiles() -> None:
    played = [Played(minutes, minutes / 10, minutes / 5, 1.0, 60.0, 300, True) for minutes in (5.0, 60.0, 120.0)]
    figures = aftercall._timings(played)
    assert (figures["minutes"], figures["sessions"]) == ([5.0, 60.0, 120.0], 3)
    assert figures["end_to_draft_s"] == {"p50": 12.0, "p95": 22.8}
    assert figures["speed"] == round(185 / 3, 1)
    assert (figures["longest_lag_s"], figures["ledger_closed"]) == (0.3, True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_an_hour() -> None:
    figures = await aftercall.run(60.0)
    assert figures["forensic_hits"] == 0
    for figure, goal_s in GOALS_S.items():
        assert figures[figure] <= goal_s, figures
    assert figures["erasure_delay_s"]["p95"] <= ERASURE_P95_S, figures
    assert figures["longest_lag_s"] < LAG_S, figures
    assert figures["ledger_closed"]
