"""A pause that lasts: the bot receives nobody, pages that know of it do not send, and all are taken up again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from bot.control.callmedia import CallMedia
from bot.demo.packets import Recording
from bot.demo.peer import CallFailed, Peer
from bot.events import SAMPLE_RATE_HZ, Ledger
from bot.media.rtp import RtpIn
from bot.media.stream import LaneStream
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world
from tests.integration.media_world import until
from tests.integration.test_absence import cut_the_line

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG_PAUSE_S = 1
UNDER_WAY = 2
"""Packets that a page may have sent before it heard that they are not wanted."""
PEOPLE = (CLINICIAN, CLIENT)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("long")) as made:
        clinics = made.service.services.clinics
        _, config = await clinics.current("demo")
        capture = config.capture.model_copy(update={"long_pause_s": LONG_PAUSE_S})
        await clinics.save(config.model_copy(update={"capture": capture}), author="test")
        yield made


class Bot:
    """The bot of a call, looked at from inside."""

    def __init__(self, media: CallMedia) -> None:
        assert media.room is not None
        self.media = media
        self.room = media.room

    @classmethod
    async def of(cls, place: World, call: Call) -> Bot:
        live: Any = await place.service.services.live.of(call.session_id)
        return cls(live.media)

    def account(self, who: str) -> Ledger:
        return self.media.ledgers()[who]

    def arrived(self) -> dict[str, int]:
        """RTP packets of each person's present connection, as the bot's own receivers count them."""
        return {
            who: sum(source.packets_received for one in seat.pc.getReceivers() for source in sources(one))
            for who, seat in self.room._seats.items()
        }

    async def time_passes(self, seconds: float, heading: str = "paused") -> None:
        """The client's lane accounts for so much more."""
        wanted = getattr(self.account(CLIENT), heading) + seconds * SAMPLE_RATE_HZ
        await until(lambda: getattr(self.account(CLIENT), heading) >= wanted)

    async def captures_anew(self, *people: str) -> None:
        before = {who: self.account(who).captured for who in people}
        await until(lambda: all(self.account(who).captured > before[who] + SAMPLE_RATE_HZ // 2 for who in people))


def sources(receiver: Any) -> Iterable[Any]:
    """What an aiortc receiver has counted of each sender it heard."""
    counted: dict[int, Any] = receiver._RTCRtpReceiver__remote_streams
    return counted.values()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Packets that got as far as a lane's stream, where they are decoded."""
    count: Counter[str] = Counter()
    real = LaneStream.packet

    def packet(self: LaneStream, one: RtpIn) -> None:
        count[self._lane_id] += 1
        real(self, one)

    monkeypatch.setattr(LaneStream, "packet", packet)
    return count


def recordings(place: World) -> dict[str, Recording]:
    return {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_200))}


def shown(peer: Peer, who: str, mark: str) -> bool:
    """What the roster of this page says of somebody."""
    return any(member["participant_id"] == who and member[mark] for member in peer.roster["members"])


async def nothing_is_taken(*peers: Peer) -> None:
    for peer in peers:
        await peer.until(lambda peer=peer: not peer.taken, "the word that nothing is taken")  # type: ignore[misc]


async def test_what_is_not_received_is_not_sent_and_comes_back_with_resume(place: World, decoded: Counter[str]) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        bot = await Bot.of(place, call)
        await bot.captures_anew(*PEOPLE)
        await call.clinician.control("pause")
        await nothing_is_taken(call.clinician, call.client)
        await bot.time_passes(0.2)
        before = bot.arrived(), dict(decoded)
        await bot.time_passes(1.5)
        assert (bot.arrived(), dict(decoded)) == before, "not one packet"
        assert all(bot.room.taking.unwanted[who] <= UNDER_WAY for who in PEOPLE)
        assert not shown(call.clinician, CLIENT, "absent"), "nobody asked them to be heard"

        await call.clinician.control("resume")
        assert call.clinician.taken
        await bot.captures_anew(*PEOPLE)
        await call.client.until(lambda: call.client.state["words"] == "Recording", "recording to be said")
        await call.clinician.control("finish")
        session = await place.until(call.session_id, "audio", "erased")
    for lane in session["lanes"]:
        assert lane["ledger_closes"]
        assert lane["ledger"]["lost"] == 0
        assert lane["ledger"]["paused"] > (LONG_PAUSE_S + 1.5) * SAMPLE_RATE_HZ
    events = await place.service.services.store.events(call.session_id)
    assert "capture.absent" not in {event.kind for event in events}


async def test_a_page_that_sends_all_the_while_is_dropped_before_it_is_decoded(
    place: World, decoded: Counter[str]
) -> None:
    async with two_people(place, recordings(place)) as call:
        call.client._heeds_receive = False
        await call.begin()
        bot = await Bot.of(place, call)
        await bot.captures_anew(CLIENT)
        await call.clinician.control("pause")
        await nothing_is_taken(call.client)
        await bot.time_passes(0.2)
        before, unwanted = dict(decoded), bot.room.taking.unwanted[CLIENT]
        await bot.time_passes(1)
        assert dict(decoded) == before
        assert bot.room.taking.unwanted[CLIENT] > unwanted + 10, "it sends on"
        await call.clinician.control("resume")
        await bot.captures_anew(CLIENT)
        account = bot.account(CLIENT)
        assert account.closes
        assert account.lost == 0, "what nobody wanted is not lost"
        assert account.paused > (LONG_PAUSE_S + 1) * SAMPLE_RATE_HZ
        await call.clinician.control("discard")


async def test_who_crashes_in_a_long_pause_comes_back_paused_and_is_taken_up_with_resume(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        bot = await Bot.of(place, call)
        await call.clinician.control("pause")
        await nothing_is_taken(call.client)
        cut_the_line(call.client)
        await call.clinician.until(lambda: not shown(call.clinician, CLIENT, "present"), "their page to be missed")
        back = Peer(place.url, call.session_id, call.client._token, recording=call.client._recording)
        try:
            await back.join()
            await back.until_connected()
            assert not back.taken
            await bot.time_passes(0.5)
            assert bot.arrived()[CLIENT] == 0, "the new connection has not sent one packet"
            assert (back.state["capture"], back.state["pause_reasons"]) == ("paused", ["clinician"])
            await call.clinician.control("resume")
            await bot.captures_anew(CLIENT)
            assert bot.account(CLIENT).closes
        finally:
            await back.leave()
        await call.clinician.control("discard")


async def test_who_has_not_agreed_or_takes_it_back_is_not_received(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.admit()
        await call.clinician.control("start")
        await call.connect()
        bot = await Bot.of(place, call)
        await bot.time_passes(0.5, "withheld")
        assert bot.arrived() == dict.fromkeys(PEOPLE, 0), "nothing was sent before there was consent"
        await call.client.consent("granted")
        await bot.captures_anew(*PEOPLE)
        await call.client.consent("revoked")
        await nothing_is_taken(call.client)
        await bot.time_passes(0.2, "withheld")
        before = bot.arrived()[CLIENT]
        await bot.time_passes(0.5, "withheld")
        assert bot.arrived()[CLIENT] == before
        await call.clinician.control("discard")


@pytest.mark.soak
async def test_after_a_resume_that_is_refused_nobody_is_received_for_longer_than_after_a_pause(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        bot = await Bot.of(place, call)
        await call.clinician.control("pause")
        await nothing_is_taken(call.client)
        captured = {who: bot.account(who).captured for who in PEOPLE}

        def told() -> list[bool]:
            said = [heard.message for heard in call.client.heard if heard.message["type"] == "receive"]
            return list({message["rev"]: message["on"] for message in said}.values())

        before = told()
        with pytest.raises(CallFailed, match="precondition-failed"):
            await call.clinician.control("resume", seq=1)
        await call.client.until(lambda: told() == [*before, True, False], "their sound to be stopped again")
        assert call.client.state["capture"] == "paused"
        assert {who: bot.account(who).captured for who in PEOPLE} == captured
        await call.clinician.control("discard")


async def test_who_is_muted_is_shown_as_muted_and_not_as_absent(place: World) -> None:
    async with two_people(place, recordings(place)) as call:
        await call.begin()
        bot = await Bot.of(place, call)
        call.client.mute(True)
        for peer in (call.clinician, call.client):
            await peer.until(lambda peer=peer: shown(peer, CLIENT, "muted"), "the word that they are muted")  # type: ignore[misc]
        await bot.captures_anew(CLIENT)
        assert not shown(call.clinician, CLIENT, "absent"), "silence that is sent arrives"
        assert not shown(call.clinician, CLINICIAN, "muted")
        back = Peer(place.url, call.session_id, call.client._token, recording=call.client._recording)
        try:
            await back.join()
            await back.until(lambda: not shown(back, CLIENT, "muted"), "a new page, whose microphone is on")
        finally:
            await back.leave()
        await call.clinician.control("discard")
