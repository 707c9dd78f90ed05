"""A withdrawal that takes what was recorded with it: gates, record and effect, though the database fails."""

from __future__ import annotations

from typing import Any

import pytest

from bot.control.capture import Ack, Actor, ActorKind
from bot.errors import ConfigInvalid, Forbidden, InvalidTransition, Overloaded
from bot.events import ConsentState, Role
from tests.unit.control.gate_call import OPEN, Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, HELPER, ROLES, WITHHOLD


async def destroy(call: Call, who: str = CLIENT, decision: str = "revoked", **more: Any) -> Ack:
    actor = Actor(ActorKind.PARTICIPANT, "c", role=ROLES[more.pop("by", who)], participant_id=who)
    given = {"method": "api", "text_version": "", "message_id": None, "seq": None} | more
    return await call.live.consent(actor, who, ConsentState(decision), destroy=True, **given)


async def kinds(call: Call) -> list[str]:
    return [event.kind for event in await call.on.store.events(call.session_id)]


async def test_one_word_ends_it_and_has_everything_destroyed(call: Call) -> None:
    await call.begin()
    ack = await destroy(call, message_id="m1")
    assert ack.state == "discarded"
    assert (call.row["capture"], call.row["withdrawn_by"], call.row["consents"][CLIENT]) == (
        "discarded", CLIENT, "revoked",
    )  # fmt: skip
    await call.pass_time(2)
    assert call.after == [("discard", call.session_id)]
    assert call.live.media is None, "the bot went home"
    assert max(kept.end for kept in call.on.kept) <= ack.effective_at_ms * 16
    assert await destroy(call, message_id="m1") == ack
    assert call.after == [("discard", call.session_id)]


async def test_after_a_withdrawal_the_offer_stands(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    assert call.row["capture"] == "paused"
    await destroy(call)
    assert (call.row["capture"], call.row["withdrawn_by"]) == ("discarded", CLIENT)
    assert (await kinds(call)).count("consent.revoked") == 1


async def test_of_others_who_go_on_nothing_stays_either(call: Call) -> None:
    await call.begin(WITHHOLD)
    call.come_in(HELPER)
    await call.settle()
    await call.live.admit(Actor(ActorKind.PLATFORM, "c", participant_id=DOCTOR), HELPER)
    with pytest.raises(InvalidTransition):
        await destroy(call, HELPER)
    assert (call.row["capture"], call.row["withdrawn_by"]) == ("capturing", None), "who never agreed destroys nothing"
    assert call.gates == {OPEN}
    await call.answer(HELPER, "granted")
    await call.pass_time(0.5)
    await destroy(call, HELPER)
    assert (call.row["capture"], call.row["withdrawn_by"]) == ("discarded", HELPER)


async def test_what_is_not_recorded_holds_and_destroys_when_it_is_asked_again(call: Call) -> None:
    await call.begin()
    call.on.db.failing = 1
    with pytest.raises(Overloaded):
        await destroy(call, message_id="m1")
    assert OPEN not in call.gates
    assert call.row["capture"] == "capturing"
    await call.pass_time(2)
    assert call.row["consents"][CLIENT] == "revoked", "the withdrawal itself is recorded as soon as it can be"
    await destroy(call, message_id="m1")
    assert (call.row["capture"], call.row["withdrawn_by"]) == ("discarded", CLIENT)


@pytest.mark.parametrize("recorded", [False, True], ids=["before", "after"])
async def test_a_kill_at_the_record_ends_in_the_same_place(call: Call, *, recorded: bool) -> None:
    await call.begin()
    call.on.db.kill_in, call.on.db.kill_after = 1, recorded
    call.spawn(destroy(call, message_id="m1"))
    await call.settle()
    assert call.on.db.killed.is_set()
    await call.come_back()
    await call.pass_time(1)
    assert call.row["withdrawn_by"] == (CLIENT if recorded else None)
    await destroy(call, message_id="m1")  # the page had no answer, and says it again
    await call.pass_time(1)
    assert (call.row["capture"], call.row["bot"], call.row["withdrawn_by"]) == ("discarded", "done", CLIENT)
    assert call.after[-1] == ("discard", call.session_id)
    for kind in ("consent.revoked", "capture.discarded", "inbox.item_created"):
        assert (await kinds(call)).count(kind) == 1, kind


async def test_before_anything_was_captured_it_is_a_withdrawal(call: Call) -> None:
    await call.open("pause-all")
    await call.meet()
    await call.answer(CLIENT, "granted")
    await destroy(call)
    assert (call.row["capture"], call.row["withdrawn_by"], call.row["consents"][CLIENT]) == ("off", None, "revoked")


async def test_only_ones_own_and_only_with_a_withdrawal(call: Call) -> None:
    await call.begin()
    with pytest.raises(ConfigInvalid):
        await destroy(call, decision="declined")
    stranger = Actor(ActorKind.PARTICIPANT, "c", role=Role.CLIENT, participant_id=HELPER)
    platform = Actor(ActorKind.PLATFORM, "c", participant_id=CLIENT)
    given: dict[str, Any] = {"method": "api", "text_version": "", "message_id": None, "seq": None, "destroy": True}
    for actor in (stranger, platform):
        with pytest.raises(Forbidden):
            await call.live.consent(actor, CLIENT, ConsentState.REVOKED, **given)
    assert call.gates == {OPEN}
