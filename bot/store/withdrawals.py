"""Consent that is taken back together with what was captured: one transaction marks all of it, then it is destroyed.

From that transaction on nothing of it is given out, no note is made, and whoever destroys it comes to the same end
however often they begin: ``withdrawn_by`` stays, and the sweep looks for it.
"""

from __future__ import annotations

from sqlalchemy import select

from bot import machines
from bot.errors import InvalidTransition, NotFound
from bot.events import CaptureState, ConsentState, NoteState
from bot.store.consents import keep_answer
from bot.store.ground import Change, Ground
from bot.store.inbox_store import put_inbox
from bot.store.models import ConsentRow, ParticipantRow, SessionRow
from bot.store.parts import discard_draft
from bot.store.records import SessionRecord
from bot.store.states import set_columns

NEVER = "You did not agree to be recorded in this session, so there is nothing of yours to destroy."
ITEM = "consent_withdrawn"
"""The kind of the clinician's inbox item."""
DESTROYED, SIGNED = "consent-revoked", "note-signed"
"""Its reason: what was recorded is destroyed; the note was signed before, and stays."""
WITHDRAWN = "withdrawn"

RUNNING = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.PAUSED})
CLOSED = frozenset({NoteState.SIGNED, NoteState.AMENDED})


class WithdrawalStore(Ground):
    """Withdrawals that destroy."""

    async def withdraw(
        self, session_id: str, participant_id: str, decision: ConsentState, *, method: str, by: str, at_ms: int
    ) -> SessionRecord:
        """Record that somebody takes their consent back, and mark what was captured for destruction, all at once.

        A recording that runs becomes ``discarded``, at ``at_ms`` of its clock; an unsigned note does, after the call or
        of an earlier part, and its draft is deleted. A signed note stays. Each way the clinician is told. Again: no
        change. Raises NotFound; InvalidTransition for somebody who never agreed.
        """
        async with self._change() as change:
            session = await change.session(session_id)
            person = await change.db.get(ParticipantRow, (session_id, participant_id), with_for_update=True)
            if person is None:
                raise NotFound
            if not await _ever_agreed(change, person):
                raise InvalidTransition(NEVER, state=person.consent)
            took_back = _answer(change, session, person, decision, method, by)
            signed = NoteState(session.note) in CLOSED
            marked = not signed and await _mark(change, session, participant_id, by, at_ms)
            if (took_back or marked) and session.captured_from is not None:
                reason = SIGNED if signed else DESTROYED
                await put_inbox(change, session, ITEM, f"{ITEM}:{session_id}:{participant_id}:{reason}", reason)
            return await change.record(session)


async def _ever_agreed(change: Change, person: ParticipantRow) -> bool:
    if person.consent == ConsentState.GRANTED:
        return True
    c = ConsentRow
    given = select(c.id).where(
        c.session_id == person.session_id, c.participant_id == person.id, c.decision == ConsentState.GRANTED.value
    )
    return await change.db.scalar(given.limit(1)) is not None


def _answer(
    change: Change, session: SessionRow, person: ParticipantRow, decision: ConsentState, method: str, by: str
) -> bool:
    before = ConsentState(person.consent)
    if before in {decision, ConsentState.DECLINED, ConsentState.REVOKED}:
        return False
    person.consent = machines.move(machines.CONSENT, before, decision).value
    answer = ConsentRow(
        participant_id=person.id,
        decision=decision.value,
        method=method,
        text_version="",
        text_sha256="",
        language="",
        by=by,
    )
    keep_answer(change, session, answer, None)
    return True


async def _mark(change: Change, session: SessionRow, participant_id: str, by: str, at_ms: int) -> bool:
    """Have all that was captured destroyed; False where nothing was, or it is being destroyed already."""
    capture = CaptureState(session.capture)
    if session.captured_from is None or session.withdrawn_by is not None or capture is CaptureState.DISCARDED:
        return False
    session.withdrawn_by, session.failure_slug, session.purge_at = participant_id, None, change.now
    if capture in RUNNING:
        columns = {"capture": CaptureState.DISCARDED, "pause_reasons": (), "ended_at": change.now}
        set_columns(session, columns, now=change.now)
        state = {"state": CaptureState.DISCARDED.value, "effective_at_ms": at_ms}
        change.tell(session, "capture.discarded", state | {"by": by, "reason": WITHDRAWN})
        if NoteState(session.note) is NoteState.ABSENT:
            return True
    await discard_draft(change, session, {"by": by, "reason": WITHDRAWN})
    return True
