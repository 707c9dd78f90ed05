"""A lane from the gate to the speech windows: gate -> spool -> windows, and the spool emptied behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from bot.events import (
    SAMPLES_PER_MS,
    AudioFrame,
    BoundaryReason,
    CapturedAudio,
    GateState,
    LaneBoundary,
    LaneLevel,
    Ledger,
    SpeechWindow,
)
from bot.media.forgetting import Forgetting, LaneAges
from bot.media.lane import Lane
from bot.media.spool import CHUNK_SAMPLES, Spool
from bot.media.windows import FrameModel, Windower

AT_RISK = "at_risk_from"
RELIEVE_EVERY = 10
"""Looks at the time, ten a second, between two tries to put on the disk what has to stay in memory."""
ERASE_STEP = 3 * CHUNK_SAMPLES
"""Silence is erased this much at a time: each erasure turns the key ratchet, which waits for the disk."""


def window_id(lane_id: str, start_sample: int) -> str:
    """The id of the window of a lane that begins at a sample: the same again when it is recognised again."""
    return "seg_" + sha256(f"{lane_id}:{start_sample}".encode()).hexdigest()[:32]


class LanePipeline:
    """Owns one lane. ``set_state``, ``ledger`` and ``hash_tree`` may be called from any thread, the rest on the media
    thread only.
    """

    def __init__(
        self,
        *,
        lane_id: str,
        vad: FrameModel,
        spool: Spool,
        on_window: Callable[[SpeechWindow], None],
        on_level: Callable[[LaneLevel], None],
        on_boundary: Callable[[LaneBoundary], None] | None = None,
        on_rebooked: Callable[[int, int], None] | None = None,
        ledger: Ledger = Ledger(),  # noqa: B008 -- frozen
        in_flight_ms: int = 400,
        figures: Forgetting | None = None,
        now_sample: Callable[[], int] | None = None,
    ) -> None:
        """``figures`` are told how long sound is kept, by ``now_sample``, the call's clock."""
        self.lane_id = lane_id
        self._spool = spool
        self._ages = LaneAges(figures or Forgetting())
        self._on_window = on_window
        self._on_level = on_level
        self._on_boundary = on_boundary
        self._on_rebooked = on_rebooked
        self._lane: Lane = Lane(lane_id, self, ledger=ledger, in_flight_ms=in_flight_ms)
        self._now: Callable[[], int] = now_sample or (lambda: self._lane.cursor)
        self._windows = Windower(
            lane_id,
            vad,
            self._window,
            lambda start: window_id(lane_id, start),
            speech=ledger.speech,
            silence=ledger.silence,
            count_from=ledger.elapsed,
        )
        self._waiting: deque[int] = deque()
        """First samples of the windows that ended and whose words are not committed, with their ends in step."""
        self._waiting_ends: deque[int] = deque()
        self._in_flight = in_flight_ms * SAMPLES_PER_MS
        self._left_over = spool.first_sample is not None
        """An earlier process left audio that is not in words; nothing of it goes before :meth:`recover`."""
        self._ledger = ledger
        self._ends_at: int | None = None
        """Where the lane was shut off for good; its account ends there, however long its last words take."""
        self._was_open = False
        self._elapsed = 0
        self._at_risk: int | None = None
        self._pressure = 0.0

    # -- for any thread ------------------------------------------------------------------------------------------------

    def set_state(self, state: GateState, at_sample: int) -> int:
        """See :meth:`bot.media.lane.Lane.set_state`."""
        at = self._lane.set_state(state, at_sample)
        self._ends_at = at if state is GateState.OFF and self._was_open else None
        self._was_open = self._was_open or state in {GateState.OPEN, GateState.PAUSED}
        return at

    @property
    def cursor(self) -> int:
        """The sample up to which everything is accounted for."""
        return self._lane.cursor

    def ledger(self) -> Ledger:
        """The account up to the last sample that was rated as speech or silence: it closes at any moment."""
        return self._ledger

    def hash_tree(self) -> dict[str, Any]:
        """The tree over the lane's sealed chunks; with it, from where on words are due that a crash would cost."""
        at_risk = self._at_risk
        return self._spool.hash_tree | ({} if at_risk is None else {AT_RISK: at_risk})

    def pressure(self) -> float:
        """How much of what may wait in memory does, from 0 to 1."""
        return self._pressure

    @property
    def at_risk(self) -> bool:
        """True while words are due of sound that lies in memory only."""
        return self._at_risk is not None

    # -- in ------------------------------------------------------------------------------------------------------------

    def gate(self, frame: AudioFrame) -> None:
        """Take a frame from the room."""
        if self._ends_at is not None and frame.end_sample > self._ends_at:
            frame = replace(frame, pcm=frame.pcm[: max(0, self._ends_at - frame.start_sample)])
            if not len(frame.pcm):
                return
        self._lane.gate(frame)
        self._publish()

    def elapse(self, now_sample: int) -> None:
        """Account for time in which nothing came."""
        if self._ends_at is not None:
            now_sample = min(now_sample, self._ends_at + self._in_flight)
        self._lane.elapse(now_sample)
        self._elapsed += 1
        if self._elapsed % RELIEVE_EVERY == 0:
            self._spool.relieve()
        self._publish()

    def finish(self, at_sample: int) -> None:
        """End the lane at ``at_sample``: the open window becomes final, the rest is sealed."""
        self._lane.finish(at_sample)
        self._publish()

    def discard(self, at_sample: int) -> None:
        """End the lane and destroy all that is held of it."""
        self._lane.discard(at_sample)
        self._publish()

    def discard_open(self) -> None:
        """Destroy all that is not in words yet, and go on."""
        self._lane.discard_open()
        self._publish()

    def flush(self) -> None:
        """Seal what has been captured so far."""
        self._spool.flush()
        while self._spool.relieve():
            pass
        self._publish()

    def give_up(self) -> list[tuple[int, int]]:
        """Wait no longer for the words of windows that go when this process does: where each begins and ends."""
        waiting = list(zip(self._waiting, self._waiting_ends, strict=True))
        gone = [span for span in waiting if self._spool.only_in_memory(*span)]
        kept = [span for span in waiting if span not in gone]
        self._waiting, self._waiting_ends = deque(start for start, _ in kept), deque(end for _, end in kept)
        self._publish()
        return gone

    def committed(self, sample: int, at: int | None = None) -> None:
        """Everything before ``sample`` is in words in the database, since ``at`` on the call's clock: it goes now."""
        while self._waiting_ends and self._waiting_ends[0] <= sample:
            self._waiting.popleft()
            self._ages.committed(self._waiting_ends.popleft(), self._now() if at is None else at)
        self._erase(step=0, cut=True)
        self._publish()

    def recover(
        self,
        committed_through_sample: int,
        now_sample: int,
        at_risk_from: int | None = None,
        written: Sequence[tuple[int, int]] = (),
    ) -> tuple[int, list[tuple[int, int]]]:
        """After a restart: cut into windows what an earlier process left, and account for the time until now.

        ``written`` are the spans of samples after ``committed_through_sample`` that are in words already.
        Of the time since the account was last saved, what lies in the spool was captured; the rest is absent. Returns
        where what is known of the lane ends (with its last sealed sample, or where its account was saved), and what
        before that was captured and can be heard no more: it was in memory only from ``at_risk_from`` on, or the disk
        does not have it.
        """
        self._spool.erase_through(committed_through_sample)
        before, captured, end = self._lane.cursor, 0, self._lane.cursor
        known = max(before, committed_through_sample)
        for audio in self._spool.read(committed_through_sample):
            _hear(self._windows, audio, written)
            captured += max(0, audio.end_sample - max(audio.start_sample, before))
            end = max(end, audio.end_sample)
            known = audio.end_sample
        self._windows.boundary(LaneBoundary(self.lane_id, end, BoundaryReason.ABSENT))
        self._lane.resume_at(max(end, now_sample), captured)
        self._left_over = False
        self._erase(step=0)
        self._publish()
        gone = [span for span in self._spool.torn if span[0] < known]
        if at_risk_from is not None:
            gone.append((max(at_risk_from, committed_through_sample), max(known, before)))
        return known, gone

    # -- LaneSink ------------------------------------------------------------------------------------------------------

    def captured(self, audio: CapturedAudio) -> None:
        """From the lane: spooled first, so that a crash does not lose what is being looked at."""
        self._spool.append(audio)
        self._ages.captured(audio.start_sample, audio.end_sample)
        self._windows.captured(audio)
        self._erase(step=ERASE_STEP)

    def boundary(self, boundary: LaneBoundary) -> None:
        """From the lane: ends the open window, or throws everything away."""
        if boundary.reason is BoundaryReason.DISCARDED:
            self._windows.boundary(boundary)
            self._waiting.clear()
            self._waiting_ends.clear()
            self._spool.drop()
            self._ages.discarded()
            self._left_over = False
        else:
            self._spool.flush()
            self._windows.boundary(boundary)
            self._erase(step=0)
        if self._on_boundary is not None:
            self._on_boundary(boundary)

    def level(self, level: LaneLevel) -> None:
        """From the lane."""
        self._on_level(level)

    def rebooked(self, start_sample: int, end_sample: int) -> None:
        """From the lane."""
        if self._on_rebooked is not None:
            self._on_rebooked(start_sample, end_sample)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _window(self, window: SpeechWindow) -> None:
        if window.final:
            self._waiting.append(window.start_sample)
            self._waiting_ends.append(window.end_sample)
        self._on_window(window)

    def _erase(self, *, step: int, cut: bool = False) -> None:
        """Destroy what no window, ended or to come, can need; ``step``: only when it is at least so much. ``cut``: to
        the sample; else chunks that are needed in part stay whole.
        """
        first = self._spool.first_sample
        if first is None or self._left_over:
            return
        needed = self._waiting[0] if self._waiting else self._windows.needed_from
        if needed - first >= max(step, 1):
            self._spool.erase_through(needed)
            if cut:
                self._spool.cut(needed)
            held = self._spool.first_sample
            self._ages.destroyed(self._lane.cursor if held is None else held, self._now())

    def _publish(self) -> None:
        self._pressure = self._spool.pressure
        unfinished = self._waiting[0] if self._waiting else self._windows.open_from
        at_risk = self._spool.at_risk_from
        self._at_risk = None if unfinished is None or at_risk is None else max(unfinished, at_risk)
        account = self._lane.ledger
        speech, silence = self._windows.speech, self._windows.silence
        unrated = account.captured - speech - silence
        self._ledger = replace(
            account,
            elapsed=account.elapsed - unrated,
            captured=account.captured - unrated,
            speech=speech,
            silence=silence,
        )


def leftover_windows(
    lane_id: str, spool: Spool, vad: FrameModel, from_sample: int, written: Sequence[tuple[int, int]] = ()
) -> Iterator[SpeechWindow]:
    """The windows of what a spool still holds from a sample on, each ended: for recognition after the call.

    ``written`` are the spans of samples that are in words though they lie behind ``from_sample``: a stretch before them
    was set aside. They are left out, because another cut of the same sound would say it again.
    """
    ended: deque[SpeechWindow] = deque()
    cutter = Windower(
        lane_id, vad, lambda window: ended.append(window) if window.final else None, lambda s: window_id(lane_id, s)
    )
    end = from_sample
    for audio in spool.read(from_sample):
        _hear(cutter, audio, written)
        end = audio.end_sample
        while ended:
            yield ended.popleft()
    cutter.boundary(LaneBoundary(lane_id, end, BoundaryReason.FINISHED))
    yield from ended


def _hear(cutter: Windower, audio: CapturedAudio, written: Sequence[tuple[int, int]]) -> None:
    """Have sound cut into windows, but for what lies in spans that are in words; spans are in order."""
    at = audio.start_sample
    for start, end in written:
        if at < min(start, audio.end_sample):
            cutter.captured(audio.between(at, start))
        if max(at, start) < min(end, audio.end_sample):
            cutter.in_words(audio.between(max(at, start), end))
        at = max(at, end)
    if at < audio.end_sample:
        cutter.captured(audio.between(at, audio.end_sample))
