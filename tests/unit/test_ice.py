"""STUN and TURN servers: what is taken is what WebRTC takes, and passwords do not show."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
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


# -- servers that share a secret --------------------------------------------------------------------------------------

SECRET = "north-star-hunter2"
AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SHARED = ("turn:turn.example:3478?transport=udp", "turns:turn.example")


def shared(secret: str = SECRET, at: datetime = AT) -> ice.IceServers:
    return ice.IceServers(ice.read([STUN]), SHARED, secret, 600, lambda: at)


def test_an_account_is_made_by_the_convention() -> None:
    stun, turn = shared().of("ses_1", "robin")
    assert stun.urls == (STUN,)
    assert turn.urls == SHARED
    ends, _, who = str(turn.username).partition(":")
    assert int(ends) == AT.timestamp() + 600
    assert len(who) == ice.NAME_CHARS
    # as the server computes it: base64(HMAC-SHA-1(secret, username))
    digest = hmac.new(SECRET.encode(), str(turn.username).encode(), hashlib.sha1).digest()
    assert base64.b64decode(str(turn.credential)) == digest


def test_each_participant_has_their_own_under_a_name_that_says_nothing() -> None:
    given = [shared().of(session, who)[1] for session in ("ses_1", "ses_2") for who in ("robin", "ellis")]
    assert len({one.username for one in given}) == len({one.credential for one in given}) == 4
    assert shared().of("ses_1", "robin")[1] == given[0]
    later = shared(at=AT + timedelta(seconds=5)).of("ses_1", "robin")[1]
    assert str(later.username).split(":")[1] == str(given[0].username).split(":")[1]
    assert later.credential != given[0].credential
    other = shared("another-secret-of-16").of("ses_1", "robin")[1]
    assert str(other.username).split(":")[1] != str(given[0].username).split(":")[1], "nobody can look it up"
    assert "robin" not in str(given[0].username)


def test_the_secret_does_not_show() -> None:
    assert "hunter2" not in repr(shared())
    assert str(shared().of("ses_1", "robin")[1].credential) not in repr(shared().of("ses_1", "robin"))


def test_without_such_servers_there_are_only_the_fixed_ones() -> None:
    assert ice.IceServers(ice.read([STUN, TURN])).of("ses_1", "robin") == ice.read([STUN, TURN])
    assert ice.IceServers().of("ses_1", "robin") == ()


@pytest.mark.parametrize("entry", [STUN, "turn:", "hunter2", 5, TURN])
def test_only_turn_urls_share_a_secret(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"^entry 2: ") as refused:
        ice.read_turn([SHARED[0], entry])
    assert "hunter2" not in str(refused.value)
    assert ice.read_turn(list(SHARED)) == SHARED


def test_a_secret_is_long_enough_to_be_one() -> None:
    assert ice.read_secret(f" {SECRET}\n") == SECRET
    assert ice.read_secret("") == ""
    with pytest.raises(ValueError, match="at least 16") as refused:
        ice.read_secret("hunter2")
    assert "hunter2" not in str(refused.value)
