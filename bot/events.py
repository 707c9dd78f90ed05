"""The frozen types that cross a border between two parts of the house.

Units stand in the field names. Positions named ``*_sample`` count 16 kHz samples on the call's clock
(:class:`bot.clock.CallClock`); positions named ``*_ms`` count milliseconds on the same clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000

Pcm = npt.NDArray[np.int16]
"""Mono 16 kHz signed 16-bit samples, shape ``(n,)``."""


def ms_of(sample: int) -> int:
    """Milliseconds on the call's clock of a sample position, rounded down."""
    return sample // SAMPLES_PER_MS


def sample_of(ms: int) -> int:
    """Sample position of a millisecond on the call's clock."""
    return ms * SAMPLES_PER_MS


def whole_ms(sample: int) -> int:
    """The sample position itself when it lies on a whole millisecond, else the next one that does."""
    return -(-sample // SAMPLES_PER_MS) * SAMPLES_PER_MS


# -- who -------------------------------------------------------------------------------------------------------------


class Role(StrEnum):
    """What a person is in a session. Taken from a verified token, never from a message."""

    CLINICIAN = "clinician"
    CLIENT = "client"
    GUARDIAN = "guardian"
    INTERPRETER = "interpreter"
    GUEST = "guest"


CLIENT_SIDE = frozenset({Role.CLIENT, Role.GUARDIAN})
"""Roles that count as "the client is here"."""


# -- the four state machines: their words (their transitions are in bot/machines.py) ---------------------------------


class BotState(StrEnum):
    """Where the bot is. ``absent`` is before the first Start: no bot, no peer connection."""

    ABSENT = "absent"
    REQUESTED = "requested"
    JOINING = "joining"
    WAITING_FOR_CLIENT = "waiting_for_client"
    IN_CALL = "in_call"
    REJOINING = "rejoining"
    LEAVING = "leaving"
    DONE = "done"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a bot run ended: a closed set."""

    STOPPED_BY_CLINICIAN = "stopped_by_clinician"
    CALL_ENDED = "call_ended"
    LEFT_ALONE = "left_alone"
    EVICTED = "evicted"
    JOIN_TIMEOUT = "join_timeout"
    CONSENT_DECLINED = "consent_declined"
    MAX_DURATION = "max_duration"
    CAPTURE_FAILURE = "capture_failure"
    PLATFORM_ERROR = "platform_error"


class ConsentState(StrEnum):
    """One participant's answer. Only ``granted`` opens that participant's lane."""

    UNKNOWN = "unknown"
    REQUESTED = "requested"
    GRANTED = "granted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


class CaptureState(StrEnum):
    """Whether the session is being captured."""

    OFF = "off"
    CONSENT_PENDING = "consent_pending"
    CAPTURING = "capturing"
    PAUSED = "paused"
    FINISHED = "finished"
    DISCARDED = "discarded"


class PauseReason(StrEnum):
    """Why capture is paused. Reasons are held apart: lifting one leaves the others."""

    CLINICIAN = "clinician"
    CONSENT = "consent"
    NETWORK = "network"
    CLINICIAN_ABSENT = "clinician_absent"
    CLIENT_ABSENT = "client_absent"
    STORAGE = "storage"
    """What is captured could be kept nowhere: see docs/adr/0013."""


class AudioState(StrEnum):
    """The session's audio."""

    ABSENT = "absent"
    HELD = "held"
    ERASED = "erased"


class TranscriptState(StrEnum):
    """The session's transcript."""

    ABSENT = "absent"
    LIVE = "live"
    READY = "ready"
    FAILED = "failed"
    PURGED = "purged"


class NoteState(StrEnum):
    """The session's note."""

    ABSENT = "absent"
    QUEUED = "queued"
    GENERATING = "generating"
    DRAFT = "draft"
    SIGNED = "signed"
    AMENDED = "amended"
    FAILED = "failed"
    DISCARDED = "discarded"


class CaptureAction(StrEnum):
    """What can be asked of the capture machine, by any door."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    FINISH = "finish"
    DISCARD = "discard"


# -- hop 1: sound enters ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A run of decoded sound from one participant, already placed on the call's clock by the room."""

    lane_id: str
    start_sample: int
    """Position of ``pcm[0]``."""
    pcm: Pcm
    lost_before: int = 0
    """Samples directly before ``start_sample`` that the sender sent and we never got (from sequence gaps)."""
    late: int = 0
    """What lies at ``p`` was spoken by ``p + late``: the sender's clock lags."""
    early: int = 0
    """What lies at ``p`` was spoken after ``p - early``: it was held up on its way."""

    @property
    def end_sample(self) -> int:
        """Position just after the last sample."""
        return self.start_sample + len(self.pcm)


class GateState(StrEnum):
    """What the gate does with a sample; each sample of a lane falls under exactly one of these."""

    OFF = "off"
    """Before Start and after Finish or Discard."""
    OPEN = "open"
    """Captured."""
    PAUSED = "paused"
    WITHHELD = "withheld"
    """This lane's speaker has not granted, while others may be captured."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A lane's exact account, in 16 kHz samples. ``elapsed`` is counted by itself and must equal the sum."""

    elapsed: int = 0
    off: int = 0
    absent: int = 0
    captured: int = 0
    paused: int = 0
    withheld: int = 0
    lost: int = 0
    speech: int = 0
    silence: int = 0

    @property
    def closes(self) -> bool:
        """True when every sample is accounted for exactly once, and every captured one as speech or silence."""
        parts = self.off + self.absent + self.captured + self.paused + self.withheld + self.lost
        return self.elapsed == parts and self.captured == self.speech + self.silence


@dataclass(frozen=True, slots=True)
class CapturedAudio:
    """Samples the gate let through. The only form in which sound travels past the gate."""

    lane_id: str
    start_sample: int
    pcm: Pcm

    @property
    def end_sample(self) -> int:
        """Position just after the last sample."""
        return self.start_sample + len(self.pcm)

    def between(self, start: int, end: int) -> CapturedAudio:
        """What of it lies from ``start`` to ``end``; may be empty."""
        start = max(start, self.start_sample)
        pcm = self.pcm[start - self.start_sample : max(0, end - self.start_sample)]
        return CapturedAudio(self.lane_id, start, pcm)


class BoundaryReason(StrEnum):
    """Why a captured stretch ended; an open window is closed there and no pre-roll crosses it."""

    PAUSED = "paused"
    WITHHELD = "withheld"
    LOST = "lost"
    ABSENT = "absent"
    FINISHED = "finished"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class LaneBoundary:
    """A captured stretch of a lane ended at ``at_sample``."""

    lane_id: str
    at_sample: int
    reason: BoundaryReason


@dataclass(frozen=True, slots=True)
class LaneLevel:
    """A lane's loudness over the last stretch, for the meters."""

    lane_id: str
    at_sample: int
    rms_dbfs: float
    peak_dbfs: float


# -- hop 2: windows --------------------------------------------------------------------------------------------------


class WindowEnd(StrEnum):
    """Why a window ended."""

    SILENCE = "silence"
    FORCED = "forced"
    BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """A stretch of one lane that holds speech; ``end`` is None while it still grows.

    A growing window is sent again, longer, under the same ``window_id``; the one with ``end`` set is the last.
    """

    window_id: str
    lane_id: str
    start_sample: int
    pcm: Pcm
    speech_samples: int
    """Samples in ``pcm`` that the VAD called speech: acoustic evidence for the recogniser's decision."""
    end: WindowEnd | None = None
    settled: bool = False
    """It still grows, but its speaker fell silent: unless more is said, this is the very sound of its end."""
    speech: tuple[tuple[int, int], ...] = ()
    """Where in ``pcm`` that speech is, from sample to sample; empty where nobody says."""

    @property
    def end_sample(self) -> int:
        """Position just after the last sample."""
        return self.start_sample + len(self.pcm)

    @property
    def final(self) -> bool:
        """True when the window will not grow any more."""
        return self.end is not None


# -- hops 3 and 4: words ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word on the call's clock."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, slots=True)
class Speaker:
    """One of those whose voice a turn may be."""

    participant_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class Segment:
    """What one window said. A final is immutable; a partial is replaced by the next revision of the same id."""

    segment_id: str
    rev: int
    final: bool
    lane_id: str
    participant_id: str
    role: Role
    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 0.0
    """Geometric mean of the token probabilities, 0 to 1."""
    language: str = "en"
    committed_through_sample: int = 0
    """On a final: everything of this lane before this position is now in words, so its audio may go."""
    speakers: tuple[Speaker, ...] = ()
    """Everybody whose voice it may be, where several people share the microphone; empty: ``participant_id``'s own."""


class GapReason(StrEnum):
    """Why the transcript holds nothing for a stretch."""

    PAUSED = "paused"
    WITHHELD = "withheld"
    LOST = "lost"
    ABSENT = "absent"
    INTERRUPTED = "interrupted"
    """The service itself was away (a crash, a restart)."""
    OFF = "off"
    """Between Finish and a Start in the same call."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without words, and why. ``participant_id`` is None when it holds for everybody."""

    start_ms: int
    end_ms: int
    reason: GapReason
    participant_id: str | None = None
    pause_reasons: tuple[PauseReason, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """All finals of a session in the order they were spoken, with the gaps."""

    session_id: str
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...] = ()
    language: str = "en"


# -- hops 5 and 6: the note ------------------------------------------------------------------------------------------


class EvidenceSource(StrEnum):
    """What a sentence of the note rests on."""

    SEGMENT = "segment"
    INPUT = "input"
    PRIOR_NOTE = "prior_note"
    GOAL = "goal"
    RECORD = "record"


class SentenceStatus(StrEnum):
    """How a sentence of the note stands to its evidence."""

    SUPPORTED = "supported"
    INFERRED = "inferred"
    CLINICIAN_ENTERED = "clinician_entered"
    CARRIED_OVER = "carried_over"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place a sentence comes from."""

    source: EvidenceSource
    source_id: str
    """Segment id, input id, note id, goal id, or the name of a record."""
    start_ms: int | None = None
    end_ms: int | None = None
    sha256: str = ""
    """Hash of the evidence's text in UTF-8: it stays with the note after the transcript is gone."""


@dataclass(frozen=True, slots=True)
class NoteSentence:
    """One sentence of a note."""

    sentence_id: str
    text: str
    status: SentenceStatus
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    """Why it was held back, in one plain sentence that repeats nothing of it; empty otherwise."""


@dataclass(frozen=True, slots=True)
class NoteSection:
    """One section of a note. Without sentences its ``placeholder`` is shown ("Not discussed.")."""

    key: str
    title: str
    sentences: tuple[NoteSentence, ...] = ()
    placeholder: str = "Not discussed."


@dataclass(frozen=True, slots=True)
class NoteDraft:
    """What a writer made."""

    template_id: str
    template_version: int
    writer: str
    """Name and version of the writer, such as ``extractive/1`` or ``openai/<model>``."""
    sections: tuple[NoteSection, ...]
    held_back: tuple[NoteSentence, ...] = ()
    """Sentences whose evidence did not hold: shown apart, never in the draft."""
    coverage: float = 1.0
    """Share of the transcript's segments that the writer was shown, 0 to 1."""
    notice: str = ""
    """What the reader should know of how it was made, in one plain sentence."""


@dataclass(frozen=True, slots=True)
class TextInput:
    """Text that a clinician added for the note to use."""

    input_id: str
    kind: str
    """``clinician_summary``, ``observation`` or ``dictation``."""
    text: str
    author_id: str


@dataclass(frozen=True, slots=True)
class NoteRequest:
    """All that a writer may know of a session."""

    session_id: str
    transcript: Transcript
    template_id: str
    inputs: tuple[TextInput, ...] = ()
    language: str = "en"
    facts: Mapping[str, str] = field(default_factory=dict)
    """Session facts from records (``started_at``, ``minutes_captured``, ``participants`` by role)."""


# -- what happened, for streams, webhooks and the audit --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A change of state. Ids and states only: never a word that anybody said or wrote."""

    session_id: str
    seq: int
    kind: str
    """The webhook's name for it, such as ``capture.paused``."""
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
