"""The demo's call through the whole service: a shorter cut of the bundled conversation, around its pause."""

from __future__ import annotations

import dataclasses
import wave
from pathlib import Path

import pytest

from bot.demo import command
from bot.demo.call import DemoEvent, Scene, run_demo
from bot.demo.dialogue import Dialogue, load
from bot.demo.packets import RTP_RATE_HZ, read_sound
from bot.server import serving
from bot.settings import Settings

FIRST_TURN, LAST_TURN = 8, 13


def shorter(folder: Path) -> Dialogue:
    """The turns before and after the pause, with what is said in it."""
    whole = load()
    turns = whole.turns[FIRST_TURN : LAST_TURN + 1]
    from_ms, to_ms = turns[0].start_ms - 500, turns[-1].end_ms + 800
    for lane in whole.lanes:
        sound = read_sound(whole.path(lane))[from_ms * 48 : to_ms * 48]
        with wave.open(str(folder / f"{lane}.wav"), "wb") as out:
            out.setparams((1, 2, RTP_RATE_HZ, 0, "NONE", ""))
            out.writeframes(sound.tobytes())
    moved = [dataclasses.replace(t, start_ms=t.start_ms - from_ms, end_ms=t.end_ms - from_ms) for t in turns]
    return dataclasses.replace(
        whole,
        folder=folder,
        lanes={lane: f"{lane}.wav" for lane in whole.lanes},
        duration_ms=to_ms - from_ms,
        pause_at_ms=whole.pause_at_ms - from_ms,
        resume_at_ms=whole.resume_at_ms - from_ms,
        turns=tuple(moved),
    )


@pytest.mark.timeout(240)
async def test_a_whole_call_and_what_is_left_of_it(tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    dialogue = shorter(sounds)
    events: list[DemoEvent] = []
    settings = Settings(data_dir=tmp_path / "data", dev=True, port=0)
    async with serving(settings) as (_, url):
        result = await run_demo(url, command.DEV_KEY, events.append, dialogue=dialogue, searched=settings.data_dir)

    assert not result.codeword_leaked
    assert result.ledger_closed
    assert result.wer <= 0.15
    assert result.captions_final >= 3
    assert result.transcript_segments == result.captions_final
    assert result.note_sentences > 0
    assert result.evidence_missing == 0
    assert result.inbox_items == 1
    assert result.audio_state == "erased"
    assert result.receipt_valid

    rosters = [event.data["bot"] for event in events if event.scene is Scene.ROSTER]
    assert rosters[0] is None
    assert any(rosters)
    assert rosters[-1] is None
    states = [event.data["capture"] for event in events if event.scene is Scene.STATE]
    assert [s for s, before in zip(states, ["", *states], strict=False) if s != before] == [
        "off", "consent_pending", "capturing", "paused", "capturing", "finished",
    ]  # fmt: skip
