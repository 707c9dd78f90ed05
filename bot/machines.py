"""The state machines as data, and the one function that moves them.

A session never has one "status": the bot's run, each participant's consent, capture, and the three artefacts move
apart. Every table maps a state to the states that may follow it, each with what brings that about and what must hold
first; a state that maps to nothing is final. What is not in a table is :class:`bot.errors.InvalidTransition`, from
:func:`move`, and nothing changes.

A session is recorded in parts: Finish ends one, and Start after it, in the same call, begins the next. Capture and
audio are machines of a part, which begin anew with each; ``discarded`` is final for the session. The others are the
session's: what a new part does to transcript and note stands in their tables (:mod:`bot.store.parts`).

What a pause is for is a set of reasons beside the capture machine. Each has one owner, and only its owner lifts it
(:data:`PAUSED_FOR`). What each action of a clinician does to capture is :data:`bot.control.capture.DOES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from bot.errors import InvalidTransition
from bot.events import AudioState, BotState, CaptureState, ConsentState, NoteState, PauseReason, TranscriptState

B, C, K = BotState, ConsentState, CaptureState
A, T, N = AudioState, TranscriptState, NoteState
S = TypeVar("S", bound=StrEnum)

Table = Mapping[S, Mapping[S, str]]
"""By state: what may follow it, and why it does."""

AGAIN = "Start again, where capture never began or after Finish: another run"
END = "Finish, Discard, a no, or the call ended"
BROKE = "it cannot go on; the reason is recorded"

BOT: Table[BotState] = {
    B.ABSENT: {B.REQUESTED: "Start, by any door, while a client is in the room"},
    B.REQUESTED: {B.JOINING: "at once", B.LEAVING: END, B.FAILED: BROKE},
    B.JOINING: {
        B.WAITING_FOR_CLIENT: "it is in, and no client is",
        B.IN_CALL: "lanes and room are ready",
        B.LEAVING: END,
        B.FAILED: BROKE,
    },
    B.WAITING_FOR_CLIENT: {B.IN_CALL: "a client came in", B.LEAVING: END, B.FAILED: BROKE},
    B.IN_CALL: {B.REJOINING: "the process was started again", B.LEAVING: END, B.FAILED: BROKE},
    B.REJOINING: {
        B.IN_CALL: "what the process left behind is taken up",
        B.LEAVING: END,
        B.FAILED: BROKE,
    },
    B.LEAVING: {B.DONE: "its connections are closed", B.FAILED: BROKE},
    B.DONE: {B.REQUESTED: AGAIN},
    B.FAILED: {B.REQUESTED: AGAIN},
}

ASKED = "the bot is in the call, and so are they"
YES = "they agree, to the text of this session"
NO = "they decline"

CONSENT: Table[ConsentState] = {
    C.UNKNOWN: {C.REQUESTED: ASKED, C.GRANTED: "they agree unasked; a clinician does by Start", C.DECLINED: NO},
    C.REQUESTED: {C.GRANTED: YES, C.DECLINED: NO},
    C.GRANTED: {
        C.REVOKED: "they take it back, at any moment",
        C.EXPIRED: "it was on file with an end, and that has come; any other holds for its session",
    },
    C.DECLINED: {C.REQUESTED: ASKED, C.GRANTED: YES},
    C.REVOKED: {C.REQUESTED: ASKED, C.GRANTED: YES},
    C.EXPIRED: {C.REQUESTED: ASKED, C.GRANTED: YES, C.DECLINED: NO},
}

ALL_AGREE = "everybody who must agree has agreed"
HELD = "something holds it back: see PAUSED_FOR"
FINISH = "Finish, or the call ended; nothing is captured any more"
DISCARD = "Discard, or somebody who agreed takes it back with what there is: what was captured is destroyed"
TAKEN_BACK = "somebody who agreed takes it back, before the note is signed"
THROWN = f"a clinician discards it, or {TAKEN_BACK}"

CAPTURE: Table[CaptureState] = {
    K.OFF: {
        K.CONSENT_PENDING: "Start, while somebody who must agree has not",
        K.CAPTURING: f"Start, and {ALL_AGREE}",
        K.FINISHED: "a session that ends without a call",
        K.DISCARDED: "a session that ends without a call",
    },
    K.CONSENT_PENDING: {
        K.CAPTURING: ALL_AGREE,
        K.PAUSED: HELD,
        K.OFF: "every client declined, or everybody left: nothing was captured",
        K.FINISHED: FINISH,
        K.DISCARDED: DISCARD,
    },
    K.CAPTURING: {K.PAUSED: HELD, K.FINISHED: FINISH, K.DISCARDED: DISCARD},
    K.PAUSED: {
        K.CAPTURING: "its last reason was lifted",
        K.OFF: "the client declined before anything was captured",
        K.FINISHED: FINISH,
        K.DISCARDED: DISCARD,
    },
    K.FINISHED: {},
    K.DISCARDED: {},
}

PAUSED_FOR: Mapping[PauseReason, tuple[str, str]] = {
    PauseReason.CLINICIAN: ("Pause, or a change that could not be recorded", "Resume, by a clinician"),
    PauseReason.CONSENT: (
        "no client has agreed; or somebody present has not, where the clinic pauses for late joiners",
        "all of that is over",
    ),
    PauseReason.CLINICIAN_ABSENT: ("no clinician was in the room for as long as the clinic allows", "one came back"),
    PauseReason.CLIENT_ABSENT: (
        "nobody of the client's side was in the room for as long as the clinic allows",
        "one of them came back",
    ),
    PauseReason.STORAGE: ("the disk takes nothing, and memory is nearly full of what waits for it", "there is room"),
    PauseReason.NETWORK: ("the room cannot bring anybody's sound", "it can again"),
}
"""By reason: what brings it, and what alone lifts it. Capture is paused while there is any."""

AUDIO: Table[AudioState] = {
    A.ABSENT: {A.HELD: "the first sample may be captured"},
    A.HELD: {A.ERASED: "its words are safe, or were given up, or discarded: keys and chunks are destroyed"},
    A.ERASED: {},
}

TRANSCRIPT: Table[TranscriptState] = {
    T.ABSENT: {T.LIVE: "capture began"},
    T.LIVE: {
        T.READY: "the call is over and everything is recognised",
        T.FAILED: "recognition failed for good",
        T.PURGED: f"Discard; {TAKEN_BACK}",
    },
    T.READY: {
        T.LIVE: "Start after Finish: the words of another part join it",
        T.PURGED: f"the note was signed; its day came; {TAKEN_BACK}",
    },
    T.FAILED: {T.READY: "recognition was tried again", T.PURGED: f"its day came; {TAKEN_BACK}"},
    T.PURGED: {},
}

NOTE: Table[NoteState] = {
    N.ABSENT: {N.QUEUED: "the transcript is ready, or text was added in its place", N.DISCARDED: TAKEN_BACK},
    N.QUEUED: {N.GENERATING: "its turn came", N.FAILED: BROKE, N.DISCARDED: THROWN},
    N.GENERATING: {N.DRAFT: "it is written and checked", N.FAILED: BROKE, N.DISCARDED: THROWN},
    N.DRAFT: {
        N.QUEUED: "it is made again: by another template, with more text, with the words of another part",
        N.SIGNED: "a clinician signs it",
        N.DISCARDED: THROWN,
    },
    N.FAILED: {N.QUEUED: "it is tried again", N.DISCARDED: THROWN},
    N.SIGNED: {N.AMENDED: "a clinician adds to it"},
    N.AMENDED: {N.AMENDED: "a clinician adds to it again"},
    N.DISCARDED: {},
}


def move(table: Table[S], now: S, to: S) -> S:
    """Return ``to`` if the table lets it follow ``now``; raise :class:`InvalidTransition` if not."""
    if to not in table[now]:
        raise InvalidTransition(f"{now.value} cannot become {to.value}.", state=now.value)
    return to


def is_final(table: Table[S], state: S) -> bool:
    """True when nothing can follow ``state``."""
    return not table[state]
