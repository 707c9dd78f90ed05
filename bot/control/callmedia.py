"""The sound of one call while the bot is in it: room, lanes, windows, words.

Owns everything that runs between the room and the database for one session. It knows gate states, not why they are
so: consent and capture are decided in :mod:`bot.control.live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.asr.scheduler import LaneVoice, Scheduler, SetAside
from bot.clock import CallClock, Clock
from bot.control.hearing import Hearing
from bot.control.keeping import Keeper, warning_of
from bot.errors import QuietnoteError
from bot.events import (
    AudioFrame,
    BoundaryReason,
    EndReason,
    Gap,
    GapReason,
    GateState,
    LaneBoundary,
    LaneLevel,
    Ledger,
    Role,
    Segment,
    SpeechWindow,
    ms_of,
    whole_ms,
)
from bot.ice import IceServer
from bot.media.builtin import BuiltinRoom
from bot.media.pipeline import LanePipeline
from bot.media.room import LaneStarted, RoomEvent
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.media.worker import MediaThread
from bot.store.sessions import SessionStore
from bot.store.vault import Vault

log = structlog.get_logger()

TICK_S = 0.1
LEVELS_EVERY = 2
"""Ticks between level messages: five a second."""
LEDGER_EVERY = 10
"""Ticks between ledger messages and saved counters: one a second, as often as a chunk is sealed."""
IN_FLIGHT_MS = 400
"""How long after a boundary the last samples spoken before it may still arrive."""
DRAIN_TIMEOUT_S = 30.0
GAP_SAMPLES = 16_000
"""Shortest hole in a lane that the transcript states: one second."""


@dataclass(frozen=True, slots=True)
class MediaServices:
    """What every call of this process shares."""

    clock: Clock
    store: SessionStore
    vault: Vault
    worker: MediaThread
    vad: SileroVad
    scheduler: Scheduler
    spool_dir: Path
    ptime_ms: int
    ice_servers: tuple[IceServer, ...] = ()


@dataclass(slots=True)
class _Lane:
    pipeline: LanePipeline
    voice: LaneVoice
    committed_through_sample: int
    level: LaneLevel | None = None
    absent_from: int | None = None
    """Where frames stopped coming, or the gate opened without one, until a frame comes. Media thread only."""
    open: bool = False
    turned_at: int = 0
    """Where its gate last opened or shut. Media thread only."""


class CallMedia:
    """Implements :class:`bot.media.room.RoomListener` for one session."""

    def __init__(
        self,
        services: MediaServices,
        session_id: str,
        call_clock: CallClock,
        *,
        language: str,
        spool_kind: str,
        on_segment: Callable[[Segment], Awaitable[None]],
        on_room_event: Callable[[RoomEvent], None],
        on_fault: Callable[[str], None],
        on_set_aside: Callable[[str, SetAside], None],
        on_first_sound: Callable[[], None],
    ) -> None:
        self._services = services
        self._session_id = session_id
        self.call_clock = call_clock
        self._language = language
        self._spool_kind = spool_kind
        self._on_room_event = on_room_event
        self._on_fault = on_fault
        self._on_set_aside = on_set_aside
        self._lanes: dict[str, _Lane] = {}
        self._lane_of: dict[str, str] = {}
        self._gates: dict[str, GateState] = {}
        self._withheld_from: dict[str, int] = {}
        """Where others began to be captured without somebody who has not agreed."""
        self._making = asyncio.Lock()
        self._words = Keeper(
            services.store, session_id, on_segment=on_segment, on_committed=self._committed, on_fault=on_fault
        )
        self._loop = asyncio.get_running_loop()

        def first_sound() -> None:
            self._loop.call_soon_threadsafe(on_first_sound)

        self.hearing = Hearing(call_clock.now_sample, first_sound)
        """Whose sound arrives."""
        self.room: BuiltinRoom | None = None

    # -- the room ----------------------------------------------------------------------------------------------------

    async def open(self, people: Mapping[str, Role]) -> None:
        """Make the lanes and take a seat in the room."""
        for participant_id, role in people.items():
            await self.ensure_lane(participant_id, role)
        self._words.start()
        self.room = BuiltinRoom(
            call_clock=self.call_clock,
            clock=self._services.clock,
            worker=self._services.worker,
            lane_ids=self._lane_of.__getitem__,
            ptime_ms=self._services.ptime_ms,
            ice_servers=self._services.ice_servers,
        )
        await self.room.join(self)

    async def recover(self, now: int) -> int | None:
        """After a restart: recognise what the spools hold, and count time up to ``now``.

        Where what is known of any lane ends, if there is one: from there on the service was away.
        """
        known: list[int] = []
        await self._on_worker(lambda lane: known.append(lane.pipeline.recover(lane.committed_through_sample, now)))
        return max(known, default=None)

    async def ensure_lane(self, participant_id: str, role: Role) -> None:
        """Give a participant their lane; the same person always gets the same one back."""
        async with self._making:  # two doors may ask at once
            if participant_id not in self._lane_of:
                await self._make_lane(participant_id, role)

    async def _make_lane(self, participant_id: str, role: Role) -> None:
        self.hearing.expect(participant_id)
        record = await self._services.store.ensure_lane(self._session_id, participant_id, role)
        services = self._services
        loop = asyncio.get_running_loop()
        voice = LaneVoice(self._session_id, record.id, participant_id, role, self._language)

        def on_window(window: SpeechWindow) -> None:
            services.scheduler.submit(window, voice, self._words.put, on_set_aside)

        def on_set_aside(aside: SetAside) -> None:
            self._on_set_aside(participant_id, aside)

        def on_level(level: LaneLevel) -> None:
            loop.call_soon_threadsafe(self._note_level, level)

        def on_spool_fault(error: QuietnoteError) -> None:
            loop.call_soon_threadsafe(self._on_fault, warning_of(error))

        def open_pipeline() -> LanePipeline:
            return LanePipeline(
                lane_id=record.id,
                vad=services.vad,
                spool=Spool(
                    services.spool_dir,
                    services.vault,
                    self._session_id,
                    record.id,
                    kind=self._spool_kind,
                    hash_tree=record.hash_tree,
                    on_fault=on_spool_fault,
                ),
                on_window=on_window,
                on_level=on_level,
                on_boundary=self._note_boundary,
                ledger=record.ledger,
                in_flight_ms=IN_FLIGHT_MS,
            )

        pipeline = await asyncio.to_thread(open_pipeline)
        self._lanes[record.id] = _Lane(pipeline, voice, record.committed_through_sample)
        self._lane_of[participant_id] = record.id

    def event(self, event: RoomEvent) -> None:
        """Pass what happened in the room upwards."""
        if isinstance(event, LaneStarted):
            log.info("lane_started", session_id=self._session_id, lane_id=event.lane_id)
        self._on_room_event(event)

    def frame(self, frame: AudioFrame) -> None:
        """Hand a frame to its lane's gate. On the media thread."""
        lane = self._lanes.get(frame.lane_id)
        if lane is None:
            return
        known = lane.pipeline.cursor
        if lane.absent_from is not None and frame.end_sample > known:  # what comes too late ends no absence
            self._gap(lane, lane.absent_from, max(frame.start_sample - frame.lost_before, known), GapReason.ABSENT)
            lane.absent_from = None
        if frame.lost_before >= GAP_SAMPLES and self._gates.get(lane.voice.participant_id) is GateState.OPEN:
            self._gap(lane, frame.start_sample - frame.lost_before, frame.start_sample, GapReason.LOST)
        lane.pipeline.gate(frame)
        self.hearing.frame(lane.voice.participant_id, frame.end_sample)

    def _note_boundary(self, boundary: LaneBoundary) -> None:
        """A captured stretch ended. On the media thread."""
        lane = self._lanes.get(boundary.lane_id)
        if lane is None or boundary.reason is not BoundaryReason.ABSENT:
            return
        if lane.open:
            lane.absent_from = max(boundary.at_sample, lane.turned_at)
        else:  # it is told of later than of the gate that shut meanwhile
            self._gap(lane, boundary.at_sample, lane.turned_at, GapReason.ABSENT)

    def _turned(self, lane: _Lane, state: GateState, at_sample: int) -> None:
        """A gate opened: absent until a frame comes. It shut: absent up to here. On the media thread."""
        lane.open, lane.turned_at = state is GateState.OPEN, at_sample
        if lane.open:
            lane.absent_from = at_sample if lane.absent_from is None else lane.absent_from
        elif lane.absent_from is not None:
            self._gap(lane, lane.absent_from, at_sample, GapReason.ABSENT)
            lane.absent_from = None

    def _gap(self, lane: _Lane, start: int, end: int, reason: GapReason) -> None:
        """State a hole in a lane, if it is long enough to matter to a reader. On the media thread."""
        if end - start >= GAP_SAMPLES:
            gap = Gap(ms_of(start), ms_of(end), reason, lane.voice.participant_id)
            self._loop.call_soon_threadsafe(self._words.put, gap)

    # -- gates -------------------------------------------------------------------------------------------------------

    def set_gates(self, gates: Mapping[str, GateState], at_sample: int) -> int:
        """Set each participant's gate from ``at_sample`` on; from when on all of them really hold, a whole millisecond.

        Safe at any moment; nothing is awaited. A lane that is already past ``at_sample`` (packets may run a few
        milliseconds ahead of the clock) changes where it is.
        """
        holds = at_sample
        for participant_id, state in gates.items():
            lane_id = self._lane_of.get(participant_id)
            if lane_id is None or self._gates.get(participant_id) is state:
                continue
            self._gates[participant_id] = state
            lane = self._lanes[lane_id]
            at = lane.pipeline.set_state(state, at_sample)
            self._services.worker.post(self._turned, lane, state, at)
            holds = max(holds, at)
        holds = whole_ms(holds)
        self._note_withheld(holds)
        return holds

    def _note_withheld(self, at_sample: int) -> None:
        """State where others were captured and somebody's lane was not, for want of their consent."""
        anybody = GateState.OPEN in self._gates.values()
        held = {pid for pid, state in self._gates.items() if anybody and state is GateState.WITHHELD}
        for participant_id in self._withheld_from.keys() - held:
            start = self._withheld_from.pop(participant_id)
            if at_sample - start >= GAP_SAMPLES:
                self._words.put(Gap(ms_of(start), ms_of(at_sample), GapReason.WITHHELD, participant_id))
        for participant_id in held - self._withheld_from.keys():
            self._withheld_from[participant_id] = at_sample

    def drop_open(self, participant_id: str) -> None:
        """Throw away what of this lane is not yet in words: the open window, the pre-roll, waiting decodes."""
        lane_id = self._lane_of.get(participant_id)
        if lane_id is None:
            return
        pipeline = self._lanes[lane_id].pipeline

        def drop() -> None:
            pipeline.discard_open()
            self._services.scheduler.forget_lane(self._session_id, lane_id)
            # after whatever the recogniser handed over before
            self._loop.call_soon_threadsafe(self._words.drop_lane, lane_id)

        self._words.drop_lane(lane_id)
        self._services.worker.post(drop)

    def tick(self) -> None:
        """Let lanes account for time in which no frame came."""
        now = self.call_clock.now_sample()
        for lane in self._lanes.values():
            self._services.worker.post(lane.pipeline.elapse, now)

    # -- figures -----------------------------------------------------------------------------------------------------

    def levels(self) -> dict[str, dict[str, float]]:
        """The loudness of each lane that is heard right now, by participant."""
        now = self.call_clock.now_sample()
        return {
            lane.voice.participant_id: {
                "rms_dbfs": round(lane.level.rms_dbfs, 1),
                "peak_dbfs": round(lane.level.peak_dbfs, 1),
            }
            for lane in self._lanes.values()
            if lane.level is not None and now - lane.level.at_sample < 16_000
        }

    def lag_ms(self) -> int:
        """How old the oldest ended utterance is that is not yet in words."""
        return self._services.scheduler.lag_ms(self._session_id)

    def ledgers(self) -> dict[str, Ledger]:
        """Each participant's account so far."""
        return {lane.voice.participant_id: lane.pipeline.ledger() for lane in self._lanes.values()}

    async def save_ledgers(self) -> None:
        """Persist the counters and the hash trees."""
        books = {lane_id: (lane.pipeline.ledger(), lane.pipeline.hash_tree()) for lane_id, lane in self._lanes.items()}
        await self._services.store.save_ledgers(self._session_id, books)

    def _note_level(self, level: LaneLevel) -> None:
        lane = self._lanes.get(level.lane_id)
        if lane is not None:
            lane.level = level

    # -- words -------------------------------------------------------------------------------------------------------

    async def save_words(self) -> bool:
        """Store the finals that could not be stored yet; False while the database takes none."""
        return await self._words.save()

    def keep_gap(self, gap: Gap) -> None:
        """Have a gap stored as soon as the database takes it, in its turn with the finals."""
        self._words.put(gap)

    def _committed(self, segment: Segment) -> None:
        self._services.worker.post(self._lanes[segment.lane_id].pipeline.committed, segment.committed_through_sample)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def finish(self, at_sample: int) -> bool:
        """End every lane at ``at_sample``, wait for the last words, save the books. True when every ledger closes."""
        await asyncio.sleep(IN_FLIGHT_MS / 1000)
        await self._on_worker(lambda lane: lane.pipeline.finish(at_sample))
        drained = await self._services.scheduler.drain(self._session_id, DRAIN_TIMEOUT_S)
        if drained:
            await self._words.settle()
        await self._on_worker(lambda lane: lane.pipeline.flush())
        await self.save_ledgers()
        return all(lane.pipeline.ledger().closes for lane in self._lanes.values())

    async def discard(self, at_sample: int) -> int:
        """Throw away all that is held, of how many lanes; nothing recognised later is delivered."""
        self._services.scheduler.forget(self._session_id)
        self._words.forget()
        await self._on_worker(lambda lane: lane.pipeline.discard(at_sample))
        await self.save_ledgers()
        return len(self._lanes)

    async def close(self, reason: EndReason) -> None:
        """Leave the room and end every task. Idempotent."""
        room, self.room = self.room, None
        if room is not None:
            await room.leave(reason)
        await self._words.close()

    async def _on_worker(self, act: Callable[[_Lane], None]) -> None:
        """Run ``act`` for every lane on the media thread, and wait until it is done."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def run() -> None:
            try:
                for lane in self._lanes.values():
                    act(lane)
            finally:
                loop.call_soon_threadsafe(done.set_result, None)

        while not self._services.worker.post(run):  # noqa: ASYNC110  full only for a moment; packets are dropped first
            await asyncio.sleep(0.01)
        await asyncio.wait_for(done, DRAIN_TIMEOUT_S)
