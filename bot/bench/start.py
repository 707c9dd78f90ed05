"""From the click on Start to the first captured sample, and what is lost of what was said in between.

Two people are in the middle of a conversation, the client's consent is on file, and the clinician presses Start. The
service is a process of its own; the participants are real peers over loopback. Everything that a Start needs is in the
figure: the bot coming in, the offers of both pages, ICE, DTLS, and the first packet through the gate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from bot.bench import offline
from bot.bench.progress import Progress, to_stderr
from bot.bench.service import DEV_KEY, Service
from bot.bench.wer import TimedWord, percentile
from bot.demo.checks import ledgers_close
from bot.demo.dialogue import Dialogue, load
from bot.demo.packets import Asked, EncodedLane, Recording
from bot.demo.peer import CallFailed, Heard, Peer
from bot.demo.track import PacketTrack
from bot.demo.wer import matches, normalise
from bot.events import SAMPLES_PER_MS

STARTS = 20
CLINICIAN, CLIENT = "clinician", "client"
CLINIC = "[consent]\non_file = true"
"""The clinic takes consent on file: nobody is asked between the click and the first sample."""
INTO_TURN_MS = 400
"""How far into a sentence Start is pressed."""
TALK_S = 4.0
"""How long the conversation goes on after Recording was shown."""
HEARD_MS = 3000.0
"""The words of so long after Recording was shown are looked for in the transcript."""
LASTING_MS = 1000 * TALK_S + HEARD_MS
"""How much of the conversation a Start needs behind it."""
SHOWN_TIMEOUT_S = 20.0
ENDED_TIMEOUT_S = 60.0


class TalkingTrack(PacketTrack):
    """A microphone in a conversation that began before the track did."""

    def play(self, lane: EncodedLane, at_s: float) -> float:
        """As in the base class, but what was said before the track existed is gone instead of late."""
        super().play(lane, at_s)
        late = self._lane_from - self._slot_at(at_s - self._ptime_s / 2)
        self._lane_from -= late
        self._lane_to -= late
        self._lane = {slot - late: payload for slot, payload in self._lane.items()}
        return self._origin_s + self._lane_from * self._ptime_s


class Talker(Peer):
    """A participant who has been talking for a while."""

    began_s = 0.0
    """When the first sample of the lane was spoken, monotonic."""

    def new_track(self, asked: Asked) -> PacketTrack:
        """A microphone on this peer's clock."""
        return TalkingTrack(asked, origin_s=self._origin_s)

    def talk(self, began_s: float) -> None:
        """Have been talking since ``began_s``, to everybody who connects."""
        self.began_s = began_s
        self.play(began_s)


@dataclass(frozen=True, slots=True)
class Lane:
    """One participant's words around a Start, all in milliseconds after the click."""

    words: Sequence[TimedWord]
    first_sample_ms: float
    said: Sequence[str]
    """What the transcript has of this lane."""


@dataclass(frozen=True, slots=True)
class Start:
    """What one Start came to, in milliseconds after the click."""

    shown_ms: float
    """The page said Recording."""
    lanes: Mapping[str, Lane]
    ledger_closed: bool

    @property
    def first_sample_ms(self) -> float:
        """The first captured sample of the slower lane."""
        return max(lane.first_sample_ms for lane in self.lanes.values())


async def run(starts: int = STARTS, *, model: str = "tiny.en", progress: Progress = to_stderr) -> dict[str, Any]:
    """Press Start ``starts`` times, in a session each; the figures as printed. Raises CallFailed."""
    dialogue = load()
    recordings = {who: await asyncio.to_thread(Recording.read, dialogue.path(who)) for who in (CLINICIAN, CLIENT)}
    pressed_at = [moment_of(dialogue, index) for index in range(starts)]
    seconds = min(max(pressed_at) + LASTING_MS, dialogue.duration_ms) / 1000
    progress("the words of the conversation, and when they are said")
    words = {who: await offline.words(model, dialogue.path(who), seconds) for who in recordings}
    async with Service(model=model, clinic=CLINIC) as service, _http(service.base_url) as http:
        progress(f"service is up (process {service.pid}); warming up")
        await _one(http, service.base_url, recordings, words, pressed_at[0])
        found = []
        for index, at_ms in enumerate(pressed_at):
            found.append(await _one(http, service.base_url, recordings, words, at_ms))
            took, shown = found[-1].first_sample_ms, found[-1].shown_ms
            progress(f"start {index + 1} of {starts}: first sample after {took:.0f} ms, Recording after {shown:.0f} ms")
    return report(found) | {"model": model}


def moment_of(dialogue: Dialogue, index: int) -> float:
    """Where in the conversation the ``index``-th Start is pressed: inside a sentence, each time another one."""
    turns = [turn for turn in dialogue.turns if turn.start_ms + LASTING_MS <= dialogue.duration_ms]
    return float(turns[index % len(turns)].start_ms + INTO_TURN_MS)


def _http(base_url: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {DEV_KEY}"}
    return httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False, timeout=30.0)


async def _one(
    http: httpx.AsyncClient,
    base_url: str,
    recordings: Mapping[str, Recording],
    words: Mapping[str, Sequence[TimedWord]],
    at_ms: float,
) -> Start:
    """One session from its making to its transcript, Start pressed ``at_ms`` into the conversation."""
    people: list[dict[str, Any]] = [{"id": who, "role": who, "display_name": who.title()} for who in recordings]
    for one in people:
        if one["role"] == CLIENT:
            one["consent"] = _on_file()
    made = (await http.post("/v1/sessions", json={"clinic_id": "demo", "participants": people})).raise_for_status()
    session_id = made.json()["session"]["id"]
    tokens = {entry["role"]: entry["token"] for entry in made.json()["join"]}
    origin_s = time.monotonic()
    clock = _CallZero()
    talkers = {
        who: Talker(
            base_url, session_id, tokens[who], recording=recording, origin_s=origin_s, on_message=clock.take
        )
        for who, recording in recordings.items()
    }
    try:
        await _into_the_room(talkers)
        for talker in talkers.values():
            talker.talk(time.monotonic() - at_ms / 1000)
        pressed_s = time.monotonic()
        ack = await talkers[CLINICIAN].control("start")
        await talkers[CLINICIAN].until(lambda: clock.shown_s is not None, "the word Recording", SHOWN_TIMEOUT_S)
        await asyncio.sleep(TALK_S)
        await talkers[CLINICIAN].control("finish")
        await talkers[CLINICIAN].until(
            lambda: talkers[CLINICIAN].state.get("transcript") in {"ready", "failed"}, "the transcript", ENDED_TIMEOUT_S
        )
    finally:
        await asyncio.gather(*(talker.leave() for talker in talkers.values()))
    session = (await http.get(f"/v1/sessions/{session_id}")).raise_for_status().json()
    transcript = (await http.get(f"/v1/sessions/{session_id}/transcript")).raise_for_status().json()
    if clock.shown_s is None or clock.zero_s is None:
        raise CallFailed("The call's clock was never told.")
    zero_ms = (clock.zero_s - pressed_s) * 1000
    firsts = _first_samples_ms(session, float(ack["effective_at_ms"]))
    lanes = {
        who: Lane(
            words=[_moved(word, (talker.began_s - pressed_s) * 1000) for word in words[who]],
            first_sample_ms=zero_ms + firsts[who],
            said=[w for s in transcript["segments"] if s["role"] == who for w in normalise(s["text"])],
        )
        for who, talker in talkers.items()
    }
    return Start((clock.shown_s - pressed_s) * 1000, lanes, ledgers_close(session))


def _on_file() -> dict[str, str]:
    return {
        "method": "on_file",
        "attested_by": CLINICIAN,
        "text_version": "bench-1",
        "date": datetime.now(UTC).date().isoformat(),
        "document_id": "bench",
    }


async def _into_the_room(talkers: Mapping[str, Talker]) -> None:
    """Both come in; the client's consent is on file since the session was made."""
    clinician, client = talkers[CLINICIAN], talkers[CLIENT]
    await clinician.join()
    await client.join()
    await clinician.admit(client.participant_id)
    await client.until(lambda: client.admitted, "admission")
    if clinician.bot is not None or client.bot is not None:
        raise CallFailed("A bot is in the room before Start.")


class _CallZero:
    """When the call's clock stood at 0, and when the word Recording was shown first; monotonic seconds."""

    def __init__(self) -> None:
        self.zero_s: float | None = None
        self.shown_s: float | None = None

    def take(self, _: Peer, heard: Heard) -> None:
        message = heard.message
        if message["type"] != "state":
            return
        if message["now_ms"] > 0:
            zero_s = heard.at_s - message["now_ms"] / 1000
            self.zero_s = zero_s if self.zero_s is None else min(zero_s, self.zero_s)
        if message["words"] == "Recording" and self.shown_s is None:
            self.shown_s = heard.at_s


def _first_samples_ms(session: Mapping[str, Any], opened_ms: float) -> dict[str, float]:
    """Each role's first captured sample on the call's clock: the gates opened, then the lane was absent until it came.

    Nothing is paused in these calls, and whoever has been heard goes on talking: a lane is absent only before that.
    """
    return {lane["role"]: opened_ms + lane["ledger"]["absent"] / SAMPLES_PER_MS for lane in session["lanes"]}


def _moved(word: TimedWord, by_ms: float) -> TimedWord:
    return TimedWord(word.text, word.start_ms + by_ms, word.end_ms + by_ms)


# -- figures ----------------------------------------------------------------------------------------------------------


def report(starts: Sequence[Start]) -> dict[str, Any]:
    """The figures of one measurement."""
    lanes = [(start, lane) for start in starts for lane in start.lanes.values()]
    spoken = [
        (word, start, lane) for start, lane in lanes for word in lane.words if 0 <= word.start_ms < start.shown_ms
    ]
    heard = [heard_of(start, lane) for start, lane in lanes]
    expected = sum(len(one) for one in heard)
    return {
        "starts": len(starts),
        "click_to_first_sample_ms": _spread([start.first_sample_ms for start in starts]),
        "click_to_recording_shown_ms": _spread([start.shown_ms for start in starts]),
        "words_lost_after_start": sum(
            start.shown_ms <= word.start_ms < lane.first_sample_ms for start, lane in lanes for word in lane.words
        ),
        "words_before_recording_shown": len(spoken),
        "words_lost_before_recording_shown": sum(word.start_ms < lane.first_sample_ms for word, _, lane in spoken),
        "words_heard_after_shown": round(sum(sum(one) for one in heard) / expected, 4) if expected else None,
        "ledger_closed": all(start.ledger_closed for start in starts),
    }


def heard_of(start: Start, lane: Lane) -> list[bool]:
    """Of the words begun shortly after Recording was shown, which ones the transcript has."""
    words = [word for word in lane.words if 0 <= word.start_ms < start.shown_ms + TALK_S * 1000]
    found = set(matches([word.text for word in words], lane.said).values())
    until_ms = start.shown_ms + HEARD_MS
    return [i in found for i, word in enumerate(words) if start.shown_ms <= word.start_ms < until_ms]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95), "max": percentile(values, 1.0)}
