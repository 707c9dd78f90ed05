"""A pause holds from the sample that its ack names: counted sample by sample, whoever asks and by whichever door."""

from __future__ import annotations

import pytest

from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import CLIENT, DOCTOR

RATE_MS = 16
"""Samples of a millisecond."""


def ends(call: Call) -> dict[str, int]:
    """Up to which sample each lane was captured."""
    return {who: max(kept.end for kept in call.on.kept if kept.participant_id == who) for who in (DOCTOR, CLIENT)}


@pytest.mark.parametrize("late_s", [0.0, 0.125, 0.25])
async def test_what_is_captured_ends_at_the_sample_that_the_ack_names(call: Call, late_s: float) -> None:
    """Sound that is under way at that moment was said before it, and is captured up to just there."""
    await call.begin()
    call.delay_s = late_s
    for said_ms in (1_125, 2_375, 500):
        await call.pass_time(said_ms / 1000)
        at = call.now
        assert at % RATE_MS == 0, "each step of time is a whole number of milliseconds"
        ack = await call.act("pause")
        assert ack.effective_at_ms == at // RATE_MS, "it holds from the moment it was asked for"
        await call.pass_time(2)
        assert ends(call) == dict.fromkeys((DOCTOR, CLIENT), at)
        resumed = await call.act("resume")
        await call.pass_time(1)
        later = [kept for kept in call.on.kept if kept.end > at]
        assert {min(k.start for k in later if k.participant_id == who) for who in (DOCTOR, CLIENT)} == {
            resumed.effective_at_ms * RATE_MS
        }, "and nothing of the pause is there after it"


async def test_a_withdrawal_ends_it_at_the_sample_that_the_ack_names(call: Call) -> None:
    await call.begin()
    await call.pass_time(1.5)
    at = call.now
    ack = await call.answer(CLIENT, "revoked")
    assert ack.effective_at_ms == at // RATE_MS
    await call.pass_time(2)
    assert ends(call) == dict.fromkeys((DOCTOR, CLIENT), at)


async def test_what_was_captured_before_a_plain_withdrawal_stays_until_the_end(call: Call) -> None:
    await call.begin()
    await call.pass_time(1.5)
    await call.answer(CLIENT, "revoked")
    await call.pass_time(1)
    assert (call.row["capture"], call.row["pause_reasons"], call.row["withdrawn_by"]) == ("paused", "consent", None)
    await call.act("finish")
    await call.pass_time(2)
    assert (call.row["capture"], call.row["transcript"]) == ("finished", "live")
    assert call.after == [("finish", call.session_id)], "what was said before is dealt with as after any Finish"
