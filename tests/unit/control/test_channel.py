"""What comes over the control channel: read whole, or refused by name, and never repeated."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.control import channel
from bot.control.capture import Ack
from bot.errors import ClientNotPresent, ConfigInvalid, PayloadTooLarge
from bot.events import CaptureAction, CaptureState, Role, Segment

SECRET = "Robin told me"


@pytest.mark.parametrize(
    "payload",
    ["", "{", "nothing", b"\xff\xfe", '{"type":}', "[" * 100_000, '{"seq": ' + "9" * 5000 + "}", "\ud800"],
)
def test_what_is_not_json(payload: str | bytes) -> None:
    with pytest.raises(ConfigInvalid, match="not JSON"):
        channel.decode(payload)


@pytest.mark.parametrize("payload", ["[]", '"start"', "7", "null", "true"])
def test_what_is_json_and_no_object(payload: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a JSON object"):
        channel.decode(payload)


@pytest.mark.parametrize("half", ['"\\ud800"', '["\\uDFFF"]', '{"\\uD83D": 1}'])
def test_half_a_character_is_refused_because_it_cannot_be_passed_on(half: str) -> None:
    with pytest.raises(ConfigInvalid):
        channel.decode('{"type":"signal","data":' + half + "}")
    assert channel.decode('{"type":"\\ud83d\\ude00"}') == {"type": "\U0001f600"}


def test_too_large_is_said_with_the_limit() -> None:
    fits = '{"type":"status","message_id":"m"}'.ljust(channel.MAX_CHANNEL_BYTES)
    assert channel.decode(fits)["type"] == "status"
    with pytest.raises(PayloadTooLarge, match="262144"):
        channel.decode(fits + " ")
    with pytest.raises(PayloadTooLarge):
        channel.decode("{" + "é" * (channel.MAX_CHANNEL_BYTES // 2) + "}")
    assert channel.decode(fits + " ", limit=channel.MAX_SOCKET_BYTES)


@pytest.mark.parametrize("kind", ["start", "pause", "resume", "finish", "discard"])
def test_the_five_actions(kind: str) -> None:
    message = channel.parse({"type": kind, "message_id": "m1", "seq": 3, "role": "clinician", "more": [SECRET]})
    assert isinstance(message, channel.CaptureMessage)
    assert message.action is CaptureAction(kind)
    assert (message.message_id, message.seq, message.session_id) == ("m1", 3, None)


def test_consent_and_status() -> None:
    consent = {"type": "consent", "message_id": "m", "consent": {"decision": "granted", "text_version": "1"}}
    message = channel.parse(consent)
    assert isinstance(message, channel.ConsentMessage)
    assert (message.consent.decision, message.consent.text_version) == ("granted", "1")
    assert isinstance(channel.parse({"type": "status", "message_id": "m"}), channel.StatusMessage)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({}, "type"),
        ({"type": "stop", "message_id": "m"}, "type"),
        ({"type": ["start"], "message_id": "m"}, "type"),
        ({"type": "start"}, "message_id"),
        ({"type": "start", "message_id": ""}, "message_id"),
        ({"type": "start", "message_id": "m" * 81}, "message_id"),
        ({"type": "start", "message_id": 7}, "message_id"),
        ({"type": "start", "message_id": "m", "seq": -1}, "seq"),
        ({"type": "start", "message_id": "m", "seq": SECRET}, "seq"),
        ({"type": "consent", "message_id": "m"}, "consent"),
        ({"type": "consent", "message_id": "m", "consent": {"decision": SECRET}}, "consent.decision"),
        ({"type": "consent", "message_id": "m", "consent": {"decision": "requested"}}, "consent.decision"),
        ({"type": "consent", "message_id": "m", "consent": SECRET}, "consent"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(message: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        channel.parse(message)
    assert f"{named}:" in refused.value.detail
    assert SECRET not in refused.value.detail


@pytest.mark.parametrize("said", [{}, {"muted": "yes"}, {"muted": 1}, {"muted": None}, {"muted": SECRET}])
def test_a_mute_that_says_neither_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match=r"^muted: must be true or false\.$"):
        channel.muted({"type": "mute"} | said)
    assert channel.muted({"type": "mute", "muted": True})
    assert not channel.muted({"type": "mute", "muted": False})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(["type", "message_id", "session_id", "seq", "consent"])


@given(
    st.dictionaries(FIELDS, st.sampled_from([*channel.CONTROL_TYPES_LIST, "m1"]) | JSON, max_size=5)
    | st.dictionaries(st.text(max_size=8), JSON, max_size=4)
)
def test_any_object_is_a_message_or_a_problem(message: dict[str, Any]) -> None:
    with suppress(ConfigInvalid):
        assert channel.parse(message).type in channel.CONTROL_TYPES


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_an_object_or_a_problem(payload: bytes | str) -> None:
    with suppress(ConfigInvalid):
        assert isinstance(channel.decode(payload), dict)


def test_answers() -> None:
    ok = channel.ack_ok("m1", Ack(CaptureState.PAUSED, 12_345, 9))
    assert ok == {
        "type": "ack", "message_id": "m1", "seq": 9, "ok": True, "state": "paused", "effective_at_ms": 12_345,
    }  # fmt: skip
    refused = channel.ack_refused("m2", 9, ClientNotPresent())
    assert (refused["ok"], refused["seq"], refused["message_id"]) == (False, 9, "m2")
    assert set(refused["problem"]) == {"type", "slug", "title", "status", "detail"}
    assert refused["problem"]["slug"] == "client-not-present"
    json.dumps([ok, refused])


def test_a_caption_says_who_and_when() -> None:
    segment = Segment(
        segment_id="w1", rev=2, final=True, lane_id="l", participant_id="robin", role=Role.CLIENT, start_ms=10,
        end_ms=900, text="Yes.", words=(), confidence=0.5, committed_through_sample=16_000,
    )  # fmt: skip
    assert channel.caption(segment) == {
        "type": "caption", "segment_id": "w1", "rev": 2, "final": True, "participant_id": "robin", "start_ms": 10,
        "end_ms": 900, "text": "Yes.", "speakers": ["robin"],
    }  # fmt: skip


def test_only_what_shuts_comes_with_a_hello() -> None:
    pause = {"type": "pause", "message_id": "m"}
    no = {"type": "consent", "message_id": "n", "consent": {"decision": "revoked"}}
    yes = {"type": "consent", "message_id": "o", "consent": {"decision": "granted"}}
    opens = [{"type": "start"}, {"type": "resume"}, yes, "pause", 7, {"type": "consent", "consent": 1}, {}]
    assert channel.held({"held": [*opens, pause, no]}) == (pause, no)
    assert len(channel.held({"held": [pause] * 50})) == channel.MAX_HELD
    for nonsense in ({}, {"held": None}, {"held": "pause"}, {"held": {"type": "pause"}}):
        assert channel.held(nonsense) == ()
