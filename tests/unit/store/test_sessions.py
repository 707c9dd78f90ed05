from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot import machines
from bot.clinics import ClinicConfig
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, InvalidTransition, NotFound
from bot.events import (
    AudioState,
    BotState,
    CaptureState,
    ConsentState,
    EndReason,
    NoteState,
    PauseReason,
    SessionEvent,
    TranscriptState,
)
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.models import SessionRow
from bot.store.sessions import NewParticipant, SessionRecord, SessionStore
from bot.store.states import MACHINES, set_columns

from .conftest import CLINIC, NEW

WORDING: dict[str, Any] = {"method": "in_call", "text_version": "1", "text_sha256": "0" * 64, "by": "cl"}


async def test_a_session_keeps_the_snapshot_it_was_made_with(store: SessionStore, clinics: ClinicStore) -> None:
    made = await store.create(NEW)
    changed = CLINIC.model_copy(update={"name": "Another Name"})
    assert await clinics.save(changed, author="usr_1") == 2
    again = await store.get(made.id)
    assert again == made
    assert (again.clinic_version, ClinicConfig.model_validate(again.snapshot)) == (1, CLINIC)
    assert (again.template, again.language) == ("soap", "en")
    assert (await store.create(dataclasses.replace(NEW, participants=()))).clinic_version == 2
    assert again.capture is CaptureState.OFF
    assert again.seq == 1
    assert [e.kind for e in await store.events(made.id, 0)] == ["session.created"]


async def test_what_cannot_be_made(store: SessionStore) -> None:
    with pytest.raises(NotFound):
        await store.create(dataclasses.replace(NEW, clinic_id="nowhere"))
    twice = dataclasses.replace(NEW, participants=NEW.participants + NEW.participants[:1])
    with pytest.raises(ConfigInvalid, match="same id"):
        await store.create(twice)
    await store.create(NEW)
    with pytest.raises(ConfigInvalid, match="code"):  # the code of somebody else's link
        await store.create(NEW)
    assert len((await store.list("harbour", limit=10, cursor=None))[0]) == 1


async def test_another_clinics_session_is_not_there(store: SessionStore, session: SessionRecord) -> None:
    assert (await store.get(session.id, clinic_id="harbour")).id == session.id
    for attempt in (store.get(session.id, clinic_id="other"), store.get("ses_unknown")):
        with pytest.raises(NotFound):
            await attempt


async def test_lists_are_paged_newest_first(store: SessionStore, clock: ManualClock) -> None:
    made = []
    for n in range(7):
        if n % 2:
            clock.advance(1)  # some share a time
        new = dataclasses.replace(NEW, participants=(), clinician_user_id=f"usr_{n % 3}")
        made.append((await store.create(new)).id)
    seen, cursor = [], None
    while True:
        page, cursor = await store.list("harbour", limit=3, cursor=cursor)
        seen += page
        if cursor is None:
            break
    assert sorted(s.id for s in seen) == sorted(made)
    assert [s.created_at for s in seen] == sorted((s.created_at for s in seen), reverse=True)
    assert len((await store.list("harbour", limit=50, cursor=None, clinician_user_id="usr_0"))[0]) == 3
    assert (await store.list("other", limit=3, cursor=None)) == ([], None)
    for wrong in ("", "not base64!", "YWJj", "eA"):
        with pytest.raises(ConfigInvalid, match="cursor"):
            await store.list("harbour", limit=3, cursor=wrong)


# -- states -----------------------------------------------------------------------------------------------------------


@given(data=st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_states_move_only_by_their_tables(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(MACHINES)))
    states, table = MACHINES[name]
    before, to = data.draw(st.sampled_from(list(states))), data.draw(st.sampled_from(list(states)))
    row = SessionRow(id="s", **{name: before.value})
    now = ManualClock().now()
    if to is before or to in table[before]:
        set_columns(row, {name: to}, now=now)
        assert getattr(row, name) == to.value
    else:
        with pytest.raises(InvalidTransition) as caught:
            set_columns(row, {"failure_slug": "overloaded", name: to}, now=now)
        assert caught.value.extra["state"] == before.value
        assert getattr(row, name) == before.value
        assert row.failure_slug is None


async def test_a_refused_move_changes_nothing_at_all(store: SessionStore, session: SessionRecord) -> None:
    with pytest.raises(InvalidTransition):
        await store.change(
            session.id,
            "capture.paused",
            capture=CaptureState.CAPTURING,
            audio=AudioState.ERASED,
            bot=BotState.REQUESTED,
        )
    with pytest.raises(TypeError):
        await store.change(session.id, "x", epoch=9)
    with pytest.raises(ValueError, match="asleep"):
        await store.change(session.id, "x", bot="asleep")
    assert await store.get(session.id) == session
    assert len(await store.events(session.id, 0)) == 1


async def test_a_change_and_its_event_are_one(store: SessionStore, session: SessionRecord, clock: ManualClock) -> None:
    told: list[SessionEvent] = []
    store.listen(told.append)
    clock.advance(5)
    record = await store.change(
        session.id,
        "capture.started",
        data={"state": "capturing"},
        capture=CaptureState.CAPTURING,
        audio=AudioState.HELD,
        transcript=TranscriptState.LIVE,
        captured_from=clock.now(),
        call_started_at=clock.now(),
    )
    assert (record.seq, record.capture, record.captured_from) == (2, CaptureState.CAPTURING, clock.now())
    paused = {PauseReason.CONSENT, PauseReason.CLINICIAN}
    record = await store.change(
        session.id, "capture.paused", capture=CaptureState.PAUSED, pause_reasons=frozenset(paused)
    )
    assert record.pause_reasons == paused
    record = await store.change(session.id, "bot.state_changed", bot=BotState.REQUESTED, bot_end_reason=None)
    record = await store.change(
        session.id, "bot.state_changed", bot=BotState.FAILED, bot_end_reason=EndReason.PLATFORM_ERROR
    )
    assert record.bot_end_reason is EndReason.PLATFORM_ERROR
    assert record == await store.get(session.id)
    assert [e.seq for e in told] == [2, 3, 4, 5]
    assert told == await store.events(session.id, 1)
    assert await store.events(session.id, 4) == told[-1:]
    assert told[0] == SessionEvent(session.id, 2, "capture.started", clock.now(), {"state": "capturing"})


async def test_listeners_hear_nothing_of_what_was_undone_and_cannot_undo(
    store: SessionStore, session: SessionRecord
) -> None:
    told: list[SessionEvent] = []

    def faulty(event: SessionEvent) -> None:
        raise RuntimeError("a listener's own trouble")

    store.listen(faulty)
    store.listen(told.append)
    with pytest.raises(InvalidTransition):
        await store.change(session.id, "x", audio=AudioState.ERASED)
    assert told == []
    await store.change(session.id, "y", bot=BotState.REQUESTED)
    assert [e.kind for e in told] == ["y"]


async def test_reaching_a_state_stamps_its_time(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await store.change(session.id, "x", audio=AudioState.HELD, transcript=TranscriptState.LIVE)
    record = await store.change(session.id, "x", audio=AudioState.ERASED, transcript=TranscriptState.READY)
    assert record.audio_erased_at == record.transcript_ready_at == clock.now()
    clock.advance(9)
    again = await store.change(session.id, "x", audio=AudioState.ERASED)
    assert again.audio_erased_at == record.audio_erased_at


async def test_changes_that_come_together_have_one_order(store: SessionStore, session: SessionRecord) -> None:
    records = await asyncio.gather(*(store.change(session.id, f"k{n}") for n in range(20)))
    assert sorted(r.seq for r in records) == list(range(2, 22))
    assert [e.seq for e in await store.events(session.id, 0)] == list(range(1, 22))


# -- people -----------------------------------------------------------------------------------------------------------


async def test_people_and_their_links(store: SessionStore, session: SessionRecord) -> None:
    people = await store.participants(session.id)
    assert [(p.id, p.display_name, p.consent, p.admitted) for p in people] == [
        ("cl", "Peter Winterbottom", ConsentState.UNKNOWN, False),
        ("dr", "Dr. Mina Hale", ConsentState.UNKNOWN, False),
    ]
    assert "Winterbottom" not in repr(people)
    assert (await store.participant_by_invite(session.id, "secret-code")).id == "cl"
    other = await store.create(dataclasses.replace(NEW, participants=()))
    for session_id, code in ((session.id, "wrong"), (session.id, ""), (other.id, "secret-code")):
        with pytest.raises(NotFound):
            await store.participant_by_invite(session_id, code)
    with pytest.raises(NotFound):
        await store.participants("ses_unknown")


async def test_admission_is_told_once(store: SessionStore, session: SessionRecord) -> None:
    await store.admit(session.id, "cl")
    await store.admit(session.id, "cl")
    assert (await store.participant(session.id, "cl")).admitted
    assert [e.kind for e in await store.events(session.id, 1)] == ["participant.admitted"]
    with pytest.raises(NotFound):
        await store.admit(session.id, "stranger")


@given(steps=st.lists(st.sampled_from(list(ConsentState)), max_size=6))
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_consent_moves_only_by_its_table_and_every_answer_is_kept(
    store: SessionStore, steps: list[ConsentState]
) -> None:
    session = await store.create(
        dataclasses.replace(NEW, participants=(NewParticipant("x", NEW.participants[1].role, "X"),))
    )
    now, answers = ConsentState.UNKNOWN, []
    for to in steps:
        if to is now:
            before = (await store.get(session.id)).seq
            assert (await store.record_consent(session.id, "x", to, **WORDING)).seq == before
        elif to in machines.CONSENT[now]:
            await store.record_consent(session.id, "x", to, **WORDING)
            now = to
            if to is not ConsentState.REQUESTED:
                answers.append(to)
        else:
            with pytest.raises(InvalidTransition):
                await store.record_consent(session.id, "x", to, **WORDING)
        assert (await store.participant(session.id, "x")).consent is now
    kept = await store.consents(session.id)
    assert sorted(c.decision for c in kept) == sorted(answers)
    assert all((c.text_version, c.by, c.participant_id) == ("1", "cl", "x") for c in kept)
    told = [e.kind for e in await store.events(session.id, 1)]
    assert len(told) == len(set(zip(range(len(told)), told, strict=True)))
    assert all(kind.startswith("consent.") for kind in told)


async def test_an_ack_is_remembered_as_it_was_given_first(store: SessionStore, session: SessionRecord) -> None:
    assert await store.remembered_ack(session.id, "dr", "m1") is None
    await store.remember_ack(session.id, "dr", "m1", {"state": "capturing", "seq": 3})
    await store.remember_ack(session.id, "dr", "m1", {"state": "paused", "seq": 4})
    assert await store.remembered_ack(session.id, "dr", "m1") == {"state": "capturing", "seq": 3}
    assert await store.remembered_ack(session.id, "cl", "m1") is None


# -- due --------------------------------------------------------------------------------------------------------------


async def test_what_is_due(store: SessionStore, clock: ManualClock) -> None:
    later, sooner = clock.now() + timedelta(days=7), clock.now() + timedelta(hours=24)
    one = await store.create(dataclasses.replace(NEW, participants=()))
    await store.change(
        one.id,
        "x",
        capture=CaptureState.CAPTURING,
        audio=AudioState.HELD,
        transcript=TranscriptState.LIVE,
        purge_at=later,
        erase_by=sooner,
    )
    assert (await store.due_purges(), await store.due_erasures()) == ([], [])
    clock.advance(24 * 3600)
    assert (await store.due_purges(), await store.due_erasures()) == ([], [one.id])
    await store.change(one.id, "x", audio=AudioState.ERASED)
    assert await store.due_erasures() == []
    clock.advance(6 * 24 * 3600)
    assert await store.due_purges() == [one.id]


async def test_what_a_stopped_process_left_half_done(store: SessionStore) -> None:
    new = dataclasses.replace(NEW, participants=())
    await store.create(new)  # never started
    capturing, ended, settled, failed, dropped = [(await store.create(new)).id for _ in range(5)]
    held: dict[str, Any] = {
        "audio": AudioState.HELD,
        "transcript": TranscriptState.LIVE,
        "capture": CaptureState.CAPTURING,
    }
    for session_id in (capturing, ended, settled, failed, dropped):
        await store.change(session_id, "x", **held)
    for session_id in (ended, settled, failed):
        await store.change(session_id, "x", capture=CaptureState.FINISHED)
    await store.change(dropped, "x", capture=CaptureState.DISCARDED)
    ready: dict[str, Any] = {"audio": AudioState.ERASED, "transcript": TranscriptState.READY, "note": NoteState.QUEUED}
    for session_id in (settled, failed):
        await store.change(session_id, "x", **ready)
    assert {r.id for r in await store.unfinished()} == {capturing, ended, settled, failed, dropped}
    await store.change(failed, "x", note=NoteState.FAILED)
    await store.change(settled, "x", note=NoteState.GENERATING)
    await store.save_note(settled, b"{}")
    assert {r.id for r in await store.unfinished()} == {capturing, ended, dropped}
    await store.change(dropped, "x", audio=AudioState.ERASED)
    await store.purge_transcript(dropped, "discarded")
    assert {r.id for r in await store.unfinished()} == {capturing, ended}


async def test_a_writer_of_an_older_epoch_is_shut_out(
    store: SessionStore, session: SessionRecord, db: Database
) -> None:
    assert [await store.raise_epoch(session.id), await store.raise_epoch(session.id)] == [1, 2]
    assert (await store.get(session.id)).epoch == 2
