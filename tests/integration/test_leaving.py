"""A call that nobody looks after, over real WebRTC: what is wrong is said within seconds, and it ends by itself."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from bot.asr.whisper import WhisperEngine
from bot.control import faults, leaving
from bot.demo.packets import RTP_RATE_HZ, encode
from bot.demo.peer import BOT, Peer
from tests.integration.call_world import CLIENT, CLINICIAN, World, two_people, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = {
    "max_duration_min": 1,
    "alone_s": 5,
    "one_sided_s": 5,
    "clinician_absent_s": 1,
    "no_words_s": 3,
    "silent_microphone_s": 3,
}
SAYS = (4_000, 11_900)
"""A stretch of the client's lane, in ms, with more than three seconds of speech, and words to come after it."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("leaving")) as made:
        clinics = made.service.services.clinics
        _, config = await clinics.current("demo")
        capture = config.capture.model_copy(update=SHORT)
        await clinics.save(config.model_copy(update={"capture": capture}), author="test")
        yield made


def warned(peer: Peer) -> list[tuple[str, str | None, bool]]:
    """What this page was warned of, in order, each with whether it was over."""
    told = (heard.message for heard in peer.heard if heard.message["type"] == "warning")
    return [(one["slug"], one["participant_id"], one["over"]) for one in told]


def unplug(peer: Peer) -> None:
    """The microphone gives digital silence from now on, in as many packets as before."""
    track: Any = peer._links[BOT]._track
    silence = encode(np.zeros(RTP_RATE_HZ, np.int16), track._asked).packets[-1].payload
    track._payload = lambda _: silence


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until this is set, the recogniser runs and hears nothing."""
    mended = threading.Event()
    real = WhisperEngine.recognise

    def recognise(engine: WhisperEngine, pcm: Any, *, language: str, word_times: bool = False) -> Any:
        heard = real(engine, pcm, language=language, word_times=word_times)
        return heard if mended.is_set() else replace(heard, text="", words=())

    monkeypatch.setattr(WhisperEngine, "recognise", recognise)
    return mended


async def test_what_is_wrong_is_said_and_the_longest_time_ends_it(
    place: World, monkeypatch: pytest.MonkeyPatch, mended: threading.Event
) -> None:
    spoken = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, SAYS)}
    async with two_people(place, spoken) as call:
        await call.begin()
        unplug(call.clinician)
        call.client.play(0)
        clinician = call.clinician
        for wanted in (("microphone-silent", CLINICIAN, False), ("no-words", CLIENT, False)):
            await clinician.until(lambda wanted=wanted: wanted in warned(clinician), str(wanted), 20)  # type: ignore[misc]
        told = (await place.get(f"/v1/sessions/{call.session_id}"))["warnings"]
        assert {(one["slug"], one["participant_id"]) for one in told} >= {
            ("microphone-silent", CLINICIAN),
            ("no-words", CLIENT),
        }
        mended.set()
        await clinician.until(lambda: ("no-words", CLIENT, True) in warned(clinician), "words", 20)
        live: Any = await place.service.services.live.of(call.session_id)
        monkeypatch.setattr(leaving, "MINUTE_S", live._elapsed().captured_s + 2)
        await clinician.until(lambda: clinician.state.get("capture") == "finished", "the end", 30)
        session = await place.until(call.session_id, "note", "draft")
        assert session["bot_end_reason"] == "max_duration"
        assert session["warnings"] == [], "none of it holds any more"
        assert warned(call.client) == [], "for clinicians only"
        about = {(slug, who) for slug, who, over in warned(clinician) if not over}
        assert about == {("microphone-silent", CLINICIAN), ("no-words", CLIENT), ("ending-now", None)}


async def test_a_thread_that_stands_still_is_named_until_it_goes_on(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "DECODE_S", 0.8)
    monkeypatch.setattr(faults, "MEDIA_S", 0.8)
    go, real = threading.Event(), WhisperEngine.recognise

    def recognise(engine: WhisperEngine, pcm: Any, *, language: str, word_times: bool = False) -> Any:
        assert go.wait(60)
        return real(engine, pcm, language=language, word_times=word_times)

    monkeypatch.setattr(WhisperEngine, "recognise", recognise)
    spoken = {CLINICIAN: place.cut(CLINICIAN, (0, 400)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}
    async with two_people(place, spoken) as call:
        await call.begin()
        call.play()
        clinician = call.clinician
        live: Any = await place.service.services.live.of(call.session_id)
        try:
            stalled = ("recognition-stalled", None, False)
            await clinician.until(lambda: stalled in warned(clinician), "the recogniser is named", 20)
            live._services.media.worker.post(go.wait, 60)
            await clinician.until(lambda: ("media-stalled", None, False) in warned(clinician), "so is the thread", 20)
        finally:
            go.set()
        for over in (("recognition-stalled", None, True), ("media-stalled", None, True)):
            await clinician.until(lambda over=over: over in warned(clinician), str(over), 20)  # type: ignore[misc]
        await clinician.control("discard")


@pytest.mark.soak
@pytest.mark.parametrize("paused", [False, True])
async def test_a_clinician_who_closes_the_tab_gets_the_note_all_the_same(place: World, paused: bool) -> None:
    spoken = {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}
    async with two_people(place, spoken) as call:
        await call.begin()
        call.play()
        await call.clinician.until(
            lambda: any(h.message.get("final") and h.message["text"] for h in call.clinician.heard), "words", 30
        )
        if paused:
            await call.clinician.control("pause")
        await call.clinician.leave()
        await call.client.until(
            lambda: "clinician_absent" in call.client.state.get("pause_reasons", ()), "the client is told", 20
        )
        session = await place.until(call.session_id, "note", "draft")
        assert session["bot_end_reason"] == "left_alone"
        changes = [e.kind for e in await place.service.services.store.events(call.session_id)]
        assert changes.count("capture.finished") == changes.count("note.generating") == 1
