"""What tests of rough networks share: a call that is captured, what is said in it, and what holds at its end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.demo.packets import Recording
from bot.demo.peer import USUAL, Peer
from bot.events import SAMPLE_RATE_HZ
from bot.media.stream import EARLY
from tests.integration.call_world import CLIENT, LANES, Call, Place, two_people
from tests.integration.kill_checks import nothing_overlaps, runs, words
from tests.integration.rough_path import RoughPath

PACKET = 60 * SAMPLE_RATE_HZ // 1000
EDGES = 3 * PACKET
"""What counted and dropped may differ by: packets that come too late to be played in a busy moment."""
SLEPT, WORRY, OKAY, GOODBYE = (4_000, 8_300), (48_600, 53_400), (63_900, 66_200), (71_700, 74_100)
"""Turns of the client in the bundled dialogue, in milliseconds."""
TALK = ((500, 34_300), (44_900, 74_600))
Session = dict[str, Any]


@asynccontextmanager
async def a_call(place: Place) -> AsyncIterator[Call]:
    """Both are captured, and silent."""
    quiet = {who: await encoded(place, who, (0, 300)) for who in LANES}
    async with two_people(place, quiet) as call:
        await call.begin()
        yield call


async def encoded(place: Place, who: str, *parts: tuple[int, int]) -> Recording:
    """Parts of the dialogue, made on another thread: the service runs on this one, and would hear everything late."""

    def make() -> Recording:
        recording = place.cut(who, *parts)
        recording.as_asked(USUAL)
        return recording

    return await asyncio.to_thread(make)


async def say(place: Place, peer: Peer, *parts: tuple[int, int]) -> None:
    """Speak; returns when the last of it has been said."""
    await play(peer, await encoded(place, peer.participant_id, *parts))


async def play(peer: Peer, recording: Recording) -> None:
    assert peer.asked == USUAL
    peer._recording = recording
    began = peer.play(time.monotonic() + 0.15)
    await asyncio.sleep(began + recording.duration_ms / 1000 - time.monotonic())


async def heard(call: Call, word: str) -> None:
    """Wait until a final holds the words."""

    def there() -> bool:
        told = (one.message for one in call.clinician.heard if one.message["type"] == "caption")
        return any(caption["final"] and word in caption["text"].lower() for caption in told)

    await call.clinician.until(there, f"a final with {word!r}", 40)


async def talk(place: Place, call: Call) -> None:
    """All of the dialogue that is on record, by both, on one clock."""
    peers = (call.clinician, call.client)
    recordings = [await encoded(place, peer.participant_id, *TALK) for peer in peers]
    await asyncio.gather(*map(play, peers, recordings))


def written(place: Place, transcript: Session, who: str = CLIENT) -> float:
    """The share of somebody's words that is written."""
    said = Counter(words(place.dialogue.on_record(LANES[who])))
    found = Counter(words(text(transcript, who)))
    return (said & found).total() / said.total()


async def come_back(place: Place, call: Call, gone: Peer) -> Peer:
    """The same participant's page, by the same token."""
    back = Peer(place.url, call.session_id, gone._token, recording=gone._recording, origin_s=gone._origin_s)
    await back.join()
    if gone is call.clinician:
        call.clinician = back
    else:
        call.client = back
    return back


async def until_captured(call: Call, who: str, ms: int = 500) -> None:
    """So much more of somebody is captured from now on."""
    await call.clinician.until(lambda: who in call.clinician.ledger, "an account")
    before = call.clinician.ledger[who]["captured_ms"]
    await call.clinician.until(lambda: call.clinician.ledger[who]["captured_ms"] > before + ms, f"sound of {who}")


async def end(place: Place, call: Call, *, recordings: int = 1) -> tuple[Session, Session]:
    """Finish, and check what holds in every network. Session and transcript."""
    await call.clinician.control("finish")
    session = await place.until(call.session_id, "audio", "erased")
    transcript = await place.get(f"{session_of(call)}/transcript")
    segments, gaps = transcript["segments"], transcript["gaps"]
    assert all(lane["ledger_closes"] for lane in session["lanes"]), session["lanes"]
    lengths = [lane["ledger"]["elapsed"] for lane in session["lanes"]]
    assert max(lengths) - min(lengths) <= 2 * EARLY, "the last packets of a connection may run ahead of the clock"
    assert sorted(lane["participant_id"] for lane in session["lanes"]) == sorted(LANES), "one lane each"
    assert all(gap["reason"] for gap in gaps)
    nothing_overlaps(segments)
    for who, lane in LANES.items():
        mine = sorted((gap["start_ms"], gap["end_ms"]) for gap in gaps if gap["participant_id"] == who)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(mine)), mine
        written = [word for s in segments if s["participant_id"] == who for word in words(s["text"])]
        known = Counter(runs(words(place.dialogue.on_record(lane))))
        for run, count in Counter(runs(written)).items():
            assert count <= recordings * max(1, known[run]), f"written {count} times: {' '.join(run)}"
    return session, transcript


def session_of(call: Call) -> str:
    return f"/v1/sessions/{call.session_id}"


def present(peer: Peer) -> set[str]:
    return {m["participant_id"] for m in peer.roster["members"] if m["present"]}


def book(session: Session, who: str = CLIENT) -> dict[str, int]:
    [found] = [lane["ledger"] for lane in session["lanes"] if lane["participant_id"] == who]
    return dict(found)


def gaps_of(transcript: Session, who: str | None = CLIENT) -> list[tuple[str, int]]:
    """Reason and length in milliseconds of each entry of somebody; None: of everybody at once."""
    mine = (gap for gap in transcript["gaps"] if gap["participant_id"] == who)
    return [(gap["reason"], gap["end_ms"] - gap["start_ms"]) for gap in sorted(mine, key=lambda gap: gap["start_ms"])]


def text(transcript: Session, who: str = CLIENT) -> str:
    return " ".join(s["text"] for s in transcript["segments"] if s["participant_id"] == who).lower()


def lost_as_dropped(session: Session, path: RoughPath, who: str = CLIENT) -> None:
    """What was dropped is what was lost, and whoever reads the session is told."""
    assert abs(book(session, who)["lost"] - path.dropped * PACKET) <= EDGES, (book(session, who), path.dropped)
    told = [one for one in session["warnings"] if one["slug"] == "audio-lost" and one["participant_id"] == who]
    assert [one["ms"] for one in told] == [book(session, who)["lost"] * 1000 // SAMPLE_RATE_HZ]
