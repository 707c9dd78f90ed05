"""Whatever ends a call begins the workflow once: a table of ends without Finish, and the real workflow after each.

The session is the real one, in virtual time; a minute of the ladder of :mod:`bot.control.leaving` is four seconds here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.aftercall import AfterCall, AfterCallServices
from bot.clinics import CapturePolicy, ClinicConfig
from bot.control import leaving
from bot.events import EndReason, NoteDraft, NoteRequest, NoteSection, NoteSentence, Pcm, SentenceStatus
from bot.media import spool
from bot.media.room import RoomClosed
from bot.notes.contract import NoteWriter, Progress
from bot.notes.render import encode
from bot.store.clinic_store import ClinicStore
from bot.store.erase import Eraser
from bot.store.receipts import ReceiptSigner
from bot.store.workflowdb import engine_url
from tests.unit.control import gate_world
from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import CLIENT, DOCTOR, open_ground

MINUTE_S = 4.0
WAIT_S = 30
CLINIC = "ending"
POLICY = CapturePolicy(
    clinician_absent_s=1, client_absent_s=1, alone_s=5, one_sided_s=8, silence_min=3, max_duration_min=8
)


@pytest.fixture
async def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Call]:
    monkeypatch.setattr(leaving, "MINUTE_S", MINUTE_S)
    on = await open_ground(tmp_path, monkeypatch)
    await ClinicStore(on.db, on.clock).seed({CLINIC: ClinicConfig(id=CLINIC, name="Harbour", capture=POLICY)})
    made = Call(on)
    yield made
    await made.close()
    await on.close()


# -- how a call ends --------------------------------------------------------------


async def everybody_leaves(call: Call) -> None:
    await call.leave(CLIENT)
    await call.leave(DOCTOR)
    await call.pass_time(7)


async def the_clinicians_tab_is_closed(call: Call) -> None:
    await call.leave(DOCTOR)
    await call.pass_time(7)
    assert call.row["capture"] == "paused", "they have their time to come back"
    await call.pass_time(3)


async def the_client_stays_away(call: Call) -> None:
    await call.leave(CLIENT)
    await call.pass_time(10)


async def the_room_is_closed(call: Call) -> None:
    call.live._on_room_event(RoomClosed(EndReason.EVICTED))
    await call.settle()
    await call.pass_time(1)


async def it_lasts_too_long(call: Call) -> None:
    await call.pass_time(8 * MINUTE_S + 1)


async def nobody_speaks(call: Call) -> None:
    await call.pass_time(3 * MINUTE_S + 2)


async def nobody_comes_back_after_a_crash(call: Call) -> None:
    await call.come_back()
    await call.pass_time(8)


End = Callable[[Call], Awaitable[None]]
ENDS: dict[End, str] = {
    everybody_leaves: "left_alone",
    the_clinicians_tab_is_closed: "left_alone",
    the_client_stays_away: "left_alone",
    the_room_is_closed: "evicted",
    it_lasts_too_long: "max_duration",
    nobody_speaks: "call_ended",
    nobody_comes_back_after_a_crash: "left_alone",
}
PAUSED_TOO = [end for end in ENDS if end is not nobody_speaks]
"""A silence is one of a recording that runs: a pause never ends anything by itself."""
WHOLE = frozenset({the_clinicians_tab_is_closed, the_room_is_closed, nobody_comes_back_after_a_crash})
"""Ends after which the real workflow is run in every run of the tests; after the others in the long ones."""
CASES = [*((end, False) for end in ENDS), *((end, True) for end in PAUSED_TOO)]
NAMES = [f"{end.__name__}-{'paused' if paused else 'capturing'}" for end, paused in CASES]


# -- the workflow --------------------------------------------------------------


class OneSentence(NoteWriter):
    """Writes a note of one sentence, and counts."""

    def __init__(self) -> None:
        self.written = 0

    async def write(self, request: NoteRequest, progress: Progress) -> NoteDraft:
        self.written += 1
        sentence = NoteSentence("s1", "Spoken.", SentenceStatus.SUPPORTED)
        return NoteDraft("soap", 1, "scripted/1", (NoteSection("subjective", "Subjective", (sentence,)),))


async def carry_out(call: Call) -> tuple[int, int, list[str]]:
    """Give what was handed on to the real workflow: how many runs and notes that made, and the inbox."""
    on, writer = call.on, OneSentence()
    eraser = Eraser(on.store, on.db, on.vault, ReceiptSigner.load(on.folder / "vault"), on.clock)

    async def sweep(session_id: str) -> int:
        call.scheduler.forget(session_id)
        await call.sessions.let_go(session_id)
        return spool.sweep(on.folder / "spool", session_id)

    async def nothing(_: str) -> Any:
        return 0

    eraser.register("spool", sweep)
    aftercall = AfterCall(
        AfterCallServices(
            store=on.store,
            eraser=eraser,
            recognise_rest=nothing,
            writer_for=lambda _: writer,
            check=lambda draft, _: draft,
            encode=encode,
            end_unrecorded=nothing,
        ),
        database_url=engine_url("", on.folder),
        executor_id="here",
        retry_after_s=0.01,
    )
    await aftercall.launch()
    for what, session_id in call.after:
        assert what == "finish"
        await aftercall.begin(session_id)
    for _ in range(2):
        await asyncio.wait_for(aftercall.wait(call.session_id), WAIT_S)
        await aftercall.sweep()
        await aftercall.begin(call.session_id)
    runs, _ = await asyncio.to_thread(aftercall.engine._runs, call.session_id)
    await aftercall.close()
    items, _ = await on.store.inbox(CLINIC)
    return runs, writer.written, [item.kind for item in items]


# -- the table --------------------------------------------------------------


@pytest.mark.parametrize(("end", "paused"), CASES, ids=NAMES)
async def test_it_begins_the_workflow_once(
    call: Call, monkeypatch: pytest.MonkeyPatch, end: End, *, paused: bool
) -> None:
    await call.begin(CLINIC)
    await call.pass_time(2)
    if paused:
        await call.act("pause")
        await call.pass_time(1)
    assert call.after == [], "a pause begins nothing"
    if end is nobody_speaks:
        monkeypatch.setattr(gate_world, "sound", _hush)
    await end(call)
    assert (call.row["capture"], call.row["bot"], call.row["bot_end_reason"]) == ("finished", "done", ENDS[end])
    await call.pass_time(12)  # nothing ends it a second time, however long it goes on
    for who in (CLIENT, DOCTOR):
        if call.people[who].page is not None:
            await call.leave(who)
    await call.pass_time(7)
    assert call.after == [("finish", call.session_id)]
    if end in WHOLE and not paused:
        await check_what_comes_of_it(call)


@pytest.mark.soak
@pytest.mark.parametrize(("end", "paused"), CASES, ids=NAMES)
async def test_of_every_end_comes_one_note_and_one_item(
    call: Call, monkeypatch: pytest.MonkeyPatch, end: End, *, paused: bool
) -> None:
    await call.begin(CLINIC)
    await call.pass_time(2)
    if paused:
        await call.act("pause")
    if end is nobody_speaks:
        monkeypatch.setattr(gate_world, "sound", _hush)
    await end(call)
    await check_what_comes_of_it(call)


async def check_what_comes_of_it(call: Call) -> None:
    assert await carry_out(call) == (1, 1, ["draft_ready"])
    row = call.row
    assert (row["audio"], row["transcript"], row["note"]) == ("erased", "ready", "draft")


async def test_where_nothing_was_captured_there_is_no_note(call: Call) -> None:
    await call.open(CLINIC)
    await call.meet()
    await call.act("start")  # the client is still thinking about it
    assert call.row["capture"] == "consent_pending"
    await everybody_leaves(call)
    row = call.row
    assert (row["capture"], row["audio"], row["transcript"], row["note"]) == ("off", "absent", "absent", "absent")
    assert (call.after, row["bot"]) == ([], "done"), "no workflow, no bot left behind"
    assert (await call.on.store.inbox(CLINIC))[0] == []


async def test_captured_silence_makes_no_note_and_says_so_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_world, "sound", _hush)
    await call.begin(CLINIC)
    await call.pass_time(2)
    await everybody_leaves(call)
    assert call.after == [("finish", call.session_id)]
    runs, written, items = await carry_out(call)
    assert (runs, written, items) == (1, 0, ["failed"])
    (item,), _ = await call.on.store.inbox(CLINIC)
    assert item.reason_slug == "audio-too-short"
    assert call.row["note"] == "absent"


def _hush(start: int, end: int) -> Pcm:
    return np.zeros(end - start, np.int16)
