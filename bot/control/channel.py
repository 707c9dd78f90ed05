"""The in-call control messages, ``scribe.control.v1``: parsing and the words of the answers.

The same JSON travels over a data channel, a LiveKit data packet and the page's WebSocket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from bot.control.capture import Ack
from bot.errors import ConfigInvalid, PayloadTooLarge, ProblemError
from bot.events import CaptureAction, Segment

MAX_CHANNEL_BYTES = 256 * 1024
"""Largest message over a data channel: what aiortc announces (`a=max-message-size`)."""
MAX_SOCKET_BYTES = 1_000_000
"""Largest message over the page's WebSocket."""
MAX_HELD = 8
"""Messages that may come with a hello."""
ANSWERS_SIGNAL = {"answers": "signal"}
"""Said with a problem that answers signalling: it goes on by itself, and nobody pressed anything."""

MessageId = Annotated[str, Field(min_length=1, max_length=80)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    message_id: MessageId
    session_id: str | None = None
    seq: int | None = Field(None, ge=0)


class StartConsent(BaseModel):
    """With Start: which text stood beside it."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    text_version: str = Field("", max_length=32)


class CaptureMessage(_Message):
    """Start, pause, resume, finish or discard."""

    type: Literal["start", "pause", "resume", "finish", "discard"]
    consent: StartConsent | None = None

    @property
    def action(self) -> CaptureAction:
        """The capture machine's word for it."""
        return CaptureAction(self.type)


class ConsentAnswer(BaseModel):
    """One's own answer. One that names somebody else is refused, and not taken for the sender's."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    decision: Literal["granted", "declined", "revoked"]
    text_version: str = Field("", max_length=32)
    participant_id: str | None = Field(None, max_length=64)
    destroy: bool = False
    """With ``revoked``: what was recorded so far is destroyed."""


class ConsentMessage(_Message):
    """A participant's own consent."""

    type: Literal["consent"]
    consent: ConsentAnswer
    participant_id: str | None = Field(None, max_length=64)
    """Not where it belongs; it names somebody all the same."""

    def about(self, sender: str) -> str:
        """Whose consent it is: somebody else's, where it names one anywhere."""
        named = {self.participant_id, self.consent.participant_id} - {None, sender}
        return min(str(who) for who in named) if named else sender


class StatusMessage(_Message):
    """Asks for the state."""

    type: Literal["status"]


ControlMessage = CaptureMessage | ConsentMessage | StatusMessage
CONTROL_TYPES_LIST = ("start", "pause", "resume", "finish", "discard", "consent", "status")
CONTROL_TYPES = frozenset(CONTROL_TYPES_LIST)


class _Any(RootModel[Annotated[CaptureMessage | ConsentMessage | StatusMessage, Field(discriminator="type")]]):
    """Whichever control message it is."""


def decode(payload: bytes | str, *, limit: int = MAX_CHANNEL_BYTES) -> Mapping[str, Any]:
    """The JSON object in ``payload``. Raises :class:`PayloadTooLarge` or :class:`ConfigInvalid`."""
    try:
        raw = payload.encode() if isinstance(payload, str) else payload
        if len(raw) > limit:
            raise PayloadTooLarge(f"A control message may have {limit} bytes; this one has {len(raw)}.")
        message = json.loads(raw)
        if b"\\ud" in raw.lower():  # half of a surrogate pair is valid JSON and cannot be sent on to anybody
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ConfigInvalid("The message is not JSON.") from None
    if not isinstance(message, dict):
        raise ConfigInvalid("The message is not a JSON object.")
    return message


def held(hello: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What a page that comes back could not say before: only what shuts something may come with its hello."""
    said = hello.get("held")
    messages = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return tuple(one for one in messages if _shuts(one))[:MAX_HELD]


def _shuts(message: Mapping[str, Any]) -> bool:
    consent = message.get("consent")
    if message.get("type") == "consent":
        return isinstance(consent, dict) and consent.get("decision") in {"declined", "revoked"}
    return message.get("type") in {"pause", "finish", "discard"}


def parse(message: Mapping[str, Any]) -> ControlMessage:
    """The typed control message. Raises :class:`ConfigInvalid` naming the field that is wrong."""
    if message.get("type") not in CONTROL_TYPES_LIST:
        raise ConfigInvalid(f"type: must be one of {', '.join(CONTROL_TYPES_LIST)}.")
    try:
        return _Any.model_validate(dict(message)).root
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'][1:]) or 'type'}: {e['msg']}"
            for e in error.errors(include_input=False, include_context=False, include_url=False)
        )
        raise ConfigInvalid(f"The message is not valid: {wrong}") from None


def muted(message: Mapping[str, Any]) -> bool:
    """What a page's ``mute`` says. Raises :class:`ConfigInvalid` for what says neither."""
    said = message.get("muted")
    if not isinstance(said, bool):
        raise ConfigInvalid("muted: must be true or false.")
    return said


def ack_ok(message_id: str, ack: Ack) -> dict[str, Any]:
    """The message was carried out."""
    return {
        "type": "ack",
        "message_id": message_id,
        "seq": ack.seq,
        "ok": True,
        "state": ack.state.value,
        "effective_at_ms": ack.effective_at_ms,
    }


def ack_refused(message_id: str, seq: int, error: ProblemError) -> dict[str, Any]:
    """The message was refused; nothing changed."""
    return {"type": "ack", "message_id": message_id, "seq": seq, "ok": False, "problem": error.members()}


def caption(segment: Segment) -> dict[str, Any]:
    """A partial or final caption. From a shared microphone it is nobody's alone: ``speakers`` has all of them."""
    return {
        "type": "caption",
        "segment_id": segment.segment_id,
        "rev": segment.rev,
        "final": segment.final,
        "participant_id": None if segment.speakers else segment.participant_id,
        "speakers": [one.participant_id for one in segment.speakers] or [segment.participant_id],
        "start_ms": segment.start_ms,
        "end_ms": segment.end_ms,
        "text": segment.text,
    }
