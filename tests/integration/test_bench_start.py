"""``bench start``: one start by default, as many as the claim is made of under soak."""

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


@pytest.mark.timeout(240)
async def test_a_start_in_the_middle_of_a_conversation_is_measured() -> None:
    lines: list[str] = []
    looks_right(await start.run(1, progress=lines.append), 1)
    assert any("start 1 of 1" in line for line in lines)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_twenty_starts() -> None:
    figures = await start.run(20, progress=lambda _: None)
    looks_right(figures, 20)
    assert figures["click_to_first_sample_ms"]["p95"] <= 1000
