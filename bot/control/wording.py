"""The fixed words people read: status words, and what people agree to."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from bot.clinics import ClinicConfig
from bot.events import CLIENT_SIDE, CaptureState, NoteState, Role, TranscriptState

VERSION_CHARS = 32
"""Longest version that is stored with an answer."""
DIGEST_CHARS = 8
"""Hexadecimal digits of the text's hash in its version."""
HOURS_A_DAY = 24
BUILT_IN_LANGUAGE = "en"

BUILT_IN = (
    "{A_clinician} would like a computer program to listen to this session and write down what is said, so that they "
    "can write their notes.",
    "It hears everybody in this call: {people}. The sound is destroyed as soon as it has been turned into words, "
    "{sound} after the session at the latest.",
    "{A_clinician} can read the words, and so can the computer systems that the clinic uses.{captions}{writer} Nobody "
    "else gets them.",
    "The words are deleted when the notes are signed, or {words} after the session at the latest. The notes are kept. "
    "They may repeat things that were said.",
    "You can say no. The session goes on just the same. If you say yes, you can change your mind at any time. Then you "
    "are not recorded, and can have it all destroyed, until the notes are signed.",
)
"""Its paragraphs: what for; who is heard; who reads; how long; how to say no."""
CAPTIONS_FOR_ALL = " During the call, everybody in it sees them on their screen."
WRITER_ELSEWHERE = " To write the notes, they are also sent to another computer service that the clinic chose."

AT_START = "Start is your own yes too: what you say is recorded as well."
"""What stands beside Start, for whoever presses it."""

NAMES = {
    Role.CLINICIAN: "clinician",
    Role.CLIENT: "client",
    Role.GUARDIAN: "parent or guardian",
    Role.INTERPRETER: "interpreter",
    Role.GUEST: "guest",
}
"""What each role is called in the consent text, in the order in which they are named."""

NOT_RECORDING = "Not recording"
STARTING = "Starting"
"""From Start to the first sound of everybody in the room: what is heard is captured, but not everybody is heard yet."""
WORDS_FOR_ALL = frozenset({NOT_RECORDING, "Waiting for consent", STARTING, "Recording", "Paused"})
"""Status words of the recording; the others tell what becomes of the clinician's note."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was on somebody's screen when they answered; all empty where nothing of ours was."""

    version: str = ""
    sha256: str = ""
    """Of exactly that text; empty where the version is not one that we showed."""
    language: str = ""


@dataclass(frozen=True, slots=True)
class ConsentText:
    """What a participant is shown before they answer."""

    version: str
    """Another for every other text: it ends with the beginning of the text's hash."""
    text: str
    language: str = BUILT_IN_LANGUAGE
    """What the text is written in, as a BCP 47 tag."""

    @property
    def sha256(self) -> str:
        """The text's hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def read(self) -> Read:
        """This text, as it is recorded of who read it."""
        return Read(self.version, self.sha256, self.language)


def consent_text(config: ClinicConfig, language: str, reader: Role, invited: Collection[Role]) -> ConsentText:
    """The clinic's wording in the language, else in the clinic's own language, else the built-in text for this reader.

    ``invited`` holds the role of everybody who is invited, the reader among them.
    """
    own = {tag: text for tag, text in config.consent.wording.items() if text}
    for wanted in (language, config.asr.language, BUILT_IN_LANGUAGE):
        tag = closest(wanted, own)
        if tag is not None:
            return ConsentText(versioned(config.consent.wording_version, own[tag]), own[tag], tag)
    text = _built_in(config, reader, invited)
    return ConsentText(versioned("built-in", text), text)


def start_text() -> ConsentText:
    """What stands beside Start."""
    return ConsentText(versioned("start", AT_START), AT_START)


def closest(language: str, having: Collection[str]) -> str | None:
    """Of the tags there are the one that fits, by lookup as in RFC 4647: ``de-CH`` finds ``de``, never ``de-AT``."""
    tags = {tag.lower(): tag for tag in having}
    parts = language.lower().split("-")
    while parts:
        found = tags.get("-".join(parts))
        if found is not None:
            return found
        parts.pop()
        if parts and len(parts[-1]) == 1:  # what introduces an extension says nothing alone
            parts.pop()
    return None


def versioned(name: str, text: str) -> str:
    """A version that no other text has: a name, and the beginning of the text's hash."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{name[: VERSION_CHARS - DIGEST_CHARS - 1]}-{digest}"


def _built_in(config: ClinicConfig, reader: Role, invited: Collection[Role]) -> str:
    count = Counter(invited)
    clinician = _called(Role.CLINICIAN, max(1, count[Role.CLINICIAN]), reader)
    return "\n\n".join(BUILT_IN).format(
        A_clinician=clinician[0].upper() + clinician[1:],
        people=_people(count, reader),
        captions=CAPTIONS_FOR_ALL if config.capture.client_captions else "",
        writer=WRITER_ELSEWHERE if config.note.writer == "openai" else "",
        sound=_time(config.retention.erase_audio_within_h),
        words=_time(config.retention.transcript_days * HOURS_A_DAY),
    )


def _people(count: Counter[Role], reader: Role) -> str:
    """Everybody who is invited, the reader first."""
    others = count - Counter([reader])
    named = ["you", *(_called(role, others[role], reader, other=role is reader) for role in NAMES if others[role])]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _called(role: Role, number: int, reader: Role, *, other: bool = False) -> str:
    """What people of a role are called for the reader: clients have a clinician and a guardian of their own."""
    own = (role is Role.CLINICIAN and reader in CLIENT_SIDE) or (role is Role.GUARDIAN and reader is Role.CLIENT)
    name = "parents or guardians" if number > 1 and role is Role.GUARDIAN else NAMES[role] + "s" * (number > 1)
    return f"{'your' if own else 'the'} {'other ' if other else ''}{name}"


def _time(hours: float) -> str:
    number, unit = at_most(hours)
    return f"one {unit}" if number == 1 else f"{number} {unit}s"


def at_most(hours: float) -> tuple[int, str]:
    """How long in whole days, hours or minutes; never less than it is."""
    minutes = math.ceil(round(hours * 60, 6))
    whole_hours = math.ceil(minutes / 60)
    if minutes % 60 and minutes < 2 * 60:
        return minutes, "minute"
    if whole_hours % HOURS_A_DAY:
        return whole_hours, "hour"
    return whole_hours // HOURS_A_DAY, "day"


def words_for_all(words: str) -> str:
    """The status words as those who do not write the note may read them: the recording's."""
    return words if words in WORDS_FOR_ALL else NOT_RECORDING


def status_words(capture: CaptureState, transcript: TranscriptState, note: NoteState, *, failed: bool = False) -> str:
    """The status pill's words; ``failed``: the session has a reason why there is no note."""
    match capture:
        case CaptureState.CONSENT_PENDING:
            return "Waiting for consent"
        case CaptureState.CAPTURING:
            return "Recording"
        case CaptureState.PAUSED:
            return "Paused"
        case CaptureState.FINISHED:
            if note in {NoteState.DRAFT, NoteState.SIGNED, NoteState.AMENDED}:
                return "Draft ready"  # from what was typed, where the words of the call could not be had
            if note in {NoteState.QUEUED, NoteState.GENERATING}:
                return "Processing"
            if note is NoteState.DISCARDED:
                return NOT_RECORDING
            failed = failed and note is NoteState.ABSENT
            if failed or note is NoteState.FAILED or transcript is TranscriptState.FAILED:
                return "Could not generate"
            if note is NoteState.ABSENT and transcript in {TranscriptState.ABSENT, TranscriptState.PURGED}:
                return NOT_RECORDING
            return "Processing"
        case _:
            return NOT_RECORDING
