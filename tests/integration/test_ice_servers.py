"""STUN and TURN servers of a running service: pages are given what a connection can be made of, and logs are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import connection_kwargs

from bot import log
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world

TURN = {"urls": ["turn:turn.example:3478?transport=udp"], "username": "quietnote", "credential": "hunter2"}


async def test_a_connection_is_made_of_the_servers_in_the_welcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(level="DEBUG", json=True)
    async with world(tmp_path / "data", ice_servers=["stun:stun.example", TURN]) as place:
        recordings = {who: place.cut(who, (600, 1_200)) for who in (CLINICIAN, CLIENT)}
        async with two_people(place, recordings) as call:
            for peer in (call.clinician, call.client):
                given = peer.welcome["ice_servers"]
                assert given == [{"urls": ["stun:stun.example"]}, TURN]
                servers = [RTCIceServer(**server) for server in given]
                pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
                pc.createDataChannel("x")  # makes its ICE transport, which reads the servers
                await pc.close()
                assert connection_kwargs(servers)["turn_password"] == "hunter2"
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
