"""kill -9 of the service at random moments of scripted calls: what is promised of each is checked at the call's end.

``QUIETNOTE_KILL_SEED`` chooses other moments. The figures of a run are printed (``pytest -rA``, or ``-s``).
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.integration.kill_checks import Told, check
from tests.integration.kill_story import SHORT, WHOLE, Parts, Story
from tests.integration.kill_world import Service, room

SEED = int(os.environ.get("QUIETNOTE_KILL_SEED", "20260728"))
THREE = ("window", "paused", "finishing")
MIDDLE = ("talking", "talking", "window", "window", "paused", "paused", "pausing", "resuming")
CALLS = 5


async def told_by(folder: Path, kinds: tuple[str, ...], seed: int, parts: Parts = WHOLE) -> Told:
    """Play a call in which the service is killed so, and check all that is promised."""
    service = Service(folder)
    async with room(service) as here:
        story = await Story.of(here, random.Random(seed), parts)
        await story.play(kinds)
        told = await check(story)
    print(json.dumps({"seed": seed, **told}))
    return told


@pytest.mark.timeout(300)
async def test_three_kills(tmp_path: Path) -> None:
    told = await told_by(tmp_path, THREE, SEED, SHORT)
    assert told["kills"] == len(THREE)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("call", range(CALLS))
async def test_ten_kills_a_call(tmp_path: Path, call: int) -> None:
    rng = random.Random(f"{SEED}:{call}")
    before, talked = ((), 5) if call % 2 else (("asking",), 4)
    middle = [*rng.sample(MIDDLE, talked), "twice"]
    rng.shuffle(middle)
    told = await told_by(tmp_path, (*before, *middle, "finishing", "starting", "after"), rng.randrange(1 << 30))
    assert told["kills"] == 10
