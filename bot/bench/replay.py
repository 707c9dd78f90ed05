"""A call replayed faster than it was spoken, through everything behind the decoder: the real gate, spool, VAD, windows,
queue, engine, stores and after-call workflow of a service in this process.

The service gets its time from :class:`ReplayClock`. It runs as any clock does, and the player moves it on beside that,
60 ms of sound at a time, whenever no utterance waits to be written down and stored. While one does, sound comes as fast
as it is spoken, and once the utterance is :data:`HELD_MS` old the clock stands still until it is written: so the
recogniser is never further behind, on the call's clock, than in a call that is not replayed. What is told on that clock
(ages, delays, the ledger) is what it would have been live.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from bot.app import Running
from bot.bench.pause_talk import CLIENT, CLINICIAN, PEOPLE, Talk, talk_of
from bot.control.callmedia import CallMedia
from bot.control.capture import Actor, ActorKind
from bot.control.live import LiveSession
from bot.demo.dialogue import load
from bot.events import (
    SAMPLE_RATE_HZ,
    SAMPLES_PER_MS,
    AudioFrame,
    CaptureAction,
    CaptureState,
    ConsentState,
    Pcm,
    Role,
    SessionEvent,
)
from bot.media.room import Member
from bot.store.records import NewParticipant, NewSession

STEP = 60 * SAMPLES_PER_MS
"""Sound that comes at once: as long as the packets that the bot asks browsers for."""
HELD_MS = 400
LOOK_S = 0.004
AT_MOST_S = 0.1
"""A machine that is busy elsewhere looks late: the call's clock does not run on meanwhile."""
BREAK_S = 5.0
"""Nobody speaks for so long between two rounds of the bundled conversation."""
CLINIC = "demo"
WITHIN_S = 300.0


class ReplayClock:
    """Runs as the machine's clock does, is moved on beside that, and can be kept short. Any thread may read it."""

    def __init__(self, starts: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._starts = starts or datetime.now(UTC)
        self._passed_s = 0.0
        self._since_s = time.monotonic()
        self._most_s: float | None = None
        """How far it runs from there on by itself; None: on and on."""

    def monotonic_s(self) -> float:
        """Seconds since it was made."""
        with self._lock:
            return self._now_s()

    def now(self) -> datetime:
        """The wall time of the call."""
        return self._starts + timedelta(seconds=self.monotonic_s())

    def advance(self, seconds: float) -> None:
        """Move it on."""
        with self._lock:
            self._passed_s += seconds

    def run(self, most_s: float | None = None) -> None:
        """Run on from now, but no further than that before the next call, however late it comes; 0: stand still."""
        with self._lock:
            self._passed_s, self._since_s = self._now_s(), time.monotonic()
            self._most_s = most_s

    def _now_s(self) -> float:
        ran_s = time.monotonic() - self._since_s
        return self._passed_s + (ran_s if self._most_s is None else min(ran_s, self._most_s))


def conversation() -> Talk:
    """The bundled conversation as a loop, with a break in it."""
    talk = talk_of(load(), dict.fromkeys(PEOPLE, ()))
    quiet = round(BREAK_S * SAMPLE_RATE_HZ)
    rng = np.random.default_rng(2)
    sound = {
        who: np.concatenate([pcm, rng.normal(0, 8, quiet).astype(np.int16)]).astype(np.int16)
        for who, pcm in talk.sound.items()
    }
    return Talk(talk.dialogue, talk.duration_ms + round(BREAK_S * 1000), talk.turns, talk.words, sound)


class Page:
    """A page that shows nothing."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take a message."""

    async def close(self, code: int, reason: str) -> None:
        """Be closed."""


@dataclass(slots=True)
class Ends:
    """When, on the machine's clock, a session came to what."""

    at_s: dict[str, float] = field(default_factory=dict)
    """By the event's name, the first time."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: SessionEvent) -> None:
        """Note an event that was committed."""
        self.at_s.setdefault(event.kind, time.monotonic())
        self._changed.set()

    async def any_of(self, *kinds: str, within_s: float = WITHIN_S) -> str:
        """Wait for the first of these; which it is. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                self._changed.clear()
                found = next((kind for kind in kinds if kind in self.at_s), None)
                if found is not None:
                    return found
                await self._changed.wait()


class Player:
    """One session of two people in a service of this process."""

    def __init__(self, service: Running, clock: ReplayClock, talk: Talk, live: LiveSession, ends: Ends) -> None:
        self.service, self.clock, self.live, self.ends = service, clock, live, ends
        self.session_id = live.session_id
        self._talk = talk
        self._offset = 0
        """Where in the conversation it is."""
        self._pages = {who: Page() for who in PEOPLE}
        self.longest_lag_ms = 0
        self.on_sent: Callable[[str, int, Pcm], None] = lambda _who, _at, _pcm: None
        """Told what each of them sends, and when on the call's clock, captured or not."""

    @classmethod
    async def enter(cls, service: Running, clock: ReplayClock, talk: Talk) -> Player:
        """Make a session; both people are in the room."""
        store = service.services.store
        people = tuple(NewParticipant(who, Role(who), f"Replay {who}") for who in PEOPLE)
        new = NewSession(CLINIC, clinician_user_id=CLINICIAN, participants=people, made_by="bench")
        record = await store.create(new)
        return await cls.back_in(service, clock, talk, record.id)

    @classmethod
    async def back_in(cls, service: Running, clock: ReplayClock, talk: Talk, session_id: str) -> Player:
        """Both people open the pages of a session, be it anew."""
        live = await service.services.live.of(session_id)
        assert isinstance(live, LiveSession)
        ends = Ends()
        service.services.store.listen(lambda event: ends(event) if event.session_id == session_id else None)
        player = cls(service, clock, talk, live, ends)
        for who, page in player._pages.items():
            await live.enter(Member(who, Role(who), f"Replay {who}"), page)
        await live.admit(player.actor(CLINICIAN), CLIENT)
        return player

    def actor(self, who: str) -> Actor:
        """One of the two, by their token."""
        return Actor(ActorKind.PARTICIPANT, CLINIC, Role(who), who)

    async def ask(self) -> None:
        """The clinician presses Start."""
        await self.do(CaptureAction.START)

    async def answer(self, decision: ConsentState, *, destroy: bool = False) -> None:
        """The client answers."""
        await self.live.consent(
            self.actor(CLIENT), CLIENT, decision,
            method="in_call", text_version="", message_id=None, seq=None, destroy=destroy,
        )  # fmt: skip

    async def begin(self) -> None:
        """Start, and a yes."""
        await self.ask()
        await self.answer(ConsentState.GRANTED)
        assert self.live.view.state is CaptureState.CAPTURING

    async def do(self, action: CaptureAction) -> None:
        """The clinician does something with the recording."""
        await self.live.capture(self.actor(CLINICIAN), action, message_id=None, seq=None)

    async def leave(self) -> None:
        """Both close their pages."""
        for who, page in self._pages.items():
            await self.live.exit(Member(who, Role(who), f"Replay {who}"), page)

    # -- sound ---------------------------------------------------------------------------------------------------------

    async def play(self, seconds: float) -> None:
        """Both go on talking for so long on the call's clock."""
        media = self.live.media
        assert media is not None
        lanes = {lane.participant_id: lane.id for lane in await self.service.services.store.lanes(self.session_id)}
        clock, call = self.clock, media.call_clock
        at = call.now_sample()
        end, begun, offset = at + round(seconds * SAMPLE_RATE_HZ), at, self._offset
        while at < end:
            lag_ms = media.lag_ms()
            self.longest_lag_ms = max(self.longest_lag_ms, lag_ms)
            if lag_ms >= HELD_MS:
                clock.run(0.0)
                await asyncio.sleep(LOOK_S)
                continue
            clock.run(AT_MOST_S)
            if lag_ms or media.unstored:
                await asyncio.sleep(LOOK_S)
            else:
                clock.advance(STEP / SAMPLE_RATE_HZ)
            now = call.now_sample()
            while at + STEP <= min(now, end + STEP):
                for who, lane_id in lanes.items():
                    pcm: Pcm = self._talk.piece(who, offset + at - begun, STEP)
                    self.on_sent(who, at, pcm)
                    self._post(media, AudioFrame(lane_id, at, pcm))
                at += STEP
            await self._heard()
        clock.run()
        self._offset = offset + at - begun

    def _post(self, media: CallMedia, frame: AudioFrame) -> None:
        if not self.service.media.worker.post(media.frame, frame):
            raise RuntimeError("the media thread is behind by more than a replay may be")

    async def _heard(self) -> None:
        """Until the media thread has dealt with all that was posted."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self.service.media.worker.post(lambda: loop.call_soon_threadsafe(done.set_result, None)):
            await done
