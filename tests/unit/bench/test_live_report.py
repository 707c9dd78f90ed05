"""From what the participants saw to the printed figures."""

from __future__ import annotations

from typing import Any

import pytest

from bot.bench.live import Heard, Played, report
from bot.bench.service import Usage
from bot.bench.wer import TimedWord, Turn

LEDGER = {
    "elapsed": 320_000, "off": 160, "absent": 8_000, "captured": 311_680, "paused": 0, "withheld": 0, "lost": 160,
    "speech": 100_000, "silence": 211_680,
}  # fmt: skip
ZERO_S = 1000.0
ASKED = {"doctor": {"ptime_ms": 20, "dtx": False}}
START_S = 1002.0


def caption(who: str, start_ms: int, end_ms: int, text: str, at_s: float, first_s: float | None) -> dict[str, Any]:
    return {
        "participant_id": who, "start_ms": start_ms, "end_ms": end_ms, "text": text, "at_s": at_s, "first_s": first_s,
    }  # fmt: skip


@pytest.fixture
def heard() -> Heard:
    lines = {
        "ready": {"pressed_s": 999.9, "opened_ms": 10.0, "participants": {"doctor": "c1", "patient": "p1"}},
        "playing": {"starts_s": {"doctor": START_S, "patient": START_S}, "asked": ASKED},
        "captions": {
            "clock_zero_s": ZERO_S,
            "captions": [
                caption("c1", 2900, 4100, "How are you?", START_S + 2.9, START_S + 1.9),
                caption("p1", 5000, 5600, "Fine.", START_S + 4.5, None),
            ],
        },
    }
    return Heard(lines, {"lanes": [{"ledger": LEDGER}, {"ledger": LEDGER}]})


def test_captions_are_put_on_the_clock_of_the_source_lanes(heard: Heard) -> None:
    first, second = heard.captions
    assert (first.role, first.start_ms, first.end_ms) == ("doctor", 900, 2100)
    assert first.final_at_ms == pytest.approx(2900)
    assert first.first_at_ms == pytest.approx(1900)
    assert (second.role, second.first_at_ms) == ("patient", None)
    assert heard.last_final_s == START_S + 4.5
    # the call's clock began 100 ms after Start was pressed, the first frame came 10 + 500 ms later
    assert heard.start_to_first_frame_ms == pytest.approx(610)


def test_the_figures(heard: Heard) -> None:
    turns = [Turn("doctor", "How are you?", 1000, 2000), Turn("patient", "Fine, thanks.", 3000, 3600)]
    offline = {
        "doctor": [TimedWord("how", 1000, 1300), TimedWord("are", 1300, 1500), TimedWord("you", 1500, 2000)],
        "patient": [TimedWord("fine", 3000, 3500), TimedWord("thanks", 3500, 3600)],
    }
    first, last = Usage(START_S, 10.0, 1.0, 300.0), Usage(START_S + 4.5, 12.0, 1.1, 310.0)
    figures = report(Played([heard], first, last, 312.4), turns, offline, 10)
    assert figures == {
        "wer": {"doctor": 0.0, "patient": 0.5, "all": 0.2},
        "wer_offline": {"doctor": 0.0, "patient": 0.0, "all": 0.0},
        "final_latency_ms": {"p50": 900, "p95": 1000},
        "first_partial_ms": {"p50": 900},
        "start_to_first_frame_ms": 610,
        "cpu_s_per_call_s": 0.2,
        "valkey_cpu_s_per_call_s": 0.01,
        "rss_mb": 312,
        "ledger_closed": True,
        "segments": 2,
        "dropped_ms": 20,
        "captions_unaligned": 0,
        "asked": ASKED,
    }
