"""The four state machines as data, and the one function that moves them.

A session never has one "status": the bot's run, each participant's consent, capture, and the three artefacts move
apart. Every table maps a state to the states that may follow it; a state that maps to nothing is final.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from bot.errors import InvalidTransition
from bot.events import AudioState, BotState, CaptureState, ConsentState, NoteState, TranscriptState

B, C, K = BotState, ConsentState, CaptureState
A, T, N = AudioState, TranscriptState, NoteState

BOT: Mapping[BotState, frozenset[BotState]] = {
    B.ABSENT: frozenset({B.REQUESTED}),
    B.REQUESTED: frozenset({B.JOINING, B.LEAVING, B.FAILED}),
    B.JOINING: frozenset({B.WAITING_FOR_CLIENT, B.IN_CALL, B.LEAVING, B.FAILED}),
    B.WAITING_FOR_CLIENT: frozenset({B.IN_CALL, B.LEAVING, B.FAILED}),
    B.IN_CALL: frozenset({B.REJOINING, B.LEAVING, B.FAILED}),
    B.REJOINING: frozenset({B.IN_CALL, B.LEAVING, B.FAILED}),
    B.LEAVING: frozenset({B.DONE, B.FAILED}),
    # a run ends in done or failed; a later Start of the same session begins another run
    B.DONE: frozenset({B.REQUESTED}),
    B.FAILED: frozenset({B.REQUESTED}),
}

CONSENT: Mapping[ConsentState, frozenset[ConsentState]] = {
    C.UNKNOWN: frozenset({C.REQUESTED, C.GRANTED, C.DECLINED}),
    C.REQUESTED: frozenset({C.GRANTED, C.DECLINED}),
    C.GRANTED: frozenset({C.REVOKED, C.EXPIRED}),
    C.DECLINED: frozenset({C.REQUESTED, C.GRANTED}),
    C.REVOKED: frozenset({C.REQUESTED, C.GRANTED}),
    C.EXPIRED: frozenset({C.REQUESTED, C.GRANTED, C.DECLINED}),
}

CAPTURE: Mapping[CaptureState, frozenset[CaptureState]] = {
    K.OFF: frozenset({K.CONSENT_PENDING, K.CAPTURING, K.PAUSED, K.FINISHED, K.DISCARDED}),
    K.CONSENT_PENDING: frozenset({K.CAPTURING, K.PAUSED, K.OFF, K.FINISHED, K.DISCARDED}),
    K.CAPTURING: frozenset({K.PAUSED, K.FINISHED, K.DISCARDED}),
    K.PAUSED: frozenset({K.CAPTURING, K.FINISHED, K.DISCARDED}),
    K.FINISHED: frozenset(),
    K.DISCARDED: frozenset(),
}

AUDIO: Mapping[AudioState, frozenset[AudioState]] = {
    A.ABSENT: frozenset({A.HELD}),
    A.HELD: frozenset({A.ERASED}),
    A.ERASED: frozenset(),
}

TRANSCRIPT: Mapping[TranscriptState, frozenset[TranscriptState]] = {
    T.ABSENT: frozenset({T.LIVE}),
    T.LIVE: frozenset({T.READY, T.FAILED, T.PURGED}),
    T.READY: frozenset({T.PURGED}),
    T.FAILED: frozenset({T.READY, T.PURGED}),
    T.PURGED: frozenset(),
}

NOTE: Mapping[NoteState, frozenset[NoteState]] = {
    N.ABSENT: frozenset({N.QUEUED}),
    N.QUEUED: frozenset({N.GENERATING, N.FAILED, N.DISCARDED}),
    N.GENERATING: frozenset({N.DRAFT, N.FAILED, N.DISCARDED}),
    N.DRAFT: frozenset({N.QUEUED, N.SIGNED, N.DISCARDED}),
    N.FAILED: frozenset({N.QUEUED, N.DISCARDED}),
    N.SIGNED: frozenset({N.AMENDED}),
    N.AMENDED: frozenset({N.AMENDED}),
    N.DISCARDED: frozenset(),
}

S = TypeVar("S", bound=StrEnum)


def move(table: Mapping[S, frozenset[S]], now: S, to: S) -> S:
    """Return ``to`` if the table lets it follow ``now``; raise :class:`InvalidTransition` if not."""
    if to not in table[now]:
        raise InvalidTransition(f"{now.value} cannot become {to.value}.", state=now.value)
    return to


def is_final(table: Mapping[S, frozenset[S]], state: S) -> bool:
    """True when nothing can follow ``state``."""
    return not table[state]
