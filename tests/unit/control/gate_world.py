"""A session with real control code, lanes, ledger, spool, vault and database; people, sound and time are scripted.

Time stands still until a test moves it: :meth:`GateWorld.pass_time` walks in eighths of a second, brings everybody's
sound up to the moment, and lets what sleeps wake. Between two moves everything that can go on has gone on
(:meth:`GateWorld.settle`), unless the database is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from bot.clinics import CapturePolicy, ClinicConfig, ConsentPolicy
from bot.clock import CallClock, ManualClock
from bot.control import callmedia, endings, keeping, live, registry
from bot.control.capture import Actor
from bot.control.live import LiveServices, LiveSession
from bot.control.mediaservices import MediaServices
from bot.control.registry import LiveSessions
from bot.errors import ProblemError
from bot.events import AudioFrame, AudioState, CapturedAudio, CaptureState, Role, TranscriptState
from bot.media import spool
from bot.media.pipeline import LanePipeline
from bot.media.room import ControlMessage, Member
from bot.store import ground
from bot.store.bus import Bus
from bot.store.clinic_store import ClinicStore
from bot.store.parts import audio_name
from bot.store.sessions import NewParticipant, NewSession, SessionStore
from bot.store.vault import FileVault
from tests.unit.control.gate_parts import (
    HeldDatabase,
    Inline,
    Instant,
    NoBus,
    PumpedScheduler,
    ScriptedRoom,
    Sleeper,
    sound,
)
from tests.unit.control.rooms import Page
from tests.unit.media.fakes import ScriptedVad

DOCTOR, CLIENT, PARENT, HELPER = "dr", "cl", "gd", "in"
ROLES = {DOCTOR: Role.CLINICIAN, CLIENT: Role.CLIENT, PARENT: Role.GUARDIAN, HELPER: Role.INTERPRETER}
PAUSE_ALL, WITHHOLD = "pause-all", "withhold"
ABSENT_S, ALONE_S = 2, 600
STEP_S = 0.125
"""Time moves by eighths of a second, which a float holds exactly: no clock is a sample off another."""
CALM = 12
"""Turns of the loop without anything under way after which nothing more goes on by itself."""


@dataclass(frozen=True)
class Kept:
    """Samples that a gate let through."""

    participant_id: str
    start: int
    end: int


@dataclass
class Person:
    """Somebody with a microphone."""

    member: Member
    page: Page | None = None
    heard_to: int = 0
    """Up to which sample their sound has been sent."""


@dataclass
class Ground:
    """What outlives every process: database, keys, disk, time."""

    folder: Path
    db: HeldDatabase
    clock: ManualClock
    sleeper: Sleeper
    vault: FileVault
    store: SessionStore
    loop: asyncio.AbstractEventLoop
    beside: sqlite3.Connection
    kept: list[Kept] = field(default_factory=list)
    lane_owner: dict[str, str] = field(default_factory=dict)

    async def close(self) -> None:
        self.beside.close()
        await self.db.close()
        self.vault._open.clear()  # each key holds a file open

    def note(self, audio: CapturedAudio) -> None:
        assert np.array_equal(audio.pcm, sound(audio.start_sample, audio.end_sample)), "sound out of its place"
        self.kept.append(Kept(self.lane_owner[audio.lane_id], audio.start_sample, audio.end_sample))

    def row(self, session_id: str) -> dict[str, Any]:
        """The session as it is recorded, read past everything that may be held."""
        found = dict(self.beside.execute("select * from sessions where id = ?", (session_id,)).fetchone())
        people = self.beside.execute("select id, consent from participants where session_id = ?", (session_id,))
        acks = self.beside.execute(
            "select participant_id, message_id from control_messages where session_id = ?", (session_id,)
        )
        return found | {
            "consents": {person["id"]: person["consent"] for person in people},
            "acks": {(ack["participant_id"], ack["message_id"]) for ack in acks},
        }


async def open_ground(folder: Path, patch: pytest.MonkeyPatch) -> Ground:
    """Database, keys and clock, and every module that waits on the test's time."""
    clock = ManualClock()
    db = HeldDatabase(f"sqlite+aiosqlite:///{folder / 'gate.db'}")
    await db.open()
    clinic = ClinicConfig(
        id=PAUSE_ALL, name="Harbour", capture=CapturePolicy(clinician_absent_s=ABSENT_S, alone_s=ALONE_S)
    )
    other = clinic.model_copy(update={"id": WITHHOLD, "consent": ConsentPolicy(late_joiner="withhold_lane")})
    await ClinicStore(db, clock).seed({PAUSE_ALL: clinic, WITHHOLD: other})
    vault = FileVault(folder / "vault", bytes(range(32)))
    sleeper = Sleeper(clock)
    beside = sqlite3.connect(folder / "gate.db", isolation_level=None)
    beside.row_factory = sqlite3.Row
    store = SessionStore(db, vault, clock)
    made = Ground(folder, db, clock, sleeper, vault, store, asyncio.get_running_loop(), beside)

    class CountedPipeline(LanePipeline):
        def captured(self, audio: CapturedAudio) -> None:
            made.note(audio)
            super().captured(audio)

    for module in (callmedia, endings, keeping, live, ground):
        patch.setattr(module, "asyncio", sleeper)
    patch.setattr(callmedia, "BuiltinRoom", ScriptedRoom)
    patch.setattr(callmedia, "LanePipeline", CountedPipeline)
    return made


class GateWorld:
    """One session on its ground, served by one process after another."""

    def __init__(self, on: Ground) -> None:
        self.on = on
        self.clock = on.clock
        self.people = {who: Person(Member(who, role, who)) for who, role in ROLES.items()}
        self.after: list[tuple[str, str]] = []
        """What was handed to the workflow: ``finish`` or ``discard``, and the session."""
        self.session_id = ""
        self.delay_s = 0.0
        """How long sound is on its way."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._clock: CallClock | None = None
        self.faults: list[BaseException] = []

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self, clinic_id: str) -> None:
        self.on.kept.clear()
        people = tuple(NewParticipant(who, role, who) for who, role in ROLES.items())
        record = await self.on.store.create(NewSession(clinic_id, clinician_user_id="usr_1", participants=people))
        self.session_id = record.id
        await self.begin_process()

    async def begin_process(self) -> None:
        self.worker = Inline()
        self.scheduler = PumpedScheduler(Instant(), self.clock)
        self.scheduler.start()
        media = MediaServices(
            clock=self.clock,
            store=self.on.store,
            vault=self.on.vault,
            worker=cast("Any", self.worker),
            vad=cast("Any", ScriptedVad()),
            scheduler=self.scheduler,
            spool_dir=self.on.folder / "spool",
            ptime_ms=60,
        )

        async def begin(session_id: str) -> None:
            self.after.append(("finish", session_id))

        async def discard(session_id: str) -> None:
            self.after.append(("discard", session_id))

        services = LiveServices(
            media=media, bus=cast("Bus", NoBus()), begin_aftercall=begin, discard_session=discard
        )
        self.sessions: LiveSessions = registry.LiveSessions(services)
        self.on.store._listeners.clear()
        self.live: LiveSession = await self.sessions.of(self.session_id)

    async def crash(self) -> None:
        """kill -9: nothing of the process goes on, and what it had not written is gone."""
        self.on.db.killed.set()
        self.worker.dead = True
        while self.on.db.busy:
            await self.on.db.idle.wait()
        mine = asyncio.all_tasks() - {asyncio.current_task()}
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        self.tasks.clear()
        for person in self.people.values():
            person.page = None
        self.on.db.killed.clear()
        self.on.db.go_on()
        await self.begin_process()

    async def recover(self) -> None:
        """What every start of a process does first."""
        row = self.on.row(self.session_id)
        mine = [r for r in await self.on.store.unfinished() if r.id == self.session_id]
        if mine:
            await self.sessions._take_up(await self.sessions.of(self.session_id))
        assert row["id"] == self.session_id
        self.live = await self.sessions.of(self.session_id)

    async def deal_with_end(self) -> bool:
        """What the workflow does with a part that was handed on: its words are there, its sound is erased."""
        store, record = self.on.store, await self.on.store.get(self.session_id)
        handed_on = self.after.count(("finish", self.session_id)) >= record.part
        if record.capture is not CaptureState.FINISHED or record.audio is not AudioState.HELD or not handed_on:
            return False
        self.scheduler.forget(self.session_id)
        await self.sessions.let_go(self.session_id)
        await store.raise_epoch(self.session_id)
        name = audio_name(self.session_id, record.part)
        assert self.on.vault.destroy_audio(name) or not spool.lanes_held(self.on.folder / "spool", name)
        spool.sweep(self.on.folder / "spool", name)
        if record.transcript is TranscriptState.LIVE:
            await store.change(self.session_id, "transcript.ready", transcript=TranscriptState.READY)
        await store.change(self.session_id, "audio.erased", audio=AudioState.ERASED)
        await self.live.refresh()
        return True

    async def close(self) -> None:
        await self.crash()

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The sample of this moment; 0 before the first Start."""
        if self._clock is None and (since := self.on.row(self.session_id)["call_started_at"]) is not None:
            self._clock = CallClock(self.clock, started_at=datetime.fromisoformat(since).replace(tzinfo=UTC))
        return self._clock.now_sample() if self._clock is not None else 0

    async def settle(self) -> None:
        """Let everything go on that can."""
        calm = 0
        while calm < CALM:
            self.scheduler.pump()
            await asyncio.sleep(0)
            calm += 1
            if self.on.db.busy:
                await self.on.db.idle.wait()
                calm = 0

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            self.hear()
            self.on.sleeper.wake()
            await self.settle()

    def hear(self) -> None:
        """Everybody's sound up to now, as far as it has arrived."""
        media = self.live.media
        if media is None:
            return
        to = max(0, self.now - int(self.delay_s * 16_000))
        for who, person in self.people.items():
            lane_id = media._lane_of.get(who)
            if person.page is None or lane_id is None or not self.live.lobby.seats[who].admitted:
                person.heard_to = to
                continue
            self.on.lane_owner[lane_id] = who
            if to > person.heard_to:
                media.frame(AudioFrame(lane_id, person.heard_to, sound(person.heard_to, to)))
                person.heard_to = to

    # -- people --------------------------------------------------------------------------------------------------------

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Have something begin; what goes wrong in it, other than a refusal, is a fault."""
        task: asyncio.Task[Any] = self.on.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.faults.append(error)


    def come_in(self, who: str, held: Sequence[Mapping[str, Any]] = ()) -> None:
        """Somebody opens their page, with what they could not say before; one that is refused closes again."""
        person = self.people[who]
        page = person.page = Page()

        async def enter() -> None:
            try:
                await self.live.enter(person.member, page, held=held)
            except ProblemError:
                await self.live.exit(person.member, page)
                person.page = None if person.page is page else person.page

        self.spawn(enter())

    def let_in(self, who: str, actor: Actor) -> None:
        """The clinician lets somebody in; if that fails, they may try again."""

        async def admit() -> None:
            with contextlib.suppress(ProblemError):
                await self.live.admit(actor, who)

        self.spawn(admit())

    def say(self, who: str, page: Page, message: Mapping[str, Any]) -> asyncio.Task[Any]:
        return self.spawn(self.live.page_message(self.people[who].member, page, message))

    def say_by_channel(self, who: str, message: Mapping[str, Any]) -> None:
        room = self.room
        assert room is not None
        event = ControlMessage(who, json.dumps(message).encode())
        self.on.loop.call_soon(self.live._on_room_event, event)

    @property
    def room(self) -> ScriptedRoom | None:
        media = self.live.media
        room = cast("ScriptedRoom | None", media.room if media is not None else None)
        return room if room is not None and room.listener is not None else None
