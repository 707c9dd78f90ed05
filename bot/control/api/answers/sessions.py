"""Sessions, their lanes, their words, and what is done to them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from bot.asr.transcript import Attribution
from bot.control.api.answers.base import Ms, NextCursor, Reply, Sha256, Time
from bot.events import (
    AudioState,
    BotState,
    CaptureState,
    ConsentState,
    EndReason,
    GapReason,
    NoteState,
    PauseReason,
    Role,
    TranscriptState,
)

Seq = Annotated[int, Field(ge=0, description="Number of the session's last event.")]
PauseReasons = Annotated[
    list[PauseReason], Field(description="Everything that holds the capture; it goes on when none is left.")
]
StatusWords = Annotated[str, Field(description="The status words to show, such as `Recording`.")]
EndedBecause = Annotated[EndReason | None, Field(description="Why the bot's last run ended; null before.")]
WithdrawnBy = Annotated[
    str | None,
    Field(description="The participant who took their consent back and had what was recorded destroyed; null: nobody."),
]
Part = Annotated[
    int,
    Field(ge=1, description="Start after Finish, in the same call, begins the next. `capture` and `audio` are its."),
]
Samples = Annotated[int, Field(ge=0)]


class SessionParticipant(Reply):
    """Somebody invited."""

    id: str
    role: Role
    display_name: str
    consent: ConsentState
    language: str | None = Field(description="What they read, as a BCP 47 tag; null: the session's language.")
    shares_with: str | None = Field(
        description="The participant at whose page and microphone they sit; null: at their own."
    )
    admitted: bool = Field(description="Let in from the waiting room.")


class SessionRoom(Reply):
    """Where the call takes place."""

    transport: Literal["builtin", "livekit"]
    name: str | None


class SessionAppointment(Reply):
    """The appointment the session belongs to."""

    external_id: str = Field(description="The platform's id of it.")
    starts_at: Time | None
    ends_at: Time | None


class LaneAccount(Reply):
    """A lane's exact account, in 16 kHz samples.

    `elapsed = off + absent + captured + paused + withheld + lost`, and `captured = speech + silence`.
    """

    elapsed: Samples = Field(description="Samples since the call's clock began; counted by itself.")
    off: Samples = Field(description="Before Start, and after the end.")
    absent: Samples = Field(description="Nothing arrived, and nothing was sent.")
    captured: Samples = Field(description="Let through by the gate.")
    paused: Samples = Field(description="Dropped while paused.")
    withheld: Samples = Field(description="Dropped because this speaker has not agreed.")
    lost: Samples = Field(description="Sent, and never arrived.")
    speech: Samples = Field(description="Captured, and called speech.")
    silence: Samples = Field(description="Captured, and not called speech.")


class Lane(Reply):
    """A participant's lane."""

    id: str
    participant_id: str
    role: Role
    sample_rate_hz: int
    ledger: LaneAccount
    ledger_closes: bool = Field(description="True when every sample is accounted for exactly once.")
    committed_through_sample: Samples = Field(
        description="Everything of this lane before this sample of the call's clock is in words."
    )


class SessionWarning(Reply):
    """What a reader of the session should know."""

    slug: str = Field(
        description="`audio-lost`, `ledger-open`, the session's `failure_slug`, or a warning its pages were given: "
        "`words-set-aside` (until the transcript is ready), `disk-full`, `storage-unavailable`, `overloaded`, "
        "`audio-not-kept` (what could be kept nowhere is a gap in the transcript), or, while they hold, `no-words`, "
        "`microphone-silent`, `recognition-stalled`, `media-stalled`, `ending-alone`, `ending-silence`, `ending-soon`, "
        "`ending-now`."
    )
    participant_id: str | None = Field(description="Whose lane; null: the whole session.")
    ms: int = Field(0, description="With `audio-lost`: how much, in milliseconds.")
    since_ms: Ms | None = Field(None, description="With a warning the pages were given: when it began.")


class ClientSession(Reply):
    """A session as everybody else than its clinician reads it in the call: the bot, and their own consent."""

    id: str
    seq: Seq
    bot: BotState
    bot_end_reason: EndedBecause
    capture: CaptureState
    pause_reasons: PauseReasons
    words: StatusWords
    participants: list[SessionParticipant] = Field(description="The reader, and who shares their page and microphone.")


class StepNow(Reply):
    """How far the end of a session is."""

    step: Literal["transcript", "erase", "draft", "done"] = Field(
        description="`transcript`: the last words, in seconds of sound; `erase`: the audio is destroyed; `draft`: the "
        "note, in sections."
    )
    done: int = Field(ge=0, description="How much of the step is done.")
    total: int = Field(ge=0, description="Of how much.")
    at: Time = Field(description="When it moved last.")
    tries: int = Field(ge=0, description="How often the words could not be recognised; it is tried again by itself.")
    tried_at: Time | None


class Session(Reply):
    """A session as its clinician and its platform read it."""

    id: str
    clinic_id: str
    clinic_version: int = Field(description="Version of the clinic's configuration the session keeps to.")
    clinician_id: str | None
    room: SessionRoom
    mode: Literal["full", "summary_only"]
    template: str = Field(description="The note's template.")
    language: str = Field(description="The language spoken, such as `en` or `en-GB`.")
    appointment: SessionAppointment | None
    part: Part
    seq: Seq
    bot: BotState
    bot_end_reason: EndedBecause
    capture: CaptureState
    pause_reasons: PauseReasons
    audio: AudioState
    transcript: TranscriptState
    note: NoteState
    note_id: str | None
    withdrawn_by: WithdrawnBy
    words: StatusWords
    failure_slug: str | None = Field(
        description="Why words or note could not be made, as a problem's slug; null when nothing failed."
    )
    failure_cause: str | None = Field(
        description="The same more finely, such as `transcription-failed` or `endpoint-refused`, else the slug again."
    )
    making: StepNow | None = Field(description="How far words and note are; null while nothing is being made.")
    support_contact: str = Field(description="Whom to tell of a failure, with the session's id; may be empty.")
    participants: list[SessionParticipant]
    lanes: list[Lane] = Field(description="One for each participant the bot has heard.")
    warnings: list[SessionWarning]
    created_at: Time
    call_started_at: Time | None = Field(description="Zero of the call's clock.")
    captured_from: Time | None = Field(description="When the first sample was captured.")
    ended_at: Time | None
    transcript_ready_at: Time | None
    audio_erased_at: Time | None
    draft_ready_at: Time | None
    purge_at: Time | None = Field(description="When the transcript goes, or went.")
    erase_by: Time | None = Field(description="When the audio is destroyed whatever happened.")


class Sessions(Reply):
    """A page of sessions, newest first."""

    items: list[Session]
    next_cursor: NextCursor


class JoinLink(Reply):
    """What lets a participant in."""

    participant_id: str
    role: Role
    token: str = Field(description="A session token (JWT).")
    invite_url: str | None = Field(
        description="A personal link; its code stands after the `#`, which is sent to no server. Null for somebody who "
        "sits at another participant's page."
    )
    consent_url: str = Field(
        description="A link to their own copy of what they agree to, by which they withdraw after the call; made like "
        "the invitation, and good until 30 days after the note is signed."
    )


class NewSession(Reply):
    """The session that was made."""

    session: Session
    join: list[JoinLink]


class SharedMicrophone(Reply):
    """Somebody who sits at another participant's page and microphone."""

    participant: SessionParticipant
    token: str = Field(description="A session token (JWT) to answer for themselves with; it opens no page.")
    consent_url: str = Field(description="A link to their own copy of what they agree to.")


class Seat(Reply):
    """A seat in a session."""

    token: str = Field(description="A session token (JWT).")
    participant: SessionParticipant


class TranscriptSegment(Reply):
    """What was said in one go."""

    id: str
    participant_id: str | None = Field(description="Whose it is; null: one of `speakers`, and not known which.")
    role: Role | None = Field(description="Theirs; of several speakers the one they have in common, else null.")
    display_name: str = Field(description="Of several speakers such as `Robin or Sam`.")
    speakers: list[str] = Field(description="Everybody whose voice it may be.")
    attribution: Attribution = Field(
        description="`own`: from a microphone of their own; `shared`: from one that the speakers share; `separated`: "
        "from a shared one, told apart by voice (no engine here does that yet)."
    )
    start_ms: Ms
    end_ms: Ms
    text: str
    confidence: float = Field(ge=0, le=1, description="Geometric mean of the token probabilities, 0 to 1.")


class TranscriptGap(Reply):
    """A stretch without words."""

    start_ms: Ms
    end_ms: Ms
    reason: GapReason
    participant_id: str | None = Field(description="Whose lane; null: everybody's.")
    display_name: str | None = Field(description="Theirs, of all who share that microphone; null: everybody's.")
    pause_reasons: list[PauseReason] = Field(description="With `paused`: what held the capture.")


class Transcript(Reply):
    """All final words of a session in the order they were spoken, and the gaps."""

    session_id: str
    language: str
    segments: list[TranscriptSegment]
    gaps: list[TranscriptGap]


class InputAdded(Reply):
    """The text was kept."""

    id: str
    session_id: str
    kind: Literal["clinician_summary", "observation", "dictation"]


class Acknowledged(Reply):
    """The action was carried out."""

    state: CaptureState
    effective_at_ms: int = Field(
        description="Milliseconds on the call's clock from which it holds: nothing said later is kept while paused."
    )
    seq: Seq


class ConsentAcknowledged(Acknowledged):
    """The answer was recorded."""

    participant_id: str
    consent: ConsentState


class ConsentAttested(Reply):
    """That a clinician vouches for an answer."""

    attested_by: str = Field(description="The clinician's id among the participants.")
    date: dt.date | None = Field(description="The day it was signed; null for what was said aloud.")
    document_id: str | None
    until: Time | None = Field(description="When it ends; null: it holds for the session.")


class ConsentAnswer(Reply):
    """One answer."""

    decision: Literal["granted", "declined", "revoked", "expired"]
    method: str = Field(
        description="`in_call`, `api` or a platform's own word; the service's: `pressed_start`, `on_file`, "
        "`verbal_attested`."
    )
    text_version: str | None = Field(description="Version of the text it was given to; null where there was none.")
    text_sha256: Sha256 | None = Field(description="Hash of exactly the text that was on the screen; null: none was.")
    language: str | None = Field(description="Of that text.")
    by: str = Field(description="Id of who gave it: the participant, unless `attested` says otherwise.")
    at: Time
    attested: ConsentAttested | None = Field(description="Null where the participant answered themselves.")


class ConsentAnswers(Reply):
    """What somebody answered, in order."""

    participant_id: str
    consent: ConsentState
    answers: list[ConsentAnswer]


class Admitted(Reply):
    """They are in."""

    participant_id: str
    admitted: Literal[True]
