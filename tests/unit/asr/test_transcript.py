from __future__ import annotations

from dataclasses import replace

from bot.asr.captions import segment_of
from bot.asr.transcript import assemble
from bot.events import Gap, GapReason, PauseReason
from tests.unit.asr.fakes import SECOND, heard, voice, window


def test_finals_of_all_lanes_in_the_order_they_were_spoken() -> None:
    late = segment_of(window("w1", start=5 * SECOND), voice(lane="a"), heard("late"), 1)
    early = segment_of(window("w2", start=SECOND), voice(lane="b"), heard("early"), 1)
    silent = segment_of(window("w3", start=2 * SECOND), voice(lane="b"), heard(""), 1)
    partial = segment_of(window("w4", final=False), voice(lane="b"), heard("part"), 1)
    again = replace(late, rev=2)
    assert assemble("s", [late, silent, partial, early, again]).segments == (early, again)


def test_gaps_of_one_kind_that_touch_are_one() -> None:
    paused = (PauseReason.CLINICIAN,)
    gaps = [
        Gap(2000, 3000, GapReason.PAUSED, None, paused),
        Gap(1000, 2000, GapReason.PAUSED, None, paused),
        Gap(2000, 2500, GapReason.LOST, "p"),
        Gap(2500, 2500, GapReason.LOST, "p"),
        Gap(2900, 4000, GapReason.PAUSED, None, (PauseReason.CONSENT,)),
    ]
    assert assemble("s", [], gaps).gaps == (
        Gap(1000, 3000, GapReason.PAUSED, None, paused),
        Gap(2000, 2500, GapReason.LOST, "p"),
        Gap(2900, 4000, GapReason.PAUSED, None, (PauseReason.CONSENT,)),
    )
