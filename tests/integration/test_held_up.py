"""A network that holds up what was said during a pause, and hands it over after Resume: it is still not captured."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from bot.demo.packets import RTP_RATE_HZ
from bot.demo.peer import Peer
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world
from tests.integration.rough_path import rough_path

BEFORE, CODE_WORD, AFTER = (4_000, 8_300), (36_250, 40_250), (48_600, 53_400)
"""Turns of the client in the bundled dialogue, in milliseconds."""
TIMES = 3
"""How much faster than it was spoken the backlog comes."""


def finals(peer: Peer, since_ms: int) -> list[Any]:
    """The finals a page has heard of what was said since then."""
    captions = [heard.message for heard in peer.heard if heard.message["type"] == "caption"]
    return [caption for caption in captions if caption["final"] and caption["start_ms"] >= since_ms]


async def test_what_was_said_during_a_pause_and_comes_after_it_is_not_captured(tmp_path: Path) -> None:
    async with world(tmp_path / "data") as place:
        spoken = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, BEFORE, CODE_WORD, AFTER)}
        first, code = (len(place.cut(CLIENT, part).sound) / RTP_RATE_HZ for part in (BEFORE, CODE_WORD))
        async with two_people(place, spoken) as call:
            await call.begin()
            async with rough_path(call.client) as path:
                path.backlog_speed = TIMES
                began = call.play()

                async def until(seconds: float) -> None:
                    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))

                await until(first - 0.2)
                paused = await call.clinician.control("pause")
                path.shut()
                await until(first + code)
                resumed = await call.clinician.control("resume")
                assert path.held > 50, "all of it is still under way"
                path.open()
                after = resumed["effective_at_ms"]
                await call.clinician.until(lambda: bool(finals(call.clinician, after)), "what was said after it", 40)
                await call.clinician.control("finish")
                session = await place.until(call.session_id, "audio", "erased")
        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
    said = " ".join(segment["text"] for segment in transcript["segments"]).lower()
    captions = " ".join(h.message["text"] for h in call.clinician.heard if h.message["type"] == "caption").lower()
    for secret in ("pomegranate", "secret", "garden"):
        assert secret not in said + captions
    assert "slept" in said
    assert "tense" in said
    assert paused["effective_at_ms"] < resumed["effective_at_ms"]
    for lane in session["lanes"]:
        book = lane["ledger"]
        assert book["elapsed"] == sum(
            book[part] for part in ("off", "absent", "captured", "paused", "withheld", "lost")
        )
