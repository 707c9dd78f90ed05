"""What offers are taken, and what the answer asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import AudioFormatUnsupported, ConfigInvalid
from bot.media.sdp import read_offer, write_answer

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
TRANSPORT = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 aa:BB\r\na=setup:actpass\r\n"
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0\r\nc=IN IP4 0.0.0.0\r\n"
    + TRANSPORT
    + "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
    "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:0 PCMU/8000\r\n"
)
NAMED = "a=candidate:1 1 udp 2113937151 8a8c5a5d-1f0e.local 50000 typ host generation 0\r\n"
ADDRESSED = "a=candidate:2 1 udp 2113937151 127.0.0.1 50001 typ host generation 0\r\n"


def test_a_browser_offer() -> None:
    offer = read_offer(HEAD + AUDIO + NAMED + ADDRESSED)
    assert offer.identity == ("SHA-256 AA:BB", "abcd")
    assert offer.names == ((NAMED.removeprefix("a=candidate:").strip(), "0"),)
    assert ".local" not in offer.sdp
    assert ADDRESSED in offer.sdp


def test_line_ends_do_not_matter() -> None:
    assert read_offer((HEAD + AUDIO).replace("\r\n", "\n")).sdp == HEAD + AUDIO


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "   ",
        "hello",
        '{"sdp": "v=0"}',
        HEAD,
        HEAD + AUDIO.replace("m=audio", "m=video"),
        HEAD + AUDIO.replace("a=ice-ufrag:abcd\r\n", ""),
        HEAD + AUDIO.replace("a=fingerprint:sha-256 aa:BB\r\n", ""),
        HEAD + AUDIO * 17,
        HEAD + AUDIO + "a=x\r\n" * 20_000,
    ],
)
def test_what_is_refused(sdp: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_offer(sdp)
    assert refused.value.extra == {"paths": ["sdp"]}


def test_audio_that_is_not_opus_is_named_so() -> None:
    with pytest.raises(AudioFormatUnsupported) as refused:
        read_offer(HEAD + AUDIO.replace("opus", "PCMA"))
    assert refused.value.slug == "audio-format-unsupported"


@given(st.text(max_size=400))
def test_any_text_is_refused_cleanly(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        read_offer(text)


@pytest.mark.parametrize("ptime_ms", [20, 60])
def test_the_answer_asks_for_long_wideband_mono_packets(ptime_ms: int) -> None:
    answer = write_answer(HEAD + AUDIO, HEAD + AUDIO, ptime_ms=ptime_ms)
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" in answer
    assert answer.count("a=fmtp:") == 1
    wanted = f"a=fmtp:111 minptime=10;ptime={ptime_ms};maxplaybackrate=16000;stereo=0;sprop-stereo=0;useinbandfec=1\r\n"
    assert wanted in answer
    assert f"a=ptime:{ptime_ms}\r\n" in answer
    assert "usedtx" not in answer
    assert "PCMU" not in answer
    assert "red/" not in answer
    assert "a=rtcp-fb:111 transport-cc" in answer


def test_a_refused_section_gets_a_transport_and_stays_refused() -> None:
    bare = (
        "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=inactive\r\na=rtpmap:111 opus/48000/2\r\n"
    )
    offer = read_offer(HEAD + AUDIO + bare)
    assert offer.sdp.count("a=ice-ufrag:abcd") == 2
    answer = write_answer(offer.sdp.replace("m=audio 0", "m=audio 9"), offer.sdp, ptime_ms=60)
    assert write_answer(HEAD.replace("BUNDLE 0 1", "BUNDLE 0 1 2"), HEAD, ptime_ms=60) == HEAD
    assert [line.split()[1] for line in answer.splitlines() if line.startswith("m=")] == ["9", "0"]
