"""A database that fails, and a process that dies, just where it hurts: each on its own, told as it happens."""

from __future__ import annotations

from typing import Any

import pytest

from bot.control.capture import Actor, ActorKind
from bot.errors import Overloaded
from bot.events import CaptureState, GapReason, PauseReason, Role
from tests.unit.control.gate_call import OPEN, Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, HELPER, PAUSE_ALL, ROLES, WITHHOLD


@pytest.mark.parametrize("decision", ["revoked", "declined"])
async def test_a_no_that_is_not_recorded_holds_and_is_recorded_later(call: Call, decision: str) -> None:
    await call.begin()
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.answer(CLIENT, decision)
    assert OPEN not in call.gates
    assert call.row["consents"][CLIENT] == "granted", "not recorded yet"
    before = len(call.on.kept)
    await call.pass_time(2)
    assert len(call.on.kept) == before
    assert call.row["consents"][CLIENT] == "revoked"
    assert call.row["pause_reasons"] == "consent"
    await call.answer(CLIENT, "granted")
    assert call.gates == {OPEN}


async def test_a_pause_that_is_not_recorded_holds_whatever_else_held_before(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.act("pause")
    await call.answer(CLIENT, "granted")
    assert call.live.view.reasons == {PauseReason.CLINICIAN}
    assert OPEN not in call.gates
    await call.act("resume")
    assert call.gates == {OPEN}


async def test_a_gate_opens_after_it_is_recorded(call: Call) -> None:
    await call.begin()
    await call.act("pause")
    call.on.db.stall()
    resuming = call.spawn(call.act("resume"))
    await call.settle()
    assert OPEN not in call.gates
    call.on.db.go_on()
    await resuming
    assert call.gates == {OPEN}


async def test_a_resume_stands_though_the_end_of_its_pause_cannot_be_stated_at_once(call: Call) -> None:
    await call.begin()
    await call.act("pause")
    await call.pass_time(1)
    call.on.db.sparing, call.on.db.failing = 1, 1
    assert (await call.act("resume")).state == "capturing"
    assert call.gates == {OPEN}
    await call.pass_time(2)
    words = await call.on.store.transcript(call.session_id)
    assert [gap.reason for gap in words.gaps if gap.participant_id is None] == ["paused"]


@pytest.mark.parametrize("write", range(1, 11))
async def test_a_start_that_fails_halfway_can_be_made_again(call: Call, write: int) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    call.on.db.sparing, call.on.db.failing = write - 1, 1
    try:
        await call.act("start")
    except Overloaded:
        call.on.db.go_on()
        await call.act("start")
    assert (call.row["bot"], call.row["capture"]) == ("in_call", "consent_pending")


STARTED = 9
"""Writes of a Start with one client: with the last of these it is recorded, its ack comes after."""


@pytest.mark.parametrize("write", range(1, STARTED))
async def test_a_start_that_dies_halfway_leaves_no_bot_behind(call: Call, write: int) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    call.on.db.kill_in, call.on.db.kill_after = write, True
    call.spawn(call.act("start"))
    await call.settle()
    await call.come_back()
    assert (call.row["bot"] in {"absent", "done"}, call.row["capture"]) == (True, "off")


@pytest.mark.parametrize("write", [STARTED, STARTED + 1])
async def test_a_start_that_was_recorded_goes_on_asking_after_a_crash(call: Call, write: int) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    call.on.db.kill_in, call.on.db.kill_after = write, True
    call.spawn(call.act("start"))
    await call.settle()
    await call.come_back()
    assert (call.row["bot"], call.row["capture"]) == ("in_call", "consent_pending")
    assert OPEN not in call.gates
    assert not (await call.on.store.transcript(call.session_id)).gaps, "nothing was captured that could be missing"
    await call.meet()
    assert OPEN not in call.gates, "they come back, and have not answered yet"
    await call.answer(CLIENT, "granted")
    assert call.row["capture"] == "capturing"


@pytest.mark.parametrize("action", ["finish", "discard"])
@pytest.mark.parametrize("write", range(2, 6))
async def test_an_end_is_dealt_with_though_the_database_fails_meanwhile(call: Call, action: str, write: int) -> None:
    await call.begin()
    call.on.db.sparing, call.on.db.failing = write - 1, 3
    await call.act(action)
    await call.pass_time(6)
    assert call.after == [(action, call.session_id)]
    assert (call.row["bot"], call.row["capture"]) == ("done", {"finish": "finished", "discard": "discarded"}[action])


@pytest.mark.parametrize("clinic", [PAUSE_ALL, WITHHOLD])
async def test_a_no_recorded_just_before_a_crash_shuts_every_gate_after_it(call: Call, clinic: str) -> None:
    await call.begin(clinic)
    call.on.db.kill_in, call.on.db.kill_after = 1, True
    call.spawn(call.answer(CLIENT, "revoked"))
    await call.settle()
    assert (call.row["capture"], call.row["consents"][CLIENT]) == ("capturing", "revoked")
    await call.come_back()
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "consent")
    assert OPEN not in call.gates


async def test_who_was_absent_or_withheld_at_a_crash_is_stated_for_the_time_before_it(call: Call) -> None:
    await call.begin(WITHHOLD)
    call.come_in(HELPER)
    await call.settle()
    call.let_in(HELPER, Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR))
    await call.settle()
    page = call.people[CLIENT].page
    assert page is not None
    call.live._apply_gates(call.now)  # as the offer does by which they connect
    began = call.now
    await call.live.exit(call.people[CLIENT].member, page)
    call.people[CLIENT].page = None
    await call.pass_time(5)
    await call.come_back()
    gaps = (await call.on.store.transcript(call.session_id)).gaps
    for who, reason in ((CLIENT, GapReason.ABSENT), (HELPER, GapReason.WITHHELD)):
        [gap] = [gap for gap in gaps if (gap.participant_id, gap.reason) == (who, reason)]
        assert gap.start_ms <= began / 16 + 1
        assert gap.end_ms >= began / 16 + 2_500, gap


async def test_time_goes_on_for_a_session_whose_database_fails(call: Call) -> None:
    await call.begin()
    page = call.people[DOCTOR].page
    assert page is not None
    call.on.db.failing = 20
    await call.live.exit(call.people[DOCTOR].member, page)
    call.people[DOCTOR].page = None
    await call.pass_time(4)
    assert OPEN not in call.gates, "nobody has been there for longer than the clinic allows"
    call.on.db.go_on()
    await call.pass_time(2)
    assert call.row["capture"] == "paused"


async def test_what_comes_again_after_a_crash_throws_nothing_away(call: Call) -> None:
    await call.begin()
    first = await call.answer(CLIENT, "revoked", "m1")
    await call.answer(CLIENT, "granted", "m2")
    await call.come_back()
    await call.meet()
    await call.pass_time(1)
    assert call.live.media is not None
    lane = call.live.media._lanes[call.live.media._lane_of[CLIENT]]
    before = len(call.on.kept)
    held = lane.pipeline._spool.first_sample
    assert held is not None
    assert await call.answer(CLIENT, "revoked", "m1") == first
    await call.pass_time(0.5)
    assert call.gates == {OPEN}
    assert lane.pipeline._spool.first_sample == held, "what they said since their new yes is still there"
    assert len(call.on.kept) > before


# -- a yes with an end ------------------------------------------------------------------------------------------------


async def test_a_grant_that_runs_out_shuts_and_is_asked_for_anew(call: Call) -> None:
    await call.begin()
    await call.live.expire(CLIENT)
    assert OPEN not in call.gates
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "consent")
    assert call.row["consents"][CLIENT] == "requested"
    kinds = [event.kind for event in await call.on.store.events(call.session_id)]
    assert kinds[-3:] == ["consent.expired", "consent.requested", "capture.paused"]
    answers = [(one.decision, one.method) for one in await call.on.store.consents(call.session_id)]
    assert ("expired", "on_file") in answers
    await call.answer(CLIENT, "granted")
    assert call.gates == {OPEN}


async def test_an_end_that_cannot_be_recorded_holds_all_the_same(call: Call) -> None:
    await call.begin()
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.live.expire(CLIENT)
    assert OPEN not in call.gates
    await call.pass_time(2)
    assert call.row["consents"][CLIENT] == "expired"
    assert call.row["capture"] == "paused"


async def test_only_a_grant_runs_out(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    seq = call.row["seq"]
    await call.live.expire(CLIENT)
    assert (call.row["consents"][CLIENT], call.row["seq"]) == ("revoked", seq)
    assert Role.CLIENT is ROLES[CLIENT]


@pytest.mark.parametrize(
    ("who", "message"),
    [
        (DOCTOR, {"type": "pause", "message_id": "m-1"}),
        (CLIENT, {"type": "consent", "message_id": "m-1", "consent": {"decision": "revoked"}}),
    ],
)
async def test_what_could_not_be_said_comes_before_their_return_lifts_anything(
    call: Call, who: str, message: dict[str, Any]
) -> None:
    await call.begin()
    person = call.people[who]
    assert person.page is not None
    await call.live.exit(person.member, person.page)
    await call.pass_time(15)
    assert call.live.view.state is CaptureState.PAUSED, "they were away for longer than the clinic allows"
    before = len(call.on.kept)
    call.come_in(who, [message])
    await call.pass_time(2)
    assert len(call.on.kept) == before, "not a moment was captured"
    assert OPEN not in call.gates
    [ack] = [m for m in person.page.got if m["type"] == "ack"] if person.page else []
    assert (ack["message_id"], ack["ok"]) == ("m-1", True)
