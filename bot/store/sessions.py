"""Sessions, whole: one object with everything the other parts ask of the store about a session.

    states.py       make, read, list, and the one way states move
    people.py       participants, consent, admission, acks of control messages
    words.py        lanes, finals, gaps, the transcript and its end
    note_store.py   text inputs, the note, the inbox
    withdrawals.py  consent that is taken back together with what was captured
    copies.py       people's own copies of what they agreed to
    tries.py        which failure of a note is new, and which note is due to be tried again
    answers.py      idempotency keys

Each is a class of its own over :class:`bot.store.ground.Ground`; :class:`SessionStore` is all of them.
"""

from __future__ import annotations

from bot.store.answers import AnswerStore
from bot.store.copies import CopyStore
from bot.store.note_store import NoteStore
from bot.store.people import PeopleStore
from bot.store.records import (
    Attestation,
    ConsentRecord,
    InboxRecord,
    LaneRecord,
    NewParticipant,
    NewSession,
    NoteRecord,
    NoteSummary,
    ParticipantRecord,
    ReceiptRecord,
    SessionRecord,
    StoredAnswer,
    TranscriptPurge,
    new_id,
)
from bot.store.states import StateStore
from bot.store.tries import TryStore
from bot.store.withdrawals import WithdrawalStore

__all__ = [
    "Attestation",
    "ConsentRecord",
    "InboxRecord",
    "LaneRecord",
    "NewParticipant",
    "NewSession",
    "NoteRecord",
    "NoteSummary",
    "ParticipantRecord",
    "ReceiptRecord",
    "SessionRecord",
    "SessionStore",
    "StoredAnswer",
    "TranscriptPurge",
    "new_id",
]


class SessionStore(StateStore, PeopleStore, NoteStore, WithdrawalStore, CopyStore, TryStore, AnswerStore):
    """Everything the store knows and does about sessions.

    Names, inputs, notes and idempotency answers are sealed under ``clinic:<id>``; words under ``words:<session_id>``.
    Every change of state is one transaction that also writes its ``session_events`` row.
    """
