"""What shuts is not lost, though nobody can record it just then, or whoever said it is gone."""

from __future__ import annotations

from typing import Any

import pytest

from bot.control.capture import Actor, ActorKind
from bot.errors import Overloaded
from bot.events import PauseReason
from tests.unit.control.gate_call import OPEN, Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, PARENT, PAUSE_ALL, WITHHOLD


@pytest.mark.parametrize("action", ["pause", "finish", "discard"])
async def test_what_shuts_is_not_forgotten_while_a_client_still_has_to_agree(call: Call, action: str) -> None:
    await call.open(PAUSE_ALL)
    await call.meet()
    await call.act("start")
    await call.pass_time(0.5)
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.act(action)
    assert call.row["capture"] == "consent_pending", "not recorded yet"
    assert call.live.view.reasons == {PauseReason.CLINICIAN, PauseReason.CONSENT}
    await call.answer(CLIENT, "granted")
    await call.pass_time(2)
    assert OPEN not in call.gates
    assert not call.on.kept
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "clinician")
    await call.act("resume")
    assert call.gates == {OPEN}


@pytest.mark.parametrize("action", ["finish", "discard"])
async def test_a_pause_that_was_to_be_the_end_does_not_end_by_itself(call: Call, action: str) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    before = len(call.on.kept)
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await call.act(action)
    await call.answer(CLIENT, "granted")
    await call.pass_time(2)
    assert OPEN not in call.gates
    assert len(call.on.kept) == before
    assert (call.row["capture"], call.row["pause_reasons"]) == ("paused", "clinician")
    await call.act(action)
    assert call.row["capture"] == {"finish": "finished", "discard": "discarded"}[action]


async def test_what_shuts_is_carried_out_though_nobody_can_look_up_whether_it_was_before(call: Call) -> None:
    await call.begin()
    call.on.db.unreadable = 1
    assert (await call.act("pause", "m1")).state == "paused"
    assert OPEN not in call.gates
    call.on.db.unreadable = 1
    with pytest.raises(Overloaded):
        await call.act("resume", "m2")
    assert OPEN not in call.gates


@pytest.mark.parametrize(
    ("who", "message"),
    [
        (DOCTOR, {"type": "pause", "message_id": "m-1"}),
        (CLIENT, {"type": "consent", "message_id": "m-1", "consent": {"decision": "revoked"}}),
    ],
)
async def test_what_shuts_stays_said_though_its_page_goes_before_it_is_recorded(
    call: Call, who: str, message: dict[str, Any]
) -> None:
    await call.begin()
    page = call.people[who].page
    assert page is not None
    call.on.db.stall()
    said = call.say(who, page, message)
    await call.settle()
    said.cancel()
    await call.settle()
    before = len(call.on.kept)
    await call.pass_time(1)
    assert OPEN not in call.gates
    call.on.db.go_on()
    await call.settle()
    await call.pass_time(1)
    assert OPEN not in call.gates
    assert len(call.on.kept) == before
    assert call.row["capture"] == "paused"


async def test_absence_is_seen_though_a_no_cannot_be_recorded(call: Call) -> None:
    await call.begin(WITHHOLD)
    call.come_in(PARENT)
    await call.settle()
    await call.live.admit(Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR), PARENT)
    await call.answer(PARENT, "granted")
    page = call.people[DOCTOR].page
    assert page is not None
    call.on.db.failing = 100
    with pytest.raises(Overloaded):
        await call.answer(PARENT, "revoked")
    assert OPEN in call.gates, "the others agreed, and go on"
    await call.live.exit(call.people[DOCTOR].member, page)
    call.people[DOCTOR].page = None
    await call.pass_time(4)
    assert call.live.media is not None
    assert OPEN not in call.live.media._gates.values()
