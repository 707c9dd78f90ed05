"""Start after Finish, in the same call: another part of the session, told step by step."""

from __future__ import annotations

from typing import Any

import pytest

from bot.errors import InvalidTransition, SessionLocked
from bot.events import AudioState, CaptureState, GapReason, NoteState
from bot.store.parts import audio_name
from bot.store.vault import KeyDestroyed
from tests.unit.control.gate_call import OPEN, Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, WITHHOLD


async def end(call: Call) -> None:
    """Finish, and what follows from it."""
    await call.act("finish")
    await call.pass_time(1)
    assert await call.deal_with_end()


async def states(call: Call) -> tuple[Any, ...]:
    row = call.row
    return row["part"], row["capture"], row["audio"], row["transcript"]


async def test_it_waits_until_the_sound_of_the_part_before_is_destroyed(call: Call) -> None:
    await call.begin()
    await call.act("finish")
    with pytest.raises(InvalidTransition, match="last words"):
        await call.act("start")
    await call.pass_time(1)
    with pytest.raises(InvalidTransition, match="last words"):
        await call.act("start")
    assert await states(call) == (1, "finished", "held", "live")
    assert await call.deal_with_end()
    await call.act("start")
    assert await states(call) == (2, "capturing", "held", "live")


async def test_who_agreed_has_agreed_and_the_time_between_is_off(call: Call) -> None:
    await call.begin()
    await end(call)
    ended = call.now
    await call.pass_time(20)
    ack = await call.act("start")
    assert ack.state is CaptureState.CAPTURING, "nobody is asked again"
    assert call.gates == {OPEN}
    await call.pass_time(2)
    await end(call)
    assert not [kept for kept in call.on.kept if ended < kept.start < ack.effective_at_ms * 16]
    for lane in await call.on.store.lanes(call.session_id):
        assert lane.ledger.closes
        assert lane.ledger.off >= 20 * 16_000, "on one account"
        assert lane.ledger.absent < 16_000
    gaps = (await call.on.store.transcript(call.session_id)).gaps
    (between,) = [gap for gap in gaps if gap.reason is GapReason.OFF]
    assert between.participant_id is None
    assert abs(between.end_ms - ack.effective_at_ms) <= 1
    assert 20_000 < between.end_ms - between.start_ms < 22_000


async def test_each_part_has_keys_of_its_own(call: Call) -> None:
    await call.begin()
    await end(call)
    await call.act("start")
    await call.pass_time(3)
    lane = (await call.on.store.lanes(call.session_id))[0].id
    with pytest.raises(KeyDestroyed):
        call.on.vault.audio_key(call.session_id, lane, 10_000)
    assert call.on.vault.audio_lanes(audio_name(call.session_id, 2))
    assert not call.on.vault.audio_lanes(call.session_id)


async def test_who_took_it_back_is_asked_anew_and_a_no_leaves_everything_as_it_was(call: Call) -> None:
    await call.begin()
    await call.answer(CLIENT, "revoked")
    await end(call)
    before = call.row
    ack = await call.act("start")
    assert ack.state is CaptureState.CONSENT_PENDING
    assert call.row["consents"][CLIENT] == "requested"
    await call.answer(CLIENT, "declined")
    await call.pass_time(1)
    assert await states(call) == (2, "finished", "absent", "ready")
    assert (call.row["bot"], call.row["bot_end_reason"]) == ("done", "consent_declined")
    assert [call.row[name] for name in ("ended_at", "purge_at")] == [before["ended_at"], before["purge_at"]]
    gaps = (await call.on.store.transcript(call.session_id)).gaps
    assert GapReason.OFF not in {gap.reason for gap in gaps}, "nothing follows that it could lie before"
    await call.act("start")
    await call.answer(CLIENT, "granted")
    assert await states(call) == (3, "capturing", "held", "live")


async def test_killed_in_a_later_part_it_goes_on_in_it(call: Call) -> None:
    await call.begin()
    await end(call)
    await call.pass_time(20)
    await call.act("start")
    await call.pass_time(3)
    await call.come_back()
    assert await states(call) == (2, "capturing", "held", "live")
    await call.meet()
    await call.pass_time(2)
    assert call.gates == {OPEN}
    await end(call)
    transcript = await call.on.store.transcript(call.session_id)
    (off,) = [gap for gap in transcript.gaps if gap.reason is GapReason.OFF]
    away = [gap for gap in transcript.gaps if gap.reason is GapReason.INTERRUPTED]
    assert all(gap.start_ms >= off.end_ms for gap in away), "what was off is not said to be interrupted"
    assert all(segment.end_ms <= off.start_ms + 400 or segment.start_ms >= off.end_ms - 400
               for segment in transcript.segments)  # fmt: skip
    assert len({segment.segment_id for segment in transcript.segments}) == len(transcript.segments)


@pytest.mark.parametrize("writes", range(9))
async def test_killed_while_it_begins(call: Call, writes: int) -> None:
    await call.begin()
    await end(call)
    call.on.db.kill_in, call.on.db.kill_after = max(writes, 1), writes > 0
    call.spawn(call.act("start"))
    await call.settle()
    await call.pass_time(1)
    await call.come_back()
    await call.pass_time(2)
    assert await states(call) in {(1, "finished", "erased", "ready"), (2, "capturing", "held", "live")}
    if call.row["part"] == 1:
        assert call.row["bot"] == "done", "no bot stays behind"
        await call.meet()
        await call.act("start")
        assert await states(call) == (2, "capturing", "held", "live")


async def test_what_was_discarded_is_final_and_takes_the_part_before_with_it(call: Call) -> None:
    await call.begin()
    await end(call)
    store = call.on.store
    for state in (NoteState.QUEUED, NoteState.GENERATING):
        await store.change(call.session_id, f"note.{state}", note=state)
    await store.save_note(call.session_id, b"{}")
    await call.act("start")
    await call.pass_time(1)
    await call.act("discard")
    await call.pass_time(1)
    assert (call.row["capture"], call.row["note"]) == ("discarded", "discarded")
    assert (await store.get(call.session_id)).note_id is None, "its draft went too"
    assert call.after[-1] == ("discard", call.session_id)
    with pytest.raises(InvalidTransition):
        await call.act("start")


@pytest.mark.parametrize("waits", [False, True])
async def test_taken_back_in_a_later_part_all_of_it_goes(call: Call, *, waits: bool) -> None:
    await call.begin(WITHHOLD)
    if waits:
        await call.answer(CLIENT, "revoked")
    await end(call)
    await call.act("start")
    assert call.row["capture"] == ("consent_pending" if waits else "capturing")
    client = call.live.lobby.seat(CLIENT).member
    page = call.people[CLIENT].page
    assert page is not None
    message = {"type": "consent", "message_id": "m1", "consent": {"decision": "revoked", "destroy": True}}
    await call.live.page_message(client, page, message)
    await call.pass_time(1)
    assert (call.row["capture"], call.row["withdrawn_by"]) == ("discarded", CLIENT)


@pytest.mark.parametrize("note", [NoteState.SIGNED, NoteState.DISCARDED])
async def test_what_is_closed_is_not_recorded_on(call: Call, note: NoteState) -> None:
    await call.begin()
    await end(call)
    for state in (NoteState.QUEUED, NoteState.GENERATING, NoteState.DRAFT, note):
        await call.on.store.change(call.session_id, f"note.{state}", note=state)
    await call.live.refresh()
    with pytest.raises(SessionLocked):
        await call.act("start")
    assert await states(call) == (1, "finished", "erased", "ready")
    assert call.row["bot"] == "done"


async def test_the_longest_time_counts_from_this_parts_beginning(call: Call) -> None:
    await call.begin()
    await end(call)
    await call.pass_time(30)
    await call.act("start")
    await call.pass_time(1)
    assert call.live._elapsed().captured_s < 2
    await call.come_back()
    assert call.live._elapsed().captured_s < 3
    assert call.row["audio"] == AudioState.HELD.value
    assert DOCTOR in call.people
