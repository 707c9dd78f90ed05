"""``bench pause``: a short pass through each half, what it says of a gate that leaks, and the whole claim."""

from __future__ import annotations

import numpy as np
import pytest

from bot.bench import pause
from bot.bench.pause_talk import PEOPLE, Talk, talk_of
from bot.bench.taps import Place
from bot.demo.dialogue import load
from bot.events import GateState
from bot.media import windows
from bot.media.lane import Lane


@pytest.fixture(scope="module")
def talk() -> Talk:
    """Words that share their turns: near enough without the offline pass."""
    return talk_of(load(), dict.fromkeys(PEOPLE, ()))


async def virtual(talk: Talk, n: int, seed: int = 1) -> pause.Found:
    return await pause.in_virtual_time(n, talk, np.random.default_rng(seed), progress=lambda _: None)


async def test_nothing_is_kept_after_forty_pauses_and_no_word_is_lost(talk: Talk) -> None:
    found = await virtual(talk, 40)
    assert found.pauses == 40
    assert not found.after_ack
    assert found.closed
    assert found.lost.words > 60
    assert (found.lost.before_pause, found.lost.after_resume) == (0, 0)


async def test_a_gate_that_shuts_late_is_found_out_by_place_and_by_content(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Lane.set_state

    def late(self: Lane, state: GateState, at_sample: int) -> int:
        real(self, state, at_sample + 160 * (state is GateState.PAUSED))
        return at_sample

    monkeypatch.setattr(Lane, "set_state", late)
    found = await virtual(talk, 12)
    assert {Place.WINDOWS, Place.VAD, Place.SPOOL, Place.QUEUE} <= set(found.after_ack)
    assert found.after_ack[Place.SPOOL] >= 12 * 160


async def test_windows_that_leave_words_out_are_found_out(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MIN_SPEECH_FRAMES", 60)
    found = await virtual(talk, 12)
    assert found.lost.before_pause
    assert found.lost.after_resume


async def test_a_call_with_a_pause(talk: Talk) -> None:
    lines: list[str] = []
    figures = pause.report(await pause.in_calls(1, talk, np.random.default_rng(3), progress=lines.append))
    assert (figures["n"], figures["samples_after_ack"], figures["codeword_leaked"]) == (1, 0, False)
    assert figures["ack_ms"]["p50"] > 0
    assert figures["click_to_effective_ms"]["p50"] >= 0
    assert figures["n_long"] == 1
    assert figures["resume_to_first_sample_ms"]["p50"] > 0
    assert figures["ledger_closed"]
    assert lines


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_pauses() -> None:
    figures = await pause.run(1000, progress=lambda _: None)
    assert (figures["n"], figures["real"]) == (1000, 50)
    assert (figures["samples_after_ack"], figures["codeword_leaked"]) == (0, False)
    assert (figures["words_lost_before_pause"], figures["words_lost_after_resume"]) == (0, 0)
    assert figures["click_to_effective_ms"]["p99"] <= 100
    assert figures["n_long"] >= 5
    assert figures["ledger_closed"]
