"""Pauses over real WebRTC: real peers, the whole service, and a client who says the code word only while paused.

The clinician presses Pause and Resume, by the data channel or the page's WebSocket, at random moments, every other time
just after a caption grew. Once the pause is acknowledged the client says the code word, and stops before Resume is
sent; everything else both of them say goes on all the while, as people do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx
import numpy as np

from bot.bench.pause_talk import AROUND, CLIENT, CLINICIAN, PEOPLE, Talk
from bot.bench.spans import Lost, Span, between, lost_words
from bot.bench.start import TalkingTrack
from bot.bench.taps import Watch
from bot.clock import CallClock, SystemClock
from bot.demo.checks import ledgers_close
from bot.demo.packets import Asked, EncodedLane, Recording
from bot.demo.peer import USUAL, CallFailed, Heard, Peer
from bot.demo.track import PacketTrack
from bot.events import SAMPLES_PER_MS, sample_of
from bot.store.sessions import SessionStore

PAUSES_A_CALL = 25
AT_ONCE = 2
SETTLED_S = 1.0
"""From the first word to the first pause, at least."""
OPEN_S = (0.3, 3.5)
PHASE_S = 0.3
PATIENCE_S = 4.0
SHORT_SHARE, SHORT_S = 0.2, (0.05, 0.6)
"""Pauses that are over before anything private was said."""
AFTERTHOUGHT_S = (0.0, 0.8)
LONG_PAUSE_S = 2
"""The clinic's setting in these calls: after so long a pause sound is no longer received."""
FEW = 4
"""Of fewer pauses in a call the first is long, so that there is one."""
LONG_SHARE, LONG_S = 0.3, (LONG_PAUSE_S - 0.5, LONG_PAUSE_S + 0.5)
"""Pauses that go on for so long after something private was said."""
ENDED_TIMEOUT_S = 90.0


class AsideTrack(TalkingTrack):
    """A microphone that can say something else in between."""

    def __init__(self, asked: Asked, *, origin_s: float | None = None) -> None:
        super().__init__(asked, origin_s=origin_s)
        self._aside: dict[int, bytes] = {}

    def say(self, recording: Recording) -> float:
        """Say it instead of the lane, from the next packet on; when it is over, in monotonic seconds."""
        lane: EncodedLane = recording.as_asked(self._asked)
        first = self._slot + 1
        self._aside = {first + packet.at // self._asked.samples: packet.payload for packet in lane.packets}
        return self._origin_s + (first + len(lane.packets)) * self._ptime_s

    def _payload(self, slot: int) -> bytes | None:
        return self._aside.get(slot) or super()._payload(slot)


class Talker(Peer):
    """A participant whose microphone can say something else in between."""

    track: AsideTrack

    def new_track(self, asked: Asked) -> PacketTrack:
        """A microphone on this peer's clock; the last one made is the one that is heard."""
        self.track = AsideTrack(asked, origin_s=self._origin_s)
        return self.track


@dataclass(slots=True)
class Pause:
    """One pause as its sender saw it; seconds are monotonic, samples the call's clock."""

    click_s: float
    acked_s: float
    effective_at_ms: int
    clicked_at: int
    """The click on the call's clock."""

    @property
    def ack_ms(self) -> float:
        """From sending it to the arrival of its ack."""
        return (self.acked_s - self.click_s) * 1000

    @property
    def click_to_effective_ms(self) -> float:
        """From the click to the media time from which nothing is kept."""
        return self.effective_at_ms - self.clicked_at / SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class Resume:
    """The end of one pause; samples on the call's clock."""

    clicked_at: int
    opened: int
    """From where on the gates are open again, by the ack."""
    stopped: bool
    """Nobody's sound was received any more, and both had stopped sending."""
    shown: Mapping[str, int] = field(default_factory=dict)
    """When each page said Recording again, where they had been stopped: from then on people may rely on it."""


@dataclass(slots=True)
class Call:
    """What came of one call."""

    session_id: str
    pauses: list[Pause] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)
    stretches: list[Span] = field(default_factory=list)
    """Where the gates were open, by what was acknowledged; the first begins with the first word."""
    began_at: Mapping[str, int] = field(default_factory=dict)
    """Where each lane of the recording begins on the call's clock."""
    told: list[str] = field(default_factory=list)
    """Everything the service said to anybody."""
    written: set[str] = field(default_factory=set)
    """Segments of the transcript."""
    ledger_closed: bool = False

    def lost(self, talk: Talk, watch: Watch, *, by_ack: bool = False) -> Lost:
        """Words of both lanes that the transcript has not.

        After a resume they count from where a page may rely on being heard; ``by_ack``: from where the gates opened.
        """
        found = Lost()
        for who, lane_id in self._lanes(watch).items():
            zero, end = self.began_at[who], self.stretches[-1][1]
            spoken = min(end - zero, AROUND * talk.samples)
            words = [(zero + a, zero + b) for a, b in talk.words_within(who, 0, spoken)]
            stretches = self.stretches if by_ack else self.relied_on(who)
            found += lost_words(words, stretches, watch.finals(lane_id, self.written))
        return found

    def relied_on(self, who: str) -> list[Span]:
        """The stretches in which this participant knew that they are heard."""
        first, *others = self.stretches
        shown = [max(span[0], resume.shown.get(who, 0)) for span, resume in zip(others, self.resumes, strict=True)]
        return [first, *((min(low, span[1]), span[1]) for low, span in zip(shown, others, strict=True))]

    def first_samples_ms(self, watch: Watch) -> list[float]:
        """After each resume that took stopped lanes up: from its click to the first captured sample of each lane."""
        found = []
        for resume in self.resumes:
            if resume.stopped:
                firsts = [watch.first_after(lane_id, resume.opened) for lane_id in self._lanes(watch).values()]
                found += [(first - resume.clicked_at) / SAMPLES_PER_MS for first in firsts if first is not None]
        return found

    def paused(self, watch: Watch) -> dict[str, list[Span]]:
        """The pauses of each lane, by its id."""
        return {lane_id: between(self.stretches) for lane_id in self._lanes(watch).values()}

    def _lanes(self, watch: Watch) -> dict[str, str]:
        """Lanes by who speaks in them."""
        return {
            voice.role.value: lane_id
            for lane_id, voice in watch.voices.items()
            if voice.session_id == self.session_id
        }


class Caller:
    """Makes calls through a running service."""

    def __init__(self, base_url: str, http: httpx.AsyncClient, store: SessionStore, talk: Talk) -> None:
        self._base_url = base_url
        self._http = http
        self._store = store
        self._talk = talk
        self._lanes: dict[str, Recording] = {}
        self._private = talk.private()

    async def prepare(self) -> None:
        """Read the lanes."""
        for who in PEOPLE:
            self._lanes[who] = await asyncio.to_thread(self._talk.recording, who)

    async def call(self, pauses: int, rng: np.random.Generator) -> Call:
        """One session with so many pauses, from its making to its transcript. Raises :class:`CallFailed`."""
        people = [{"id": who, "role": who, "display_name": who.title()} for who in PEOPLE]
        made = (await self._http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people})).json()
        session_id = made["session"]["id"]
        tokens = {entry["role"]: entry["token"] for entry in made["join"]}
        grown = asyncio.Event()

        def heard(_: Peer, heard: Heard) -> None:
            if heard.message.get("type") == "caption" and not heard.message["final"]:
                grown.set()

        origin_s = time.monotonic()
        talkers = {
            who: Talker(
                self._base_url, session_id, tokens[who], recording=self._lanes[who], origin_s=origin_s,
                on_message=heard if who == CLINICIAN else None,
            )
            for who in PEOPLE
        }  # fmt: skip
        found = Call(session_id)
        try:
            await self._converse(talkers, found, pauses, rng, grown)
        finally:
            await asyncio.gather(*(talker.leave() for talker in talkers.values()))
        session = (await self._http.get(f"/v1/sessions/{session_id}")).raise_for_status().json()
        transcript = (await self._http.get(f"/v1/sessions/{session_id}/transcript")).raise_for_status().json()
        found.written = {segment["id"] for segment in transcript["segments"]}
        found.ledger_closed = ledgers_close(session)
        messages = [heard.message for talker in talkers.values() for heard in talker.heard]
        found.told = [json.dumps(thing) for thing in (*messages, session, transcript)]
        return found

    async def _converse(
        self, talkers: Mapping[str, Talker], found: Call, pauses: int, rng: np.random.Generator, grown: asyncio.Event
    ) -> None:
        clinician, client = talkers[CLINICIAN], talkers[CLIENT]
        await clinician.join()
        await client.join()
        await clinician.admit(client.participant_id)
        await client.until(lambda: client.admitted, "admission")
        await client.consent("granted")
        await clinician.control("start")
        for talker in talkers.values():
            await talker.until_connected()
            await asyncio.to_thread(self._private.as_asked, talker.asked or USUAL)
        await clinician.until(lambda: clinician.state.get("words") == "Recording", "recording to begin")
        began_s = time.monotonic() - float(rng.choice(self._talk.gaps_ms())) / 1000
        spoken_s = {who: talker.play(began_s) for who, talker in talkers.items()}
        clock = await self._clock_of(found.session_id)
        found.began_at = {who: clock.at_sample(at_s) for who, at_s in spoken_s.items()}
        opened = clock.now_sample()
        await asyncio.sleep(SETTLED_S)
        long = rng.random(pauses) < LONG_SHARE
        long[:1] |= pauses < FEW
        clicks_s: list[float] = []
        for number in range(pauses):
            await self._any_moment(rng, grown)
            pause = await _pause(clinician, clock, by_channel=bool(rng.random() < 0.5))
            found.pauses.append(pause)
            found.stretches.append((opened, sample_of(pause.effective_at_ms)))
            if not long[number] and rng.random() < SHORT_SHARE:
                await asyncio.sleep(rng.uniform(*SHORT_S))
            else:
                over_s = client.track.say(self._private)
                over_s += rng.uniform(*(LONG_S if long[number] else AFTERTHOUGHT_S))
                await asyncio.sleep(max(0.0, over_s - time.monotonic()))
            stopped, clicked_s = not any(talker.taken for talker in talkers.values()), time.monotonic()
            resumed = await clinician.control("resume", by_channel=bool(rng.random() < 0.5))
            opened = sample_of(resumed["effective_at_ms"])
            found.resumes.append(Resume(clock.at_sample(clicked_s), opened, stopped))
            clicks_s.append(clicked_s)
        await asyncio.sleep(SETTLED_S)
        finished = await clinician.control("finish")
        found.stretches.append((opened, sample_of(finished["effective_at_ms"])))
        found.resumes = [
            replace(resume, shown={who: clock.at_sample(_shown_s(talker, at_s)) for who, talker in talkers.items()})
            if resume.stopped
            else resume
            for resume, at_s in zip(found.resumes, clicks_s, strict=True)
        ]
        await clinician.until(
            lambda: clinician.state.get("transcript") in {"ready", "failed"}, "the transcript", ENDED_TIMEOUT_S
        )

    async def _clock_of(self, session_id: str) -> CallClock:
        """The call's clock, from the wall time that is stored with the session, as a restarted service makes it."""
        started_at = (await self._store.get(session_id)).call_started_at
        if started_at is None:
            raise CallFailed("The call's clock was never started.")
        return CallClock(SystemClock(), started_at=started_at)

    async def _any_moment(self, rng: np.random.Generator, grown: asyncio.Event) -> None:
        if rng.random() < 0.5:
            await asyncio.sleep(rng.uniform(*OPEN_S))
            return
        grown.clear()
        try:
            await asyncio.wait_for(grown.wait(), PATIENCE_S)
        except TimeoutError:
            return
        await asyncio.sleep(rng.uniform(0, PHASE_S))


def _shown_s(talker: Talker, after_s: float) -> float:
    """When this page said Recording first after a moment."""
    said = (h.at_s for h in talker.heard if h.message["type"] == "state" and h.message["words"] == "Recording")
    return min((at_s for at_s in said if at_s >= after_s), default=time.monotonic())


async def _pause(clinician: Talker, clock: CallClock, *, by_channel: bool) -> Pause:
    click_s = time.monotonic()
    ack = await clinician.control("pause", by_channel=by_channel)
    acked_s = next(heard.at_s for heard in reversed(clinician.heard) if heard.message is ack)
    return Pause(click_s, acked_s, int(ack["effective_at_ms"]), clock.at_sample(click_s))
