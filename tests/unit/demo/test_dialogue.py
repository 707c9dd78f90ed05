"""The bundled conversation fits together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from bot.demo.dialogue import load
from bot.demo.packets import read_sound
from bot.demo.wer import normalise

SCRIPT = Path(__file__).parents[3] / "tools" / "dialogue.toml"


def test_lanes_are_on_one_clock_and_as_long_as_told() -> None:
    dialogue = load()
    assert 60_000 < dialogue.duration_ms < 90_000
    for lane in ("clinician", "client"):
        sound = read_sound(dialogue.path(lane)).astype(np.float64)
        assert abs(len(sound) / 48 - dialogue.duration_ms) < 40
        assert dialogue.path(lane).stat().st_size < 200_000
        for turn in dialogue.turns:
            heard = np.sqrt((sound[turn.start_ms * 48 : turn.end_ms * 48] ** 2).mean())
            assert (heard > 500) == (turn.lane == lane)


def test_turns_follow_each_other_and_the_pause_holds_what_is_off_the_record() -> None:
    dialogue = load()
    ends = [0, *(turn.end_ms for turn in dialogue.turns)]
    assert all(end <= turn.start_ms < turn.end_ms for end, turn in zip(ends, dialogue.turns, strict=False))
    for turn in dialogue.turns:
        inside = dialogue.pause_at_ms + 1000 < turn.start_ms and turn.end_ms < dialogue.resume_at_ms - 500
        assert turn.off_record == inside
        if not turn.off_record:
            assert turn.end_ms + 500 < dialogue.pause_at_ms or turn.start_ms > dialogue.resume_at_ms + 1000


def test_the_code_word_is_said_off_the_record_only() -> None:
    dialogue = load()
    assert dialogue.code_word in " ".join(normalise(" ".join(t.text for t in dialogue.turns if t.off_record)))
    for lane in ("clinician", "client"):
        assert dialogue.code_word not in normalise(dialogue.on_record(lane))


def test_the_assets_were_made_from_the_script() -> None:
    script = tomllib.loads(SCRIPT.read_text("utf-8"))
    assert [(t["lane"], t["text"]) for t in script["turns"]] == [(t.lane, t.text) for t in load().turns]
    assert script["licence"] == load().licence
