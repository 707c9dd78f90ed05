"""One call and the moments at which the service is killed in it. Nobody speaks while the service is away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.demo.packets import Recording
from tests.integration.call_world import CLIENT, CLINICIAN, SILENCE_MS
from tests.integration.kill_world import QUIET, Room, encoded

Parts = tuple[tuple[int, int], ...]
WHOLE, SHORT = ((500, 34_300), (44_900, 74_600)), ((500, 12_700),)
SECRET = (36_200, 42_800)
"""Parts of the dialogue, in ms: what is said while recording, all of it or its beginning, and what in a pause."""
AT_THE_END = frozenset({"finishing", "starting", "after"})
STARTING_S = 4.0
"""About how long a start takes, for kills in it."""


@dataclass
class Kill:
    """A kill, and what was so before it."""

    kind: str
    at_s: float
    states: tuple[str, ...]
    """What capture may be afterwards."""
    committed: Mapping[str, bytes]
    said_ms: float
    """How far the talk had come."""
    up_s: float = 0.0
    back_s: float = 0.0
    """When the service listened again, and when both pages were heard again."""


@dataclass
class Story:
    """A call on its way through its kills."""

    room: Room
    rng: random.Random
    parts: Parts
    talk: Mapping[str, Recording]
    secret: Mapping[str, Recording]
    kills: list[Kill] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """Acknowledged pauses on the call's clock, in ms, from the ack's time to the resume's."""
    heard_ms: float = 0.0
    """How long both were heard by a service that captured."""
    breaks: list[float] = field(default_factory=list)
    """How far the talk had come at each pause, in ms."""
    finish: Mapping[str, Any] = field(default_factory=dict)
    final: Mapping[str, bytes] = field(default_factory=dict)
    """What is committed at the end."""
    _said_s: float = 0.0
    _since_s: float | None = None
    """Since when they have been speaking; None: they are silent."""

    @classmethod
    async def of(cls, room: Room, rng: random.Random, parts: Parts = WHOLE) -> Story:
        """Everything that will be said, encoded."""
        cut = room.place.cut
        talk = {who: await encoded(cut(who, *parts)) for who in (CLINICIAN, CLIENT)}
        secret = {who: await encoded(cut(who, SECRET)) for who in (CLINICIAN, CLIENT)}
        await encoded(QUIET)
        return cls(room, rng, parts, talk, secret)

    def talk_ms(self, dialogue_ms: int) -> int | None:
        """Where a moment of the dialogue lies in the talk; None: it is not said."""
        before = 0
        for start, end in self.parts:
            if start <= dialogue_ms <= end:
                return before + dialogue_ms - start
            before += end - start + SILENCE_MS
        return None

    # -- speaking ------------------------------------------------------------------------------------------------------

    @property
    def duration_s(self) -> float:
        return self.talk[CLINICIAN].duration_ms / 1000

    @property
    def said_s(self) -> float:
        """How far the talk has come."""
        return self._said_s + (time.monotonic() - self._since_s if self._since_s is not None else 0.0)

    def go_on(self) -> None:
        """Both go on with what they have to say."""
        self._since_s = time.monotonic()
        for page, who in zip(self.room.pages, (CLINICIAN, CLIENT), strict=True):
            page.say(self.talk[who], self._since_s - self._said_s)

    def fall_silent(self) -> None:
        self._said_s, before, self._since_s = self.said_s, self._since_s, None
        if before is not None:
            self.heard_ms += (time.monotonic() - before) * 1000
        for page in self.room.pages:
            page.say(QUIET, 0.0)

    def say_the_secret(self) -> None:
        for page, who in zip(self.room.pages, (CLINICIAN, CLIENT), strict=True):
            page.say(self.secret[who], time.monotonic())

    async def for_a_while(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(least_s, most_s))

    # -- the call ------------------------------------------------------------------------------------------------------

    async def play(self, kinds: tuple[str, ...]) -> None:
        """Start, agree, talk, be killed each way in turn, finish."""
        clinician, client = self.room.clinician, self.room.client
        await clinician.there.control("start")
        await self.room.connected()
        if kinds[0] == "asking":
            await self.asking()
            kinds = kinds[1:]
        await client.there.consent("granted")
        await self.captured()
        self.go_on()
        talked = [kind for kind in kinds if kind not in AT_THE_END]
        for number, kind in enumerate(talked, 1):
            reach_s = self.duration_s * (number - 0.5) / (len(talked) + 0.5)
            await asyncio.sleep(max(0.0, reach_s - self.said_s))
            await getattr(self, kind)()
        for kind in kinds[len(talked) :]:
            await getattr(self, kind)()
        if not self.finish:
            await self.to_the_end()
            await self.end()
        if self.kills[-1].up_s == 0:
            await self.start_again()
        session_id = self.room.session_id
        await self.room.place.until(session_id, "note", "draft", 180)
        await self.room.place.until(session_id, "audio", "erased", 60)
        self.final = self.room.service.committed()

    async def captured(self) -> None:
        for page in self.room.pages:
            await page.until(lambda page=page: page.capture == "capturing", "recording")

    async def to_the_end(self) -> None:
        await asyncio.sleep(max(0.0, self.duration_s + 0.5 - self.said_s))

    async def end(self) -> None:
        self.finish = await self.room.clinician.there.control("finish")
        self.fall_silent()

    async def pause(self) -> None:
        ack = await self.room.clinician.there.control("pause")
        self.fall_silent()
        self.breaks.append(self.said_s * 1000)
        self.pauses.append((ack["effective_at_ms"], 0.0))

    async def resume(self) -> None:
        clinician = self.room.clinician
        for page in self.room.pages:
            page.say(QUIET, 0.0)
        await asyncio.sleep(1.0)  # the last of the secret is not under way any more
        ack = await clinician.there.control("resume")
        self.pauses[-1] = (self.pauses[-1][0], ack["effective_at_ms"])
        await self.captured()
        self.go_on()

    async def die(self, kind: str, *states: str) -> None:
        """kill -9, in the middle of whatever goes on."""
        service, said_s = self.room.service, self.said_s
        at_s = await service.kill()
        self.fall_silent()
        self._said_s = said_s
        self.kills.append(Kill(kind, at_s, states, service.committed(), said_s * 1000))

    async def start_again(self) -> None:
        """The service starts, finds capture in one of the states it may be in, and both pages come back."""
        last = self.kills[-1]
        await self.room.service.start()
        last.up_s = time.monotonic()
        session = await self.room.session()
        assert session["capture"] in last.states, (last.kind, session["capture"], session["pause_reasons"])
        if session["capture"] == "paused":
            assert "clinician" in session["pause_reasons"], (last.kind, session["pause_reasons"])
        if session["capture"] != "finished":
            assert session["bot"] == "in_call", (last.kind, session["bot"])
            await self.room.connected()
            last.back_s = time.monotonic()

    async def die_and_go_on(self, kind: str) -> None:
        await self.die(kind, "capturing")
        await self.start_again()
        await self.captured()
        self.go_on()

    # -- kinds of kills ------------------------------------------------------------------------------------------------

    async def asking(self) -> None:
        """Before the client has answered."""
        await self.for_a_while(0, 0.6)
        await self.die("asking", "consent_pending")
        await self.start_again()

    async def talking(self) -> None:
        """At any moment of the talk."""
        await self.for_a_while(0, 2)
        await self.die_and_go_on("talking")

    async def window(self) -> None:
        """While a sentence is being recognised: from its first words on, to a little after its last."""
        page = self.room.clinician
        seen = len(page.captions())
        await page.until(lambda: any(not c["final"] for c in page.captions()[seen:]), "words under way")
        await self.for_a_while(0, 1.2)
        await self.die_and_go_on("window")

    async def twice(self) -> None:
        """While talking, and again while the service takes up what it left."""
        await self.for_a_while(0, 2)
        await self.die("talking", "capturing")
        await self.starting()
        await self.start_again()
        await self.captured()
        self.go_on()

    async def paused(self) -> None:
        """In a pause that was acknowledged, while what is off the record is said: before the kill, and after it."""
        await self.pause()
        self.say_the_secret()
        await self.for_a_while(0, 3)
        await self.die("paused", "paused")
        await self.start_again()
        self.say_the_secret()
        await self.for_a_while(2, 4)
        await self.resume()

    async def pausing(self) -> None:
        """While a pause is asked for."""
        asked_ms = self.room.call_ms(time.monotonic())
        asking = asyncio.create_task(self.room.clinician.there.control("pause"))
        await self.for_a_while(0, 0.03)
        told = asking.done() and not asking.exception()
        await self.die("pausing", "paused", *([] if told else ["capturing"]))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await self.start_again()
        if (await self.room.session())["capture"] == "paused":
            self.pauses.append((asked_ms, 0.0))
            await self.resume()
        else:
            await self.captured()
            self.go_on()

    async def resuming(self) -> None:
        """Right after a resume."""
        await self.pause()
        await self.for_a_while(0, 1)
        await self.resume()
        await self.for_a_while(0, 1)
        await self.die_and_go_on("resuming")

    async def finishing(self) -> None:
        """Right after Finish: while the last words are written, or the workflow begins."""
        await self.to_the_end()
        await self.end()
        await self.for_a_while(0, 0.6)
        await self.die("finishing", "finished")

    async def starting(self) -> None:
        """While the service starts; it must be down."""
        listening = await self.room.service.launch()
        before, (seconds) = self.kills[-1], self.rng.uniform(0.3, STARTING_S)
        await asyncio.wait([listening], timeout=seconds)
        await self.die("starting", *before.states)
        listening.cancel()

    async def after(self) -> None:
        """While the workflow runs after the call; the service is down."""
        await self.start_again()
        await self.for_a_while(0, 1.5)
        await self.die("after", "finished")
