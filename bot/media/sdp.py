"""Session descriptions as text: what an offer may hold, and what our answer asks of the sender's encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.errors import AudioFormatUnsupported, ConfigInvalid

MAX_SDP_BYTES = 64 * 1024
MAX_SECTIONS = 16
PLAYBACK_RATE_HZ = 16_000
"""Asks for wideband: nothing above 8 kHz reaches the recogniser anyway."""

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Offer:
    """A page's offer, made fit for aiortc."""

    sdp: str
    identity: tuple[str, str]
    """Certificate fingerprint and ICE user fragment: the same again in every offer of one connection."""
    names: tuple[tuple[str, str], ...]
    """Candidates that carry a multicast DNS name, with their mid: looked up beside the negotiation, not before it."""


def read_offer(sdp: str) -> Offer:
    """Check an offer and take it apart.

    Raises :class:`ConfigInvalid` (malformed, no audio) or :class:`AudioFormatUnsupported` (no Opus).
    """
    if not isinstance(sdp, str) or not sdp.strip():
        raise ConfigInvalid("sdp: a session description is missing.", paths=["sdp"])
    if len(sdp) > MAX_SDP_BYTES:
        raise ConfigInvalid("sdp: the session description is too long.", paths=["sdp"])
    session, sections = _sections(sdp)
    if not session or not session[0].startswith("v=0"):
        raise ConfigInvalid("sdp: this is not a session description.", paths=["sdp"])
    if len(sections) > MAX_SECTIONS:
        raise ConfigInvalid("sdp: too many media sections.", paths=["sdp"])
    audio = [section for section in sections if section[0].startswith("m=audio ")]
    if not audio:
        raise ConfigInvalid("sdp: the offer holds no audio.", paths=["sdp"])
    if not any(_opus_types(section) for section in audio):
        raise AudioFormatUnsupported("sdp: the offer's audio is not Opus.", paths=["sdp"])
    everything = [*session, *(line for section in sections for line in section)]
    identity = (_first(everything, "a=fingerprint:").upper(), _first(everything, "a=ice-ufrag:"))
    if not all(identity):
        raise ConfigInvalid("sdp: the offer lacks its certificate fingerprint or its ICE credentials.", paths=["sdp"])
    names: list[tuple[str, str]] = []
    lines = list(session)
    for section in sections:
        # an end of candidates is not passed on either: see `BuiltinRoom.candidate`
        kept = [line for line in section if not _is_named_candidate(line) and line != "a=end-of-candidates"]
        mid = _first(section, "a=mid:")
        names += [(line.removeprefix("a=candidate:"), mid) for line in section if _is_named_candidate(line)]
        lines += _with_transport(kept, everything) if _refused(section) else kept
    return Offer("\r\n".join(lines) + "\r\n", identity, tuple(names))


def write_answer(answer: str, offer: str, *, ptime_ms: int) -> str:
    """Our answer with what it asks of the sender: packets of ``ptime_ms``, wideband, mono, error correction.

    Only Opus is left of the audio formats, and sections the offer had refused stay refused.
    """
    session, sections = _sections(answer)
    asked, offered = _sections(offer)
    refused = [_refused(section) for section in offered]
    bundled = _first(asked, "a=group:BUNDLE").split()
    lines = [_bundle(line, bundled) for line in session]
    for number, section in enumerate(sections):
        tuned = _tuned(section, ptime_ms) if section[0].startswith("m=audio ") else section
        if number < len(refused) and refused[number]:
            tuned = [re.sub(r"^(m=\w+) \d+ ", r"\1 0 ", tuned[0]), *tuned[1:]]
        lines += tuned
    return "\r\n".join(lines) + "\r\n"


def _bundle(line: str, offered: list[str]) -> str:
    """A group of the answer may name only what the offer's does: a refused section has left it."""
    if not line.startswith("a=group:BUNDLE"):
        return line
    return " ".join(["a=group:BUNDLE", *(mid for mid in line.split(" ")[1:] if mid in offered)])


def _tuned(section: list[str], ptime_ms: int) -> list[str]:
    opus = _opus_types(section)
    head = section[0].split(" ")
    formats = [kind for kind in head[3:] if kind in opus]
    lines = [" ".join([*head[:3], *formats])]
    for line in section[1:]:
        about = re.match(r"a=(rtpmap|fmtp|rtcp-fb):(\d+)(?: |$)", line)
        if about and (about[2] not in formats or about[1] == "fmtp"):
            continue
        if line.startswith(("a=ptime:", "a=maxptime:")):
            continue
        lines.append(line)
        if about and about[1] == "rtpmap":
            lines.append(
                f"a=fmtp:{about[2]} minptime=10;ptime={ptime_ms};maxplaybackrate={PLAYBACK_RATE_HZ};"
                "stereo=0;sprop-stereo=0;useinbandfec=1"
            )
    return [*lines, f"a=ptime:{ptime_ms}"]


def _sections(sdp: str) -> tuple[list[str], list[list[str]]]:
    session: list[str] = []
    sections: list[list[str]] = []
    for line in _LINE_END.split(sdp):
        if not line.strip():
            continue
        if line.startswith("m="):
            sections.append([line])
        elif sections:
            sections[-1].append(line)
        else:
            session.append(line)
    return session, sections


def _opus_types(section: list[str]) -> set[str]:
    found = (re.match(r"a=rtpmap:(\d+) opus/48000(?:/|$)", line, re.IGNORECASE) for line in section)
    return {match[1] for match in found if match}


def _first(lines: list[str], prefix: str) -> str:
    return next((line.removeprefix(prefix).strip() for line in lines if line.startswith(prefix)), "")


def _refused(section: list[str]) -> bool:
    return re.match(r"m=\w+ 0 ", section[0]) is not None and "a=bundle-only" not in section


def _with_transport(section: list[str], everything: list[str]) -> list[str]:
    """A refused section carries no transport of its own; aiortc wants one in every section."""
    wanted = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")
    found = [f"{prefix}{_first(everything, prefix)}" for prefix in wanted if not _first(section, prefix)]
    mux = [] if "a=rtcp-mux" in section else ["a=rtcp-mux"]
    return [*section, *found, *mux]


def _is_named_candidate(line: str) -> bool:
    parts = line.split(" ")
    return line.startswith("a=candidate:") and len(parts) > 4 and parts[4].lower().endswith(".local")
