"""People's own copies of what they agreed to."""

from __future__ import annotations

from pydantic import Field

from bot.control.api.answers.base import Reply, Time
from bot.control.api.answers.sessions import ConsentAnswer
from bot.control.mycopy import NoteWord, Withdrawal
from bot.events import AudioState, ConsentState, Role, TranscriptState


class ConsentLink(Reply):
    """A link to one's own copy."""

    participant_id: str
    consent_url: str = Field(description="Its code stands after the `#`, which is sent to no server.")


class CopyAnswer(ConsentAnswer):
    """One answer, and what was read before it."""

    text: str | None = Field(description="The text, word for word; null where none was shown here.")


class CopyOwner(Reply):
    """Whose copy it is."""

    id: str
    role: Role
    display_name: str


class CopyClinic(Reply):
    """Whom to ask."""

    name: str
    support_contact: str


class Happened(Reply):
    """What became of it: states and times."""

    recorded_from: Time | None = Field(description="When the first sample was captured; null: nothing was.")
    recorded_to: Time | None
    audio: AudioState
    audio_destroyed_at: Time | None
    transcript: TranscriptState
    transcript_destroyed_at: Time | None
    transcript_gone_by: Time | None = Field(description="When the transcript goes at the latest.")
    note: NoteWord
    signed_at: Time | None


class ConsentCopy(Reply):
    """Somebody's own copy of what they agreed to, as it stands."""

    session_id: str
    participant: CopyOwner
    clinic: CopyClinic
    consent: ConsentState
    answers: list[CopyAnswer] = Field(description="Every answer in order, the first one first.")
    happened: Happened
    withdrawal: Withdrawal = Field(
        description="`possible`: it destroys what was recorded and an unsigned draft; `after_signing`: it is recorded "
        "and passed on; `withdrawn`: that was done, and nothing is left to destroy; `ended`: the consent came to its "
        "end, and there is nothing to destroy; `never_agreed`."
    )
    link_until: Time | None = Field(description="When the link ends; null while something could still be destroyed.")
