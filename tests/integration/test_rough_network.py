"""Networks that lose, delay, reorder and end, people who go and come back: the session goes on, and its books close.

What never arrived is ``lost`` where packet numbers tell of it, ``absent`` where nobody can know; either is an entry of
the transcript from one second on.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from bot.demo.packets import Recording
from bot.demo.peer import USUAL, Peer
from bot.events import SAMPLE_RATE_HZ
from tests.integration.call_world import CLIENT, CLINICIAN, LANES, Call, Place, two_people, world
from tests.integration.kill_checks import nothing_overlaps, runs, words
from tests.integration.rough_path import RoughPath, rough_path
from tests.integration.test_absence import cut_the_line

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKET = 60 * SAMPLE_RATE_HZ // 1000
EDGES = 3 * PACKET
"""What counted and dropped may differ by: packets that come too late to be played in a busy moment."""
SLEPT, WORRY, OKAY, GOODBYE = (4_000, 8_300), (48_600, 53_400), (63_900, 66_200), (71_700, 74_100)
"""Turns of the client in the bundled dialogue, in milliseconds."""
TALK = ((500, 34_300), (44_900, 74_600))
Session = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with world(tmp_path_factory.mktemp("rough")) as made:
        yield made


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
    assert len({lane["ledger"]["elapsed"] for lane in session["lanes"]}) == 1, session["lanes"]
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


async def test_a_fifth_of_the_packets_and_then_all_for_two_seconds(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=4) as path:
        path.loss = 0.2
        await say(place, call.client, SLEPT)
        path.mend()
        await until_captured(call, CLIENT)
        path.cut()
        at_once = path.dropped
        await asyncio.sleep(2)
        path.mend()
        cut_ms = (path.dropped - at_once) * 60
        await say(place, call.client, OKAY)
        await heard(call, "can do that")
        shown = call.clinician.ledger[CLIENT]["lost_ms"]
        session, transcript = await end(place, call)
    assert 0.1 < at_once * PACKET / (book(session)["captured"] / 2) < 0.4, "the path did lose about a fifth"
    lost_as_dropped(session, path)
    assert shown >= cut_ms
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - cut_ms) <= 200


async def test_another_address_is_a_new_connection_under_the_same_token(place: Place) -> None:
    async with a_call(place) as call:
        before = {lane["participant_id"]: lane["id"] for lane in (await place.get(session_of(call)))["lanes"]}
        await say(place, call.client, GOODBYE)
        gone = call.client
        cut_the_line(gone)
        try:
            await asyncio.sleep(1.2)
            back = await come_back(place, call, gone)
            assert back.admitted, "the same token needs no second admission"
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, OKAY)
            await heard(call, "can do that")
            session, transcript = await end(place, call)
        finally:
            await call.client.leave()
            await gone.leave()
    assert {lane["participant_id"]: lane["id"] for lane in session["lanes"]} == before
    assert "next week" in text(transcript)
    assert text(transcript).index("next week") < text(transcript).index("can do that")
    [away_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    assert away_ms >= 1_200, "nobody can know what was sent to nowhere"


@pytest.mark.soak
@pytest.mark.parametrize("loss", [0.05, 0.2])
async def test_lost_packets_of_both_are_counted_as_they_were_dropped(place: Place, loss: float) -> None:
    async with (
        a_call(place) as call,
        rough_path(call.clinician, seed=5) as theirs,
        rough_path(call.client, seed=6) as path,
    ):
        theirs.loss = path.loss = loss
        await talk(place, call)
        theirs.mend()
        path.mend()
        await until_captured(call, CLIENT)
        session, transcript = await end(place, call)
    lost_as_dropped(session, path)
    lost_as_dropped(session, theirs, CLINICIAN)
    assert abs(path.dropped / path.sent - loss) < 0.05
    assert not gaps_of(transcript), "no second is lost in one piece"
    assert written(place, transcript) >= (0.8 if loss < 0.1 else 0.5)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["jitter", "order"])
async def test_packets_that_come_late_or_out_of_order_lose_no_word(place: Place, fault: str) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=7) as path:
        path.jitter_s, path.reordered = (0.1, 0.0) if fault == "jitter" else (0.0, 0.2)
        await talk(place, call)
        path.mend()
        await until_captured(call, CLIENT)
        session, transcript = await end(place, call)
    assert path.dropped == 0
    assert book(session)["lost"] <= EDGES
    assert not gaps_of(transcript)
    assert written(place, transcript) >= 0.85


@pytest.mark.soak
async def test_loss_and_jitter_at_once(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client, seed=8) as path:
        path.loss, path.jitter_s = 0.2, 0.1
        await talk(place, call)
        path.mend()
        await until_captured(call, CLIENT)
        await say(place, call.client, OKAY)
        session, transcript = await end(place, call, recordings=2)
    lost_as_dropped(session, path)
    assert written(place, transcript) >= 0.5


@pytest.mark.soak
async def test_half_a_minute_without_a_packet_is_lost_and_the_session_goes_on(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client) as path:
        await say(place, call.client, SLEPT)
        path.cut()
        await asyncio.sleep(30)
        assert any(m["absent"] for m in call.clinician.roster["members"] if m["participant_id"] == CLIENT)
        path.mend()
        await until_captured(call, CLIENT)
        await say(place, call.client, WORRY)
        await heard(call, "tense")
        assert not any(m["absent"] for m in call.clinician.roster["members"])
        session, transcript = await end(place, call)
    lost_as_dropped(session, path)
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - path.dropped * 60) <= 200
    assert "slept" in text(transcript)


@pytest.mark.soak
async def test_half_a_minute_without_a_network_is_absence_then_a_pause_and_the_session_goes_on(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = call.client
        cut_the_line(gone)
        try:
            await asyncio.sleep(30)
            assert call.clinician.state["pause_reasons"] == ["client_absent"]
            back = await come_back(place, call, gone)
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, WORRY)
            await heard(call, "tense")
            _, transcript = await end(place, call)
        finally:
            await call.client.leave()
            await gone.leave()
    [absent_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    [(reason, paused_ms)] = gaps_of(transcript, None)
    assert reason == "paused"
    assert absent_ms + paused_ms >= 29_500
    assert "slept" in text(transcript)
    assert "tense" in text(transcript)


@pytest.mark.soak
async def test_who_leaves_and_returns_is_heard_on_the_same_lane(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = call.client
        await gone.leave()
        await call.clinician.until(lambda: CLIENT not in present(call.clinician), "the client to be gone")
        await say(place, call.clinician, (600, 3_200))
        back = await come_back(place, call, gone)
        try:
            await back.until_connected()
            await until_captured(call, CLIENT)
            await say(place, back, WORRY)
            await heard(call, "tense")
            session, transcript = await end(place, call)
        finally:
            await back.leave()
    [away_ms] = [length_ms for reason, length_ms in gaps_of(transcript) if reason == "absent"]
    assert away_ms >= 2_600
    assert book(session)["lost"] <= PACKET
    assert "past week" in text(transcript, CLINICIAN), "the other was heard meanwhile"
    assert "slept" in text(transcript)


@pytest.mark.soak
async def test_everybody_leaves_for_a_minute_and_returns(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        gone = (call.clinician, call.client)
        await asyncio.gather(*(peer.leave() for peer in gone))
        await asyncio.sleep(60)
        try:
            for peer in gone:
                await come_back(place, call, peer)
            await call.connect()
            await call.clinician.until(lambda: call.clinician.state.get("capture") == "capturing", "recording to go on")
            await until_captured(call, CLIENT)
            await say(place, call.client, WORRY)
            await heard(call, "tense")
            _, transcript = await end(place, call)
        finally:
            await asyncio.gather(call.clinician.leave(), call.client.leave())
    [pause] = [gap for gap in transcript["gaps"] if gap["reason"] == "paused"]
    assert set(pause["pause_reasons"]) <= {"clinician_absent", "client_absent"}
    assert 45_000 <= pause["end_ms"] - pause["start_ms"] <= 75_000
    for who in LANES:
        assert [reason for reason, _ in gaps_of(transcript, who)][:1] == ["absent"], transcript["gaps"]
    assert "slept" in text(transcript)
    assert "tense" in text(transcript)


@pytest.mark.soak
async def test_two_tabs_of_one_participant_are_one_seat_and_one_lane(place: Place) -> None:
    async with a_call(place) as call:
        await say(place, call.client, SLEPT)
        first = call.client
        try:
            second = await come_back(place, call, first)
            await first.wait(lambda: first.closed, 10)
            assert first._socket is not None
            assert first._socket.close_code == 4001, "the newer page has the seat"
            await second.until_connected()
            await until_captured(call, CLIENT)
            first.play(time.monotonic())  # whatever an old tab still sends
            await say(place, second, WORRY)
            await heard(call, "tense")
            members = [m["participant_id"] for m in call.clinician.roster["members"]]
            assert sorted(members) == sorted(LANES)
            session, transcript = await end(place, call)
        finally:
            await asyncio.gather(call.client.leave(), first.leave())
    assert book(session)["lost"] <= PACKET
    assert text(transcript).count("slept") == 1
    assert "tense" in text(transcript)


@pytest.mark.soak
async def test_what_is_held_up_too_long_is_stated_as_lost(place: Place) -> None:
    async with a_call(place) as call, rough_path(call.client) as path:
        recording = await encoded(place, CLIENT, WORRY)
        speaking = asyncio.create_task(play(call.client, recording))
        await asyncio.sleep(1.5)
        path.shut()
        await asyncio.sleep(2.5)
        path.open()
        await speaking
        await heard(call, "sunday")
        session, transcript = await end(place, call)
    lost_ms = book(session)["lost"] * 1000 // SAMPLE_RATE_HZ
    assert path.dropped == 0
    assert 1_000 <= lost_ms <= 2_500, "what came within a second was captured"
    [(reason, length_ms)] = gaps_of(transcript)
    assert reason == "lost"
    assert abs(length_ms - lost_ms) <= 120
