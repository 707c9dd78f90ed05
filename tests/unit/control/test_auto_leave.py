"""A session that nobody ends: the real one, in virtual time. A minute of the ladder is four seconds here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.clinics import CapturePolicy, ClinicConfig
from bot.control import leaving
from bot.events import Pcm
from bot.store.clinic_store import ClinicStore
from tests.unit.control import gate_world
from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, open_ground

MINUTE_S = 4.0


def clinic(name: str, **limits: int) -> ClinicConfig:
    shortest = {"clinician_absent_s": 1, "client_absent_s": 1, "alone_s": 5, "one_sided_s": 8, "silence_min": 3}
    policy = CapturePolicy(**shortest, no_words_s=20, silent_microphone_s=5, **limits)
    return ClinicConfig(id=name, name="Harbour", capture=policy)


CLINICS = {"leaving": clinic("leaving", max_duration_min=8), "patient": clinic("patient", max_duration_min=60)}


@pytest.fixture
async def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Call]:
    monkeypatch.setattr(leaving, "MINUTE_S", MINUTE_S)
    on = await open_ground(tmp_path, monkeypatch)
    await ClinicStore(on.db, on.clock).seed(CLINICS)
    made = Call(on)
    yield made
    await made.close()
    await on.close()


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no microphone gives a sound."""

    def nothing(start: int, end: int) -> Pcm:
        return np.zeros(end - start, np.int16)

    monkeypatch.setattr(gate_world, "sound", nothing)


def warned(call: Call, who: str = DOCTOR) -> list[tuple[str, str | None, bool]]:
    """What this person's page was warned of, in order, each with whether it was over."""
    page = call.people[who].page
    assert page is not None
    return [(m["slug"], m["participant_id"], m["over"]) for m in page.got if m["type"] == "warning"]


def leave(call: Call, who: str) -> Any:
    page, call.people[who].page = call.people[who].page, None
    assert page is not None
    return call.live.exit(call.people[who].member, page)


def how_it_ended(call: Call) -> tuple[str, str, str | None]:
    return call.row["capture"], call.row["bot"], call.row["bot_end_reason"]


async def test_it_ends_after_the_clinics_longest_time_and_says_so_before(call: Call) -> None:
    await call.begin("leaving")
    await call.pass_time(2 * MINUTE_S)
    assert warned(call) == []
    await call.pass_time(1 * MINUTE_S)
    assert warned(call) == [("ending-soon", None, False)]
    await call.pass_time(4 * MINUTE_S)
    assert warned(call)[1:] == [("ending-soon", None, True), ("ending-now", None, False)]
    await call.pass_time(1 * MINUTE_S + 1)
    assert how_it_ended(call) == ("finished", "done", "max_duration")
    assert warned(call)[-1] == ("ending-now", None, True)
    assert call.after == [("finish", call.session_id)], "once, as after Finish"
    assert warned(call, CLIENT) == [], "for clinicians only"
    kinds = [event.kind for event in await call.on.store.events(call.session_id)]
    assert [kind for kind in kinds if kind.startswith("session.alert")] == [
        "session.alert", "session.alert_over", "session.alert", "session.alert_over",
    ]  # fmt: skip


async def test_the_longest_time_counts_from_the_first_sample_over_a_crash_and_pauses(call: Call) -> None:
    await call.open("leaving")
    await call.meet()
    await call.act("start")
    await call.pass_time(3 * MINUTE_S)  # somebody thinks it over: nothing is captured yet
    await call.answer(CLIENT, "granted")
    await call.pass_time(3 * MINUTE_S)
    await call.act("pause")
    await call.come_back()
    await call.meet()
    await call.pass_time(2 * MINUTE_S)
    await call.act("resume")
    await call.pass_time(3 * MINUTE_S - 1)
    assert call.row["capture"] == "capturing"
    await call.pass_time(2)
    assert how_it_ended(call) == ("finished", "done", "max_duration")


async def test_a_clinician_who_closed_the_tab_ends_it_after_a_while_from_capturing(call: Call) -> None:
    await call.begin("leaving")
    await leave(call, DOCTOR)
    await call.pass_time(3)
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "clinician_absent")
    page = call.people[CLIENT].page
    assert page is not None
    states = [m for m in page.got if m["type"] == "state"]
    assert states[-1]["pause_reasons"] == ["clinician_absent"], "the client is told why"
    await call.pass_time(6)
    assert how_it_ended(call) == ("finished", "done", "left_alone")
    assert call.after == [("finish", call.session_id)]


async def test_a_clinician_who_comes_back_in_time_finds_it_going_on(call: Call) -> None:
    await call.begin("leaving")
    await leave(call, DOCTOR)
    await call.pass_time(6)
    call.come_in(DOCTOR)
    await call.pass_time(4)
    assert (call.row["capture"], call.after) == ("capturing", [])


async def test_an_empty_room_ends_it_from_a_pause(call: Call) -> None:
    await call.begin("leaving")
    await call.act("pause")
    for who in (DOCTOR, CLIENT):
        await leave(call, who)
    await call.pass_time(7)
    assert how_it_ended(call) == ("finished", "done", "left_alone")
    assert call.after == [("finish", call.session_id)]


async def test_an_empty_room_ends_the_asking_and_nothing_is_made_of_it(call: Call) -> None:
    await call.open("leaving")
    await call.meet()
    await call.act("start")
    for who in (DOCTOR, CLIENT):
        await leave(call, who)
    await call.pass_time(7)
    assert how_it_ended(call) == ("off", "done", "left_alone")
    assert call.after == []


async def test_a_client_who_stays_away_ends_it_and_the_clinician_is_told_before(call: Call) -> None:
    await call.begin("leaving")
    await leave(call, CLIENT)
    await call.pass_time(6)
    assert ("ending-alone", None, False) in warned(call)
    call.come_in(CLIENT)
    await call.pass_time(1)
    assert warned(call)[-1] == ("ending-alone", None, True)
    await leave(call, CLIENT)
    await call.pass_time(10)
    assert how_it_ended(call) == ("finished", "done", "left_alone")


async def test_a_long_silence_ends_it_and_a_word_or_a_pause_begins_it_anew(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.begin("patient")
    await call.pass_time(1)
    with monkeypatch.context() as quiet:
        silence(quiet)
        await call.pass_time(2 * MINUTE_S + 2)
        assert ("ending-silence", None, False) in warned(call)
    await call.pass_time(2)
    assert ("ending-silence", None, True) in warned(call)
    silence(monkeypatch)
    await call.pass_time(2 * MINUTE_S)
    await call.act("pause")
    await call.pass_time(2 * MINUTE_S)
    await call.act("resume")
    await call.pass_time(2 * MINUTE_S)
    assert call.row["capture"] == "capturing"
    await call.pass_time(MINUTE_S + 2)
    assert how_it_ended(call) == ("finished", "done", "call_ended")


async def test_a_microphone_without_sound_is_told_to_its_owner_and_to_the_clinician(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    await call.begin("leaving")
    call.live._mute(DOCTOR, muted=True)
    await call.pass_time(6)
    assert warned(call) == [("microphone-silent", CLIENT, False)], "who is muted is exempt"
    assert warned(call, CLIENT) == [("microphone-silent", CLIENT, False)]
    call.come_in(CLIENT)
    await call.settle()
    assert warned(call, CLIENT) == [("microphone-silent", CLIENT, False)], "again to a page that comes in"
    call.live._mute(CLIENT, muted=True)
    await call.pass_time(0.5)
    assert warned(call)[-1] == warned(call, CLIENT)[-1] == ("microphone-silent", CLIENT, True)


async def test_speech_that_gives_no_words_is_told_until_there_are_some(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.begin("patient")
    with monkeypatch.context() as hung:  # the recogniser stands still
        hung.setattr(call.scheduler, "pump", lambda: None)
        await call.pass_time(32)
        assert set(warned(call)) == {("no-words", DOCTOR, False), ("no-words", CLIENT, False)}
        assert {one["slug"] for one in call.live.standing_warnings()} == {"no-words"}
    await call.pass_time(1)
    assert set(warned(call)[2:]) == {("no-words", DOCTOR, True), ("no-words", CLIENT, True)}
    assert call.live.standing_warnings() == []
    assert warned(call, CLIENT) == []


async def test_the_end_of_a_recording_takes_every_passing_warning_back(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    await call.begin("leaving")
    await call.pass_time(6)
    assert {one["slug"] for one in call.live.standing_warnings()} == {"microphone-silent"}
    await call.act("finish")
    await call.pass_time(1)
    assert call.live.standing_warnings() == []
    assert [slug for slug, _, over in warned(call) if over] == ["microphone-silent"] * 2
