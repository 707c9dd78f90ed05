"""What the watch of a pause bench makes of sound that the engine is given."""

from __future__ import annotations

import numpy as np
import pytest

from bot.asr.captions import LaneVoice
from bot.bench.taps import Place, Watch
from bot.events import Role, SpeechWindow, WindowEnd


def test_a_part_of_a_window_counts_where_it_lies() -> None:
    watch = Watch()
    window = SpeechWindow("w", "a", 1000, np.zeros(500, np.int16), 0, WindowEnd.SILENCE)
    watch.window(window, LaneVoice("s", "a", "p", Role.CLIENT, "en"))
    watch.engine(window.pcm)
    watch.engine(window.pcm[200:300])
    assert watch.seen["a", Place.ENGINE] == [(1000, 1500), (1200, 1300)]
    with pytest.raises(LookupError):
        watch.engine(window.pcm[200:300].copy())
