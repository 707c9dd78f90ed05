"""A stretch that the recogniser fails on: it is said, its audio is kept, and its words come after the call, once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.asr.whisper import WhisperEngine
from tests.integration.call_world import CLIENT, CLINICIAN, World, two_people, world

SAID = [(4_000, 11_900), (15_500, 18_900)]
"""Two stretches of the client's lane, in ms: a sentence and the silence after it, so that no window holds both."""
BEGINS_SAMPLES = 4_000
"""So much of a window's beginning is like no other's."""


class Failing:
    """The real recogniser, which cannot do one window: the first that is tried as a final, however often and long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.window: bytes | None = None
        self.mended = False
        real = WhisperEngine.recognise

        def recognise(engine: WhisperEngine, pcm: Any, *, language: str, word_times: bool = False) -> Any:
            begins = pcm[:BEGINS_SAMPLES].tobytes()
            if word_times and self.window is None:
                self.window = begins
            if word_times and not self.mended and begins == self.window:
                raise RuntimeError("a fault of the engine")
            return real(engine, pcm, language=language, word_times=word_times)

        monkeypatch.setattr(WhisperEngine, "recognise", recognise)


async def chunks(place: World) -> list[Path]:
    return await asyncio.to_thread(lambda: list((place.data_dir / "spool").rglob("*.chunk")))


async def test_what_could_not_be_recognised_is_said_kept_and_recognised_after_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch)
    async with world(tmp_path / "data") as place:
        client = place.cut(CLIENT, *SAID)
        async with two_people(place, {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: client}) as call:
            await call.begin()
            call.play()
            seen = call.clinician.heard

            def warned() -> list[Any]:
                return [h.message for h in seen if h.message["type"] == "warning"]

            await call.clinician.until(lambda: bool(warned()), "the warning", 30)
            assert [(w["slug"], w["participant_id"]) for w in warned()] == [("words-set-aside", CLIENT)]
            assert not [h for h in call.client.heard if h.message["type"] == "warning"], "for clinicians only"
            path = f"/v1/sessions/{call.session_id}"
            [told] = (await place.get(path))["warnings"]
            assert (told["slug"], told["participant_id"]) == ("words-set-aside", CLIENT)
            assert (await place.get("/v1/sessions"))["items"][0]["warnings"] == [told]
            await call.clinician.until(
                lambda: any(h.message.get("final") and "at work" in h.message["text"].lower() for h in seen),
                "later words",
                30,
            )
            assert await chunks(place), "the audio of it is kept, though later words are committed"
            events = await place.service.services.store.events(call.session_id)
            aside = [event.data for event in events if event.kind == "transcript.set_aside"]
            assert [(a["participant_id"], a["reason"]) for a in aside] == [(CLIENT, "engine")]
            assert aside[0]["from"] < aside[0]["to"]

            failing.mended = True
            await call.clinician.control("finish")
            session = await place.until(call.session_id, "note", "draft")
        assert session["transcript"] == "ready"
        assert session["warnings"] == [], "they were recognised after all"
        assert session["audio"] == "erased"
        assert not await chunks(place)
        transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
        said = " ".join(s["text"] for s in transcript["segments"] if s["role"] == "client").lower()
        assert said.count("six hours") == said.count("anxious at work") == 1
        ids = [s["id"] for s in transcript["segments"]]
        assert len(set(ids)) == len(ids)
        spans = sorted((s["start_ms"], s["end_ms"]) for s in transcript["segments"] if s["role"] == "client")
        assert all(one[1] <= other[0] + 100 for one, other in pairwise(spans)), spans
