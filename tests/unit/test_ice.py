"""STUN and TURN servers: what is taken is what WebRTC takes, and passwords do not show."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import connection_kwargs

from bot import ice

STUN = "stun:stun.example:3478"
TURN = {"urls": ["turn:turn.example:3478?transport=tcp"], "username": "quietnote", "credential": "hunter2"}


async def test_a_connection_is_made_of_what_pages_are_given() -> None:
    servers = [RTCIceServer(**one.for_pages()) for one in ice.read([STUN, TURN])]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    pc.createDataChannel("x")  # makes its ICE transport, which reads the servers
    await pc.close()
    used = connection_kwargs(servers)
    assert used["stun_server"] == ("stun.example", 3478)
    assert used["turn_server"] == ("turn.example", 3478)
    assert (used["turn_username"], used["turn_password"]) == ("quietnote", "hunter2")


def test_a_password_does_not_show() -> None:
    (server,) = ice.read([TURN])
    assert "hunter2" not in repr(server)
    assert "quietnote" not in repr(server)


def test_a_page_is_given_a_username_only_with_one() -> None:
    assert [one.for_pages() for one in ice.read([STUN, TURN])] == [{"urls": [STUN]}, TURN]


@pytest.mark.parametrize(
    "entry",
    [
        "http:hunter2",
        "turn:hunter2",
        "stun:",
        "stun:[::1]",
        "stun:a:0",
        "stun:a:70000",
        "stun:a?transport=udp",
        "stun://a",
        "turn:a?transport=sctp",
        5,
        {},
        {"urls": []},
        {"urls": [7]},
        TURN | {"credential": ""},
        TURN | {"credential": 5},
        TURN | {"username": None},
        TURN | {"more": 1},
        {"urls": STUN, "username": "hunter2"},
    ],
)
def test_what_no_browser_takes_is_refused_without_its_words(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"^entry 2: ") as refused:
        ice.read([STUN, entry])
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", ["stun:a", {"urls": "stun:a"}, 5, None])
def test_it_is_a_list(value: object) -> None:
    with pytest.raises(ValueError, match="must be a list"):
        ice.read(value)
