"""The people of a session: names, invitations, consent, admission, and the acks they were given."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select

from bot import machines
from bot.errors import NotFound
from bot.events import ConsentState, Role
from bot.store.consents import keep_answer, keep_text
from bot.store.db import insert_new
from bot.store.ground import Ground, clinic_scope
from bot.store.models import ConsentRow, ControlMessageRow, ParticipantRow, SessionRow
from bot.store.records import Attestation, ConsentRecord, ParticipantRecord, SessionRecord, consent_record
from bot.store.states import code_hash, name_purpose


class PeopleStore(Ground):
    """Participants of sessions."""

    async def participants(self, session_id: str) -> list[ParticipantRecord]:
        """Everybody who is invited, by id."""
        async with self._db.read() as db:
            session = await db.get(SessionRow, session_id)
        if session is None:
            raise NotFound
        return (await self.participants_of(session.clinic_id, [session_id]))[session_id]

    async def participants_of(
        self, clinic_id: str, session_ids: Collection[str]
    ) -> dict[str, list[ParticipantRecord]]:
        """Everybody who is invited to several sessions of one clinic, by session and id; two queries in all."""
        query = select(ParticipantRow).where(ParticipantRow.session_id.in_(session_ids)).order_by(ParticipantRow.id)
        c, now = ConsentRow, self._clock.now()
        given = select(c.session_id, c.participant_id, c.until).order_by(c.at, c.id)
        given = given.where(c.session_id.in_(session_ids), c.decision == ConsentState.GRANTED.value)
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
            until = {(session, who): ends for session, who, ends in await db.execute(given)}  # of the last yes
        names = await self._unseal_all(
            clinic_scope(clinic_id), [(name_purpose(row.session_id, row.id), row.sealed_name) for row in rows]
        )
        found: dict[str, list[ParticipantRecord]] = {session_id: [] for session_id in session_ids}
        for row, name in zip(rows, names, strict=True):
            ends = until.get((row.session_id, row.id))
            ran_out = row.consent == ConsentState.GRANTED and ends is not None and ends <= now
            found[row.session_id].append(participant_record(row, name, ran_out=ran_out))
        return found

    async def participant(self, session_id: str, participant_id: str) -> ParticipantRecord:
        """One participant. Raises NotFound."""
        for person in await self.participants(session_id):
            if person.id == participant_id:
                return person
        raise NotFound

    async def participant_by_invite(self, session_id: str, code: str) -> ParticipantRecord:
        """Whose link carries ``code``. Raises NotFound."""
        wanted = code_hash(code)
        query = select(ParticipantRow).where(
            ParticipantRow.session_id == session_id, ParticipantRow.invite_sha256 == wanted
        )
        async with self._db.read() as db:
            row = (await db.scalars(query)).one_or_none()
        if row is None or not hmac.compare_digest(row.invite_sha256 or "", wanted):
            raise NotFound
        return await self.participant(session_id, row.id)

    async def admit(self, session_id: str, participant_id: str, *, by: str = "") -> None:
        """Let somebody in from the waiting room; again is no change. ``by`` is the id of who does."""
        async with self._change() as change:
            session = await change.session(session_id)
            row = await change.db.get(ParticipantRow, (session_id, participant_id))
            if row is None:
                raise NotFound
            if not row.admitted:
                row.admitted = True
                told = {"participant_id": participant_id} | ({"by": by} if by else {})
                change.tell(session, "participant.admitted", told)

    async def record_consent(
        self,
        session_id: str,
        participant_id: str,
        decision: ConsentState,
        *,
        method: str,
        text_version: str,
        text_sha256: str,
        by: str,
        language: str = "",
        text: str = "",
        attestation: Attestation | None = None,
    ) -> SessionRecord:
        """Move a participant's consent by its table and keep the answer; the same answer again is no change.

        ``text`` is what they agreed to, word for word, where it is known. Raises NotFound, or InvalidTransition.
        """
        async with self._change() as change:
            session = await change.session(session_id)
            row = await change.db.get(ParticipantRow, (session_id, participant_id), with_for_update=True)
            if row is None:
                raise NotFound
            before = ConsentState(row.consent)
            if before is not decision:
                row.consent = machines.move(machines.CONSENT, before, decision).value
                answer = ConsentRow(
                    participant_id=participant_id,
                    decision=decision.value,
                    method=method,
                    text_version=text_version,
                    text_sha256=text_sha256,
                    language=language,
                    by=by,
                )
                keep_answer(change, session, answer, attestation)
                if text:
                    await keep_text(change, text)
            return await change.record(session)

    async def consents(self, session_id: str) -> list[ConsentRecord]:
        """Every answer that was given, in order."""
        query = select(ConsentRow).where(ConsentRow.session_id == session_id).order_by(ConsentRow.at, ConsentRow.id)
        async with self._db.read() as db:
            return [consent_record(row) for row in (await db.scalars(query)).all()]

    # -- acks ----------------------------------------------------------------------------------------------------------

    async def remembered_ack(self, session_id: str, participant_id: str, message_id: str) -> dict[str, Any] | None:
        """The ack a message was given before, if it was carried out."""
        async with self._db.read() as db:
            row = await db.get(ControlMessageRow, (session_id, message_id, participant_id))
        return dict(row.ack) if row is not None else None

    async def acks(self, session_id: str, *, limit: int) -> list[tuple[str, str, dict[str, Any]]]:
        """Acks of the session's control messages: to whom, of which message, and the ack."""
        query = select(ControlMessageRow).where(ControlMessageRow.session_id == session_id).limit(limit)
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
        return [(row.participant_id, row.message_id, dict(row.ack)) for row in rows]

    async def remember_ack(self, session_id: str, participant_id: str, message_id: str, ack: Mapping[str, Any]) -> None:
        """Keep the ack of a message that was carried out; the first one stays."""
        async with self._db.write() as db:
            values = {"session_id": session_id, "message_id": message_id, "participant_id": participant_id}
            await insert_new(db, ControlMessageRow, ack=dict(ack), **values)


def participant_record(row: ParticipantRow, name: bytes, *, ran_out: bool = False) -> ParticipantRecord:
    """The record of a row."""
    return ParticipantRecord(
        session_id=row.session_id,
        id=row.id,
        role=Role(row.role),
        display_name=name.decode(),
        consent=ConsentState(row.consent),
        admitted=row.admitted,
        language=row.language,
        shares_with=row.shares_with,
        client_ref=row.client_ref,
        ran_out=ran_out,
    )
