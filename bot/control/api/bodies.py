"""What requests may say: one model a body, closed against unknown fields."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from bot.clinics import Language, LanguageTag
from bot.control.attesting import OURS
from bot.control.channel import MessageId
from bot.events import CaptureAction, Role

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
MOST_PEOPLE = 5
"""Largest call, one of each role: every browser in it sends its picture to every other one."""
MOST_NAMED = 12
"""Most people of one session, with those who share a microphone."""
DocumentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$")]


def _not_ours(method: str) -> str:
    if method in OURS:
        raise ValueError(f"{method} is recorded by the service itself")
    return method


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


class OnFile(Body):
    """Consent that a clinician attests to have on file; taken where the clinic's ``consent.on_file`` is on."""

    method: Literal["on_file"]
    attested_by: Identifier | None = Field(
        None,
        description="The clinician who vouches for it: a participant of this session. A platform names them; a "
        "signed-in clinician attests for themselves only, and may leave it out.",
    )
    text_version: str = Field(
        min_length=1, max_length=32, description="Version of the text that was signed, as it stands on the form."
    )
    date: dt.date = Field(description="The day it was signed.")
    document_id: DocumentId = Field(description="Where the signed document is found: an id, never a person's name.")
    until: AwareDatetime | None = Field(
        None, description="When it ends; left out: it holds for this session, whenever that is."
    )


ClientRef = Annotated[
    Identifier | None,
    Field(
        description="Of a client: the platform's reference of them over all their sessions, by which their record is "
        "exported, held and deleted; never a name. Left out: their id.",
    ),
]


class Participant(Body):
    """Somebody the session is for."""

    id: Identifier | None = Field(None, description="The platform's id of the person; made here when left out.")
    client_ref: ClientRef = None
    role: Role
    display_name: Name
    language: LanguageTag | None = Field(
        None,
        description="What they read, as a BCP 47 tag: they are asked in it where the clinic has its wording in it. "
        "Left out: the session's language.",
    )
    consent: OnFile | None = Field(None, description="Left out: they are asked in the call.")
    shares_with: Identifier | None = Field(
        None,
        description="Id of the client or guardian at whose page and microphone they sit, as a couple does, or a parent "
        "and child: each of them answers for themselves there, and what is said there is given to none of them alone.",
    )


class SharedBody(Body):
    """Somebody who sits at another participant's page and microphone."""

    id: Identifier | None = Field(None, description="The platform's id of the person; made here when left out.")
    client_ref: ClientRef = None
    role: Role = Field(description="`client` or `guardian`.")
    display_name: Name
    language: LanguageTag | None = Field(None, description="What they read; left out: the session's language.")


class NewSessionBody(Body):
    """A session to make."""

    clinic_id: str = Field(min_length=1, max_length=64)
    room: Room = Room()
    appointment: Appointment | None = None
    participants: tuple[Participant, ...] = Field((), max_length=MOST_NAMED)
    template: str | None = Field(None, max_length=64)
    language: Language | None = None
    mode: Literal["full", "summary_only"] = Field(
        "full", description="summary_only: never recorded, Start is refused; its note is made from what is typed."
    )


class CaptureBody(Body):
    """An action on the recording."""

    action: CaptureAction
    message_id: MessageId | None = Field(None, description="The same id and action again: the same answer, once only.")
    seq: int | None = Field(None, ge=0, description="The last state sequence the sender saw.")
    clinician_id: Identifier | None = Field(
        None, description="The clinician a platform acts for: a participant's id. With one in the session it is theirs."
    )


class ConsentBody(Body):
    """A participant's own answer; by ``verbal_attested`` a clinician's word that somebody else said yes aloud."""

    decision: Literal["granted", "declined", "revoked"]
    method: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(_not_ours)] = Field(
        "api",
        description="How it was given. `verbal_attested`: said aloud in the call, as the clinician attests whose token "
        "this is; taken where the clinic's `consent.verbal_attested` is on. The service's own (`asked`, "
        "`pressed_start`, `on_file`, `link`) are refused.",
    )
    text_version: str = Field(
        "", max_length=32, description="The version that was read; without it no text is recorded with the answer."
    )
    destroy: bool = Field(
        False,
        description="With `revoked`, from somebody who had agreed: everything that was recorded so far in this session "
        "is destroyed, of everybody. A recording that runs ends with it; after the call no note is made, and an "
        "unsigned draft is destroyed, without this too. A signed note stays.",
    )
    message_id: MessageId | None = None
    seq: int | None = Field(None, ge=0)


class InputBody(Body):
    """Text the note may use."""

    kind: Literal["clinician_summary", "observation", "dictation"]
    text: str = Field(min_length=1, max_length=50_000)


class HoldBody(Body):
    """A legal hold to place: on one client, or on one session."""

    client_ref: Identifier | None = Field(None, description="The client whose whole record is held.")
    session_id: str | None = Field(None, min_length=1, max_length=64, description="The session that is held.")
    matter: DocumentId = Field(description="Id of the case it is for: no spaces, never what it is about.")


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


class CopyBody(JoinBody):
    """What the link to somebody's own copy carries."""


class WebhookBody(Body):
    """A webhook endpoint to add."""

    url: str = Field(
        max_length=2048,
        description="An https address on the public internet, on the usual port or one from 1024. Without a name or "
        "password, in ASCII.",
    )


class RotateBody(Body):
    """How an endpoint's secret is replaced."""

    overlap_hours: int = Field(24, ge=0, le=168, description="For how long the old secret goes on signing too.")
