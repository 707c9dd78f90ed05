"""``bench start``: as many starts as the claim is made of."""

from __future__ import annotations

from typing import Any

import pytest

from bot.bench import start


def looks_right(figures: dict[str, Any], starts: int) -> None:
    assert figures["starts"] == starts
    assert 0 < figures["click_to_first_sample_ms"]["p50"] <= figures["click_to_first_sample_ms"]["p95"]
    assert figures["click_to_recording_shown_ms"]["p50"] >= figures["click_to_first_sample_ms"]["p50"]
    assert figures["words_lost_after_start"] == 0
    assert figures["words_lost_before_recording_shown"] <= figures["words_before_recording_shown"]
    assert figures["words_heard_after_shown"] >= 0.7
    assert figures["ledger_closed"]


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_twenty_starts() -> None:
    lines: list[str] = []
    figures = await start.run(20, progress=lines.append)
    looks_right(figures, 20)
    assert any("start 20 of 20" in line for line in lines)
    assert figures["click_to_first_sample_ms"]["p95"] <= 1000
