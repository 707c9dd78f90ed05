"""Sessions, whole: one object with everything the other parts ask of the store about a session.

    states.py       make, read, list, and the one way states move
    people.py       participants, consent, admission, acks of control messages
    words.py        lanes, finals, gaps, the transcript and its end
    note_store.py   text inputs, the note
    drafts_due.py   notes and drafts whose time is up
    inbox_store.py  the inbox, and what each reader has read of it
    making.py       how far the end of a session is, which attempt at its note counts, tries at its words
    parts.py        moves of capture, and recording on after Finish
    withdrawals.py  consent that is taken back together with what was captured
    retention.py    what is due to be destroyed, and who is told before
    copies.py       people's own copies of what they agreed to
    sharing.py      several named persons at one microphone
    tries.py        which failure of a note is new, and which note is due to be tried again
    answers.py      idempotency keys
    claims.py       which process serves a session, and which run of its workflow may change it

Each is a class of its own over :class:`bot.store.ground.Ground`; :class:`SessionStore` is all of them.
"""

from __future__ import annotations

from bot.store.answers import AnswerStore
from bot.store.claims import ClaimStore
from bot.store.copies import CopyStore
from bot.store.drafts_due import DraftStore
from bot.store.inbox_store import InboxStore
from bot.store.making import MakingStore
from bot.store.parts import PartStore
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
from bot.store.retention import RetentionStore
from bot.store.sharing import SharingStore
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


class SessionStore(
    StateStore,
    RetentionStore,
    PeopleStore,
    SharingStore,
    DraftStore,
    InboxStore,
    MakingStore,
    PartStore,
    WithdrawalStore,
    CopyStore,
    TryStore,
    AnswerStore,
    ClaimStore,
):
    """Everything the store knows and does about sessions.

    Names, inputs, notes and idempotency answers are sealed under ``clinic:<id>``; words under ``words:<session_id>``.
    Every change of state is one transaction that also writes its ``session_events`` row.
    """
