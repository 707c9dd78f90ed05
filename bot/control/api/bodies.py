"""What requests may say: one model a body, closed against unknown fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bot.clinics import Language
from bot.control.channel import MessageId
from bot.events import CaptureAction, Role

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """The base of them all."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Room(Body):
    """Where the call takes place."""

    transport: Literal["builtin", "livekit"] = Field("builtin", description="builtin: this service's own room.")
    name: str | None = Field(None, max_length=128, description="The room's name, where the transport has names.")


class Appointment(Body):
    """The appointment a session belongs to."""

    external_id: str = Field(min_length=1, max_length=128, description="The platform's id of it.")
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = Field(None, description="Not before it starts.")


class Participant(Body):
    """Somebody the session is for."""

    id: Identifier | None = Field(None, description="The platform's id of the person; made here when left out.")
    role: Role
    display_name: Name


class NewSessionBody(Body):
    """A session to make."""

    clinic_id: str = Field(min_length=1, max_length=64)
    room: Room = Room()
    appointment: Appointment | None = None
    participants: tuple[Participant, ...] = Field((), max_length=16)
    template: str | None = Field(None, max_length=64)
    language: Language | None = None
    mode: Literal["full", "summary_only"] = "full"


class CaptureBody(Body):
    """An action on the recording."""

    action: CaptureAction
    message_id: MessageId | None = Field(None, description="The same id and action again: the same answer, once only.")
    seq: int | None = Field(None, ge=0, description="The last state sequence the sender saw.")
    clinician_id: Identifier | None = Field(None, description="The clinician a platform acts for: a participant's id.")


class ConsentBody(Body):
    """A participant's own answer."""

    decision: Literal["granted", "declined", "revoked"]
    method: str = Field("api", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    text_version: str = Field("", max_length=32)
    message_id: MessageId | None = None
    seq: int | None = Field(None, ge=0)


class InputBody(Body):
    """Text the note may use."""

    kind: Literal["clinician_summary", "observation", "dictation"]
    text: str = Field(min_length=1, max_length=50_000)


class SignBody(Body):
    """A signature."""

    version: int | None = Field(None, ge=1, description="The version the signer read.")


class LoginBody(Body):
    """Signing in."""

    email: str = Field(min_length=3, max_length=254)
    password: str = Field(min_length=1, max_length=1024)


class JoinBody(Body):
    """What an invitation's link carries."""

    session_id: str = Field(min_length=1, max_length=64)
    code: str = Field(min_length=8, max_length=200)
