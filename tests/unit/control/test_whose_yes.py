"""Whose yes lets a recording run, and whose no ends it."""

from __future__ import annotations

import pytest

from bot.control.capture import Actor, ActorKind
from tests.unit.control.gate_call import OPEN, Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, HELPER, PARENT, PAUSE_ALL, WITHHOLD

LET_IN = Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR)


async def bring(call: Call, who: str) -> None:
    call.come_in(who)
    await call.settle()
    await call.live.admit(LET_IN, who)


@pytest.mark.parametrize("clinic", [PAUSE_ALL, WITHHOLD])
async def test_a_guardians_yes_is_not_the_clients(call: Call, clinic: str) -> None:
    await call.open(clinic)
    await call.meet()
    await bring(call, PARENT)
    await call.act("start")
    await call.answer(PARENT, "granted")
    await call.pass_time(1)
    assert call.row["capture"] == "consent_pending"
    await call.answer(CLIENT, "declined")
    assert (call.row["capture"], call.row["bot_end_reason"]) == ("off", "consent_declined")
    assert not call.on.kept


@pytest.mark.parametrize("clinic", [PAUSE_ALL, WITHHOLD])
async def test_who_declined_and_left_has_still_declined(call: Call, clinic: str) -> None:
    await call.open(clinic)
    await call.meet()
    await bring(call, PARENT)
    await call.act("start")
    await call.leave(CLIENT)
    await call.answer(CLIENT, "declined")
    assert call.row["bot_end_reason"] == "consent_declined"
    await call.act("start")
    await call.answer(PARENT, "granted")
    await call.pass_time(1)
    assert not call.on.kept


async def test_a_no_while_it_is_paused_ends_it_as_well(call: Call) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    await call.act("start")
    await call.act("pause")
    await call.answer(CLIENT, "declined")
    await call.pass_time(1)
    assert (call.row["capture"], call.row["bot_end_reason"]) == ("off", "consent_declined")


async def test_a_yes_that_is_taken_back_before_anything_ran_ends_it_too(call: Call) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    await bring(call, HELPER)
    await call.act("start")
    await call.answer(CLIENT, "granted")
    assert call.row["capture"] == "consent_pending", "somebody is still asked"
    await call.answer(CLIENT, "revoked")
    assert (call.row["capture"], call.row["bot_end_reason"]) == ("off", "consent_declined")


async def test_a_recording_that_a_platform_started_waits_for_its_clinician(call: Call) -> None:
    await call.open(PAUSE_ALL)
    await bring(call, CLIENT)
    await call.act("start")
    await call.answer(CLIENT, "granted")
    await call.pass_time(12)
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "clinician_absent")
    kept = len(call.on.kept)
    await call.pass_time(5)
    assert len(call.on.kept) == kept
    call.come_in(DOCTOR)
    await call.pass_time(2)
    assert call.row["capture"] == "capturing"
    assert call.live.media is not None
    assert OPEN in call.live.media._gates.values()


async def test_nothing_is_captured_for_a_clinician_who_has_been_away_for_long(call: Call) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    await call.act("start")
    await call.leave(DOCTOR)
    await call.pass_time(12)
    assert call.row["capture"] == "consent_pending"
    await call.answer(CLIENT, "granted")
    await call.pass_time(3)
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "clinician_absent")
    assert not call.on.kept
    call.come_in(DOCTOR)
    await call.pass_time(2)
    assert call.row["capture"] == "capturing"


async def test_a_withdrawal_after_the_end_destroys_though_nobody_said_so(call: Call) -> None:
    await call.begin()
    await call.act("finish")
    await call.pass_time(2)
    await call.answer(CLIENT, "revoked")
    await call.pass_time(1)
    assert (call.row["withdrawn_by"], call.row["consents"][CLIENT]) == (CLIENT, "revoked")
    assert ("discard", call.session_id) in call.after


@pytest.mark.parametrize("answers", [("declined", "granted"), ("granted", "declined")])
async def test_in_whatever_order_they_answer_a_no_ends_what_waits_for_everybody(
    call: Call, answers: tuple[str, str]
) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    await bring(call, HELPER)
    await call.act("start")
    order = (HELPER, CLIENT) if answers[0] == "declined" else (CLIENT, HELPER)
    for who, decision in zip(order, answers, strict=True):
        await call.answer(who, decision)
    assert (call.row["capture"], call.row["bot_end_reason"]) == ("off", "consent_declined")


async def test_what_was_taken_back_in_the_call_is_destroyed_after_it_when_it_is_said_again(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    await call.act("finish")
    await call.pass_time(2)
    assert not call.row["withdrawn_by"], "in the call it was a withdrawal without destruction"
    await call.answer(CLIENT, "revoked")
    await call.pass_time(1)
    assert call.row["withdrawn_by"] == CLIENT
    assert ("discard", call.session_id) in call.after
