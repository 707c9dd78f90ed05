"""A call that can go by a TURN server only: a real coturn, with accounts made for each participant."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

import bot.demo.link
import bot.media.builtin
from bot import log
from bot.control.callmedia import CallMedia
from bot.demo.peer import BOT, Peer
from bot.ice import IceServer, IceServers
from tests.integration.call_world import CLIENT, CLINICIAN, Call, World, two_people, world
from tests.integration.turn_world import TurnServer, turn_server

PEOPLE = (CLINICIAN, CLIENT)
RELAYS_ONLY = functools.partial(RTCConfiguration, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
ACCOUNT = re.compile(r"username=<(\d+):([0-9a-f]{24})>")


def pair_of(pc: Any) -> tuple[str, str]:
    """The kinds of candidate between which a connection goes: our own, and the other's."""
    transport = pc.getTransceivers()[0].receiver.transport.transport
    pair = transport._connection._nominated[1]
    return pair.local_candidate.type, pair.remote_candidate.type


async def until_said(call: Call, word: str) -> None:
    def there() -> bool:
        captions = [one.message for one in call.clinician.heard if one.message["type"] == "caption"]
        return any(caption["final"] and word in caption["text"].lower() for caption in captions)

    await call.clinician.until(there, f"a final with {word!r}", 40)


async def media_of(place: World, call: Call) -> CallMedia:
    live: Any = await place.service.services.live.of(call.session_id)
    media: CallMedia = live.media
    return media


def account(peer: Peer) -> dict[str, Any]:
    """The TURN account that a page was given."""
    [server] = peer.welcome["ice_servers"]
    return dict(server)


async def test_a_whole_call_by_relays_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bot.media.builtin, "RTCConfiguration", RELAYS_ONLY)
    monkeypatch.setattr(bot.demo.link, "RTCConfiguration", RELAYS_ONLY)
    log.setup(level="DEBUG", json=True)
    (tmp_path / "secret").mkdir(mode=0o700)
    async with turn_server(tmp_path / "secret") as turn:
        secret_file = tmp_path / "turn.secret"
        secret_file.write_text(f"{turn.secret}\n")
        settings = {"turn_urls": [turn.url], "turn_secret_file": secret_file, "turn_lifetime_s": 600}
        async with world(tmp_path / "data", **settings) as place:
            recordings = {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 8_300))}
            async with two_people(place, recordings) as call:
                await call.begin()
                call.play()
                await until_said(call, "slept")
                media = await media_of(place, call)
                assert media.room is not None
                for peer in (call.clinician, call.client):
                    assert pair_of(peer._links[BOT]._pc) == ("relay", "relay")
                    assert pair_of(media.room._seats[peer.participant_id].pc) == ("relay", "relay")
                given = [account(peer) for peer in (call.clinician, call.client)]
                await call.clinician.control("finish")
                session = await place.until(call.session_id, "audio", "erased")
            transcript = await place.get(f"/v1/sessions/{call.session_id}/transcript")
    assert {s["participant_id"] for s in transcript["segments"]} == set(PEOPLE)
    for lane in session["lanes"]:
        assert lane["ledger_closes"]
        assert lane["ledger"]["captured"] > 4 * 16_000
    seen = "".join(turn.log)
    names = {name for _, name in ACCOUNT.findall(seen)}
    assert len(names) == 3, "one for each participant, one for the bot"
    assert {one["username"].split(":")[1] for one in given} < names
    for who in (*PEOPLE, call.session_id):
        assert who not in seen, "the TURN server is not told who they are"
    said = capsys.readouterr()
    for word in (turn.secret, *(one["credential"] for one in given)):
        assert word not in said.out + said.err


async def relayed(server: IceServer) -> bool:
    """Whether a relay is given to who comes with this account."""
    pc = RTCPeerConnection(RELAYS_ONLY([RTCIceServer(**server.for_pages())]))
    try:
        pc.createDataChannel("x")
        await pc.setLocalDescription(await pc.createOffer())
        return " typ relay" in pc.localDescription.sdp
    finally:
        await pc.close()


def made(turn: TurnServer, *, secret: str = "", age_s: int = 0) -> IceServer:
    """An account that was made so long ago, for ten minutes."""
    now = datetime.now(UTC) - timedelta(seconds=age_s)
    [server] = IceServers((), (turn.url,), secret or turn.secret, 600, lambda: now).of("ses_1", CLIENT)
    return server


async def test_accounts_that_are_over_or_made_with_another_secret_are_refused(tmp_path: Path) -> None:
    async with turn_server(tmp_path) as turn:
        assert await relayed(made(turn))
        assert await relayed(made(turn, age_s=590))
        assert not await relayed(made(turn, age_s=610))
        assert not await relayed(made(turn, secret="not the secret of this server"))
        good = made(turn)
        assert good.username is not None
        later = str(int(good.username.split(":")[0]) + 3600) + good.username[10:]
        assert not await relayed(IceServer(good.urls, later, good.credential)), "nobody makes theirs last longer"
