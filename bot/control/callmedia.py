"""The sound of one call while the bot is in it: room, lanes, windows, words.

Owns everything that runs between the room and the database for one session. It knows gate states, not why they are
so: consent and capture are decided in :mod:`bot.control.live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from bot.asr.leftovers import segments_of, written_spans
from bot.asr.scheduler import LaneVoice, SetAside
from bot.clock import CallClock
from bot.control.heard import HeardLane
from bot.control.hearing import Hearing
from bot.control.holes import Absence, Withheld
from bot.control.keeping import Keeper, warning_of
from bot.control.lobby import BOT_ID
from bot.control.mediaservices import MediaServices
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
    whole_ms,
)
from bot.media.builtin import BuiltinRoom
from bot.media.pipeline import AT_RISK, LanePipeline
from bot.media.room import LaneStarted, RoomEvent
from bot.media.spool import Spool

log = structlog.get_logger()

TICK_S = 0.1
LEVELS_EVERY = 2
"""Ticks between level messages: five a second."""
LEDGER_EVERY = 10
"""Ticks between ledger messages and saved counters: one a second, as often as a chunk is sealed."""
IN_FLIGHT_MS = 400
"""How long after a boundary the last samples spoken before it may still arrive."""
DRAIN_TIMEOUT_S = 30.0
MEMORY_DRAIN_TIMEOUT_S = 600.0
"""The same where sound lies in memory only: no later pass can make up for it."""
NOT_KEPT = "audio-not-kept"
"""Warning: sound was captured and could not be kept until its words were there."""


class CallMedia:
    """Implements :class:`bot.media.room.RoomListener` for one session."""

    def __init__(
        self,
        services: MediaServices,
        session_id: str,
        call_clock: CallClock,
        *,
        language: str,
        audio: str,
        epoch: int,
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
        self._audio = audio
        self._spool_kind = spool_kind
        self._on_room_event = on_room_event
        self._on_fault = on_fault
        self._on_set_aside = on_set_aside
        self._lanes: dict[str, HeardLane] = {}
        self._lane_of: dict[str, str] = {}
        self._gates: dict[str, GateState] = {}
        self._making = asyncio.Lock()
        self._words = Keeper(
            services.store,
            session_id,
            on_segment=on_segment,
            on_committed=self._committed,
            on_fault=on_fault,
            epoch=epoch,
        )
        self._loop = asyncio.get_running_loop()
        self._withheld = Withheld(self._words.put)

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
        self._services.scheduler.reopen(self._session_id)  # the end of an earlier part had it forgotten
        self._words.start()
        self.room = BuiltinRoom(
            call_clock=self.call_clock,
            clock=self._services.clock,
            worker=self._services.worker,
            lane_ids=self._lane_of.__getitem__,
            ptime_ms=self._services.ptime_ms,
            ice_servers=lambda: self._services.ice.of(self._session_id, BOT_ID),
        )
        await self.room.join(self)

    async def recover(self, now: int) -> int | None:
        """After a restart: recognise what the spools hold, and count time up to ``now``.

        Where what is known of any lane ends, if there is one: from there on the service was away.
        """
        known: list[int] = []
        segments = await segments_of(self._services.store, self._session_id)

        def take_up(lane: HeardLane) -> None:
            written = written_spans(lane.voice.lane_id, segments, lane.committed_through_sample)
            end, gone = lane.pipeline.recover(lane.committed_through_sample, now, lane.at_risk_from, written)
            known.append(end)
            for span in gone:
                self._loop.call_soon_threadsafe(self._words.put, lane.gap(span, GapReason.INTERRUPTED))

        await self._on_worker(take_up)
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
        absence = Absence(participant_id, lambda gap: loop.call_soon_threadsafe(self._words.put, gap))

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
                    self._audio,
                    record.id,
                    kind=self._spool_kind,
                    disk=services.disk,
                    hash_tree=record.hash_tree,
                    on_fault=on_spool_fault,
                ),
                on_window=on_window,
                on_level=on_level,
                on_boundary=self._note_boundary,
                on_rebooked=absence.rebooked,
                ledger=record.ledger,
                in_flight_ms=IN_FLIGHT_MS,
                figures=services.forgetting,
                now_sample=self.call_clock.now_sample,
            )

        pipeline = await asyncio.to_thread(open_pipeline)
        at_risk = record.hash_tree.get(AT_RISK)
        self._lanes[record.id] = HeardLane(pipeline, voice, record.committed_through_sample, absence, at_risk)
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
        lane.pipeline.gate(frame)  # may tell of what was lost, which decides what is stated of a hole that ends here
        lane.absence.frame(frame, known)
        self.hearing.frame(lane.voice.participant_id, frame.end_sample)

    def _note_boundary(self, boundary: LaneBoundary) -> None:
        """A captured stretch ended. On the media thread."""
        lane = self._lanes.get(boundary.lane_id)
        if lane is not None and boundary.reason is BoundaryReason.ABSENT:
            lane.absence.began(boundary.at_sample)

    def state_open_gaps(self) -> None:
        """State holes that go on, up to now: a process that is killed in one leaves it as an entry all the same."""
        if self._words.depth:
            return  # the database is behind: nothing is added that will be said again
        for lane in self._lanes.values():
            self._services.worker.post(lane.state_absence)
        self._withheld.so_far(self.call_clock.now_sample())

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
            self._services.worker.post(lane.absence.turned, state, at)
            holds = max(holds, at)
        holds = whole_ms(holds)
        self._withheld.note(self._gates, holds)
        return holds

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

    def pressure(self) -> float:
        """How much of what may wait in memory does, in the fullest lane, from 0 to 1."""
        return max((lane.pipeline.pressure() for lane in self._lanes.values()), default=0.0)

    def lag_ms(self) -> int:
        """How old the oldest ended utterance is that is not yet in words."""
        return self._services.scheduler.lag_ms(self._session_id)

    def ledgers(self) -> dict[str, Ledger]:
        """Each participant's account so far."""
        return {lane.voice.participant_id: lane.pipeline.ledger() for lane in self._lanes.values()}

    async def catch_up(self) -> None:
        """Account for the time before the lanes were opened, in which nothing was recorded, and keep that."""
        now = self.call_clock.now_sample()
        await self._on_worker(lambda lane: lane.pipeline.elapse(now))
        await self.save_ledgers()

    async def save_ledgers(self) -> None:
        """Persist the counters and the hash trees."""
        books = {lane_id: (lane.pipeline.ledger(), lane.pipeline.hash_tree()) for lane_id, lane in self._lanes.items()}
        await self._services.store.save_ledgers(self._session_id, books)

    def _note_level(self, level: LaneLevel) -> None:
        lane = self._lanes.get(level.lane_id)
        if lane is not None:
            lane.level = level

    # -- words -------------------------------------------------------------------------------------------------------

    @property
    def unstored(self) -> int:
        """Finals and gaps on their way to the database."""
        return self._words.depth

    async def save_words(self) -> bool:
        """Store the finals that could not be stored yet; False while the database takes none."""
        return await self._words.save()

    def keep_gap(self, gap: Gap) -> None:
        """Have a gap stored as soon as the database takes it, in its turn with the finals."""
        self._words.put(gap)

    def _committed(self, segment: Segment) -> None:
        committed = self._lanes[segment.lane_id].pipeline.committed
        self._services.worker.post(committed, segment.committed_through_sample, self.call_clock.now_sample())

    # -- the end -----------------------------------------------------------------------------------------------------

    async def finish(self, at_sample: int, *, for_good: bool = True) -> bool:
        """End every lane at ``at_sample``, wait for the last words, save the books. True when every ledger closes.

        Words that do not come in time come after the call, from the spool; those of sound that never reached a disk do
        not, unless the process ends and the call goes on (``for_good`` is false): the transcript says so.
        """
        await asyncio.sleep(IN_FLIGHT_MS / 1000)
        await self._on_worker(lambda lane: lane.finish(at_sample))
        at_risk = any(lane.pipeline.at_risk for lane in self._lanes.values())
        longest_s = MEMORY_DRAIN_TIMEOUT_S if at_risk else DRAIN_TIMEOUT_S
        if await self._services.scheduler.drain(self._session_id, longest_s):
            await self._words.settle()
        await self._on_worker(lambda lane: lane.pipeline.flush())
        if for_good:
            await self._give_up()
        await self.save_ledgers()
        return all(lane.pipeline.ledger().closes for lane in self._lanes.values())

    async def _give_up(self) -> None:
        gone: list[Gap] = []

        def ask(lane: HeardLane) -> None:
            gone.extend(lane.gap(span, GapReason.LOST) for span in lane.pipeline.give_up())

        await self._on_worker(ask)
        for gap in gone:
            log.error("sound_not_kept", session_id=self._session_id)
            self._on_fault(NOT_KEPT)
            await self._services.store.add_gap(self._session_id, gap)

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

    async def _on_worker(self, act: Callable[[HeardLane], None]) -> None:
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
