"""What somebody who is no clinician may be told, written out: every message, stream event and answer, key by key.

Nothing of it is imported from the service, so that whatever it begins to tell besides is found by the tests that ask
:func:`beyond`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STATE = {
    "type", "session_id", "seq", "bot", "bot_end_reason", "capture", "pause_reasons", "since_ms", "now_ms", "words",
    "attributes",
}  # fmt: skip
WORDS = {"Not recording", "Waiting for consent", "Starting", "Recording", "Paused"}
CAPTION = {"type", "segment_id", "rev", "final", "participant_id", "speakers", "start_ms", "end_ms", "text"}
PERSON = {"participant_id", "role", "display_name"}
ANSWER = PERSON | {"consent", "attested"}
MEMBER = ANSWER | {"admitted", "present", "muted", "absent", "also_here"}
WORDING = {"version", "text", "language"}
ATTESTED = {"method", "by", "date", "until"}
MESSAGES = {
    "welcome": {
        "type", "you", "invited", "session", "clinic", "ice_servers", "admitted", "consent_wording", "also_here",
    },
    "wording": {"type", "consent_wording", "also_here"},
    "roster": {"type", "members", "bot"},
    "state": STATE,
    "caption": CAPTION,
    "levels": {"type", "levels"},
    "warning": {"type", "slug", "participant_id", "since_ms", "over"},
    "receive": {"type", "on", "rev"},
    "signal": {"type", "from", "data"},
    "ack": {"type", "message_id", "seq", "ok", "state", "effective_at_ms", "problem"},
    "problem": {"type", "problem", "answers"},
    "pong": {"type"},
}  # fmt: skip
"""By WebSocket and data channel."""
WARNINGS = {"microphone-silent"}
"""Of one's own microphone only."""

STREAM_STATE = STATE - {"type", "since_ms"}
CHANGE = {"seq", "kind", "at", "data"}
CHANGES = ("bot.", "capture.", "consent.")
"""What the log's rows that are told begin with; those of a consent only one's own."""
CHANGE_DATA = {"state", "reason", "effective_at_ms", "by", "participant_id", "at_ms"}
OWN_ANSWER = {"participant_id", "method", "text_version", "language", "by"}

SESSION = {"id", "seq", "bot", "bot_end_reason", "capture", "pause_reasons", "words", "participants"}
PARTICIPANT = {"id", "role", "display_name", "consent", "language", "shares_with", "admitted"}


def beyond(message: Mapping[str, Any], me: str) -> list[str]:
    """What a WebSocket or data channel told that it should not have told this participant."""
    kind = message["type"]
    found = _keys(kind, message, MESSAGES.get(kind, set()))
    match kind:
        case "state" if message["words"] not in WORDS:
            found.append(f"state: {message['words']}")
        case "welcome":
            found += _keys("welcome.you", message["you"], PERSON)
            found += [one for person in message["invited"] for one in _keys("welcome.invited", person, PERSON)]
            found += _keys("welcome.session", message["session"], {"id", "language", "template", "mode"})
            shown = {"name", "support_contact", "client_captions", "verbal_attested"}
            found += _keys("welcome.clinic", message["clinic"], shown)
            found += _keys("welcome.consent_wording", message["consent_wording"], WORDING)
        case "roster":
            found += _roster(message, me)
        case "warning" if message["slug"] not in WARNINGS or message["participant_id"] != me:
            found.append(f"warning: {message['slug']} of {message['participant_id']}")
    return found


def _roster(message: Mapping[str, Any], me: str) -> list[str]:
    found: list[str] = []
    for member in message["members"]:
        found += _keys("roster.members", member, MEMBER)
        mine = member["participant_id"] == me
        for person in (member, *member["also_here"]):
            if person is not member:
                found += _keys("roster.also_here", person, ANSWER)
            if not mine and (person["consent"], person["attested"]) != (None, None):
                found.append(f"roster: the consent of {person['participant_id']}")
            found += _keys("roster.attested", person["attested"] or {}, ATTESTED)
    return found + _keys("roster.bot", message["bot"] or {}, {"participant_id", "display_name", "state"})


def beyond_stream(event: str, data: Mapping[str, Any], me: str) -> list[str]:
    """What a stream of events told that it should not have told this participant."""
    match event:
        case "state":
            return _keys("state", data, STREAM_STATE) + [w for w in (data["words"],) if w not in WORDS]
        case "caption":
            return _keys("caption", data, CAPTION)
        case "change":
            found = _keys("change", data, CHANGE)
            answer = data["kind"].startswith("consent.")
            if not data["kind"].startswith(CHANGES):
                found.append(f"change: {data['kind']}")
            elif answer and data["data"]["participant_id"] != me:
                found.append(f"change: the consent of {data['data']['participant_id']}")
            return found + _keys(f"change {data['kind']}", data["data"], OWN_ANSWER if answer else CHANGE_DATA)
    return [f"event: {event}"]


def beyond_session(session: Mapping[str, Any], me: str) -> list[str]:
    """What ``GET /v1/sessions/{id}`` told that it should not have told this participant."""
    found = _keys("session", session, SESSION)
    for person in session["participants"]:
        found += _keys("participants", person, PARTICIPANT)
        if me not in {person["id"], person["shares_with"]}:
            found.append(f"participants: {person['id']}")
    return found + [f"words: {w}" for w in (session["words"],) if w not in WORDS]


def _keys(where: str, told: Iterable[str], allowed: set[str]) -> list[str]:
    return [f"{where}: {key}" for key in sorted(set(told) - allowed)]
