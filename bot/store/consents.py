"""What is kept of an answer to the question for consent: the answer itself, and the event that tells of it."""

from __future__ import annotations

import hashlib

from bot.events import ConsentState
from bot.store.db import insert_new
from bot.store.ground import Change
from bot.store.models import ConsentRow, ConsentTextRow, SessionRow
from bot.store.records import Attestation, new_id

ANSWERS = frozenset({ConsentState.GRANTED, ConsentState.DECLINED, ConsentState.REVOKED, ConsentState.EXPIRED})
"""Consent states that are kept as a record of their own."""


def keep_answer(change: Change, session: SessionRow, answer: ConsentRow, attestation: Attestation | None) -> None:
    """Tell of a change of consent and, where it is an answer, keep it as a record of its own."""
    data = {"participant_id": answer.participant_id, "method": answer.method}
    if ConsentState(answer.decision) in ANSWERS:
        answer.id, answer.session_id, answer.at = new_id("con"), session.id, change.now
        data |= {"by": answer.by, "text_version": answer.text_version, "language": answer.language}
        if attestation is not None:
            answer.attested_by, answer.signed_on = attestation.attested_by, attestation.signed_on
            answer.document_id, answer.until = attestation.document_id, attestation.until
            data["attested_by"] = attestation.attested_by
            if attestation.document_id is not None:
                data["document_id"] = attestation.document_id
        change.db.add(answer)
    change.tell(session, f"consent.{answer.decision}", data)


async def keep_text(change: Change, text: str) -> None:
    """Keep a text that somebody agreed to, once, under its hash."""
    await insert_new(change.db, ConsentTextRow, sha256=hashlib.sha256(text.encode()).hexdigest(), text=text)
