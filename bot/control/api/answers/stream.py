"""The events of a session's stream, and of the inbox's: what stands in ``data``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from bot.control.api.answers.base import Ms, Reply, Time
from bot.control.api.answers.notes import InboxItem
from bot.control.api.answers.sessions import EndedBecause, Part, PauseReasons, Seq, StatusWords, WithdrawnBy
from bot.events import AudioState, BotState, CaptureState, NoteState, TranscriptState


class Change(Reply):
    """A row of the session's log."""

    seq: Seq
    kind: str = Field(description="What happened, such as `capture.paused`.")
    at: Time
    data: dict[str, Any] = Field(description="Ids and states that belong to it: never words.")


class ScribeAttributes(Reply):
    """The bot's attributes."""

    scribe_state: Literal["off", "waiting", "capturing", "paused"] = Field(alias="scribe.state")


class StateNow(Reply):
    """The four machines as they stand. A client's stream has neither audio, transcript, note nor its id."""

    session_id: str
    seq: Seq
    bot: BotState
    bot_end_reason: EndedBecause
    capture: CaptureState
    pause_reasons: PauseReasons
    audio: AudioState = AudioState.ABSENT
    transcript: TranscriptState = TranscriptState.ABSENT
    note: NoteState = NoteState.ABSENT
    note_id: str | None = None
    withdrawn_by: WithdrawnBy = None
    part: Part | None = None
    words: StatusWords
    now_ms: Ms
    attributes: ScribeAttributes


class Caption(Reply):
    """Words as they come. A higher ``rev`` replaces a lower one; a final does not change any more."""

    type: Literal["caption"]
    segment_id: str
    rev: int
    final: bool
    participant_id: str | None = Field(description="Null: one of `speakers`, and not known which.")
    speakers: list[str] = Field(description="Everybody whose voice it may be.")
    start_ms: Ms
    end_ms: Ms
    text: str


class Level(Reply):
    """How loud a lane is."""

    rms_dbfs: float = Field(description="Root mean square, in dB below full scale.")
    peak_dbfs: float = Field(description="The loudest sample, in dB below full scale.")


class Levels(Reply):
    """How loud everybody is, about five times a second while capturing."""

    type: Literal["levels"]
    levels: dict[str, Level] = Field(description="By participant.")


class LaneMs(Reply):
    """A lane's account, in milliseconds."""

    captured_ms: int
    paused_ms: int
    withheld_ms: int
    lost_ms: int
    absent_ms: int


class Ledgers(Reply):
    """The lanes' accounts, about once a second."""

    type: Literal["ledger"]
    lanes: dict[str, LaneMs] = Field(description="By participant.")


class Lag(Reply):
    """How far the words are behind."""

    type: Literal["lag"]
    lag_ms: int = Field(description="Age in milliseconds of the oldest utterance that is not yet in words; 0: over.")


class LiveWarning(Reply):
    """Something the clinician should know now."""

    type: Literal["warning"]
    slug: str
    participant_id: str | None
    since_ms: Ms
    over: bool = Field(description="True once, when a warning that passes by itself is over.")


class Progress(Reply):
    """How far the note is, after Finish."""

    type: Literal["progress"]
    step: str
    done: int = Field(description="Parts of this step that are done.")
    total: int = Field(description="Parts of this step.")


class InboxChanged(Reply):
    """What changed in the reader's inbox since the last one; the first one of a stream without `Last-Event-ID`: nothing
    but the badge.
    """

    seq: int = Field(ge=0, description="The inbox's number: the event's `id`.")
    unread: int = Field(ge=0, description="How many items the reader has not read: the badge.")
    items: list[InboxItem] = Field(description="As they are now: new, changed, or read by this reader elsewhere.")


class Moved(Reply):
    """A session's recording, transcript or note came to another state: its line in the list of notes has changed."""

    type: Literal["moved"]
    session_id: str


EVENTS: Mapping[str, type[Reply]] = {
    "change": Change,
    "state": StateNow,
    "caption": Caption,
    "levels": Levels,
    "ledger": Ledgers,
    "lag": Lag,
    "warning": LiveWarning,
    "progress": Progress,
}
"""Every event of a session's stream by its name."""
INBOX_EVENTS: Mapping[str, type[Reply]] = {"inbox": InboxChanged, "moved": Moved}
"""Every event of the inbox's stream by its name."""
