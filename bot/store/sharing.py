"""Several named persons at one microphone: who they are, and whose voice a turn from there may be."""

from __future__ import annotations

import asyncio

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConfigInvalid, NotFound
from bot.events import Role, Speaker
from bot.store.ground import Ground, clinic_scope
from bot.store.models import ParticipantRow
from bot.store.people import participant_record
from bot.store.records import NewParticipant, ParticipantRecord, SessionRecord
from bot.store.states import keep_copy_code, name_purpose, participant_row

SHARED_EVENT = "participant.shares_microphone"


class SharingStore(Ground):
    """Shared microphones."""

    async def share_microphone(
        self, session_id: str, person: NewParticipant, *, by: str
    ) -> tuple[SessionRecord, ParticipantRecord]:
        """Add somebody who sits at another participant's microphone. Raises NotFound; ConfigInvalid for a taken id."""
        async with self._db.read() as db:
            if person.shares_with is None or await db.get(ParticipantRow, (session_id, person.shares_with)) is None:
                raise NotFound
        try:
            async with self._change() as change:
                session = await change.session(session_id)
                name = person.display_name.encode()
                scope, purpose = clinic_scope(session.clinic_id), name_purpose(session_id, person.id)
                sealed = await asyncio.to_thread(self._vault.seal, scope, purpose, name)
                row = participant_row(session_id, person, sealed)
                change.db.add(row)
                await change.db.flush()
                keep_copy_code(change, session_id, person)
                data = {"participant_id": person.id, "shares_with": person.shares_with, "by": by}
                change.tell(session, SHARED_EVENT, data)
                return await change.record(session), participant_record(row, name)
        except IntegrityError:
            raise ConfigInvalid("id: somebody in this session has it already.") from None


async def speakers_of(db: AsyncSession, session_id: str) -> dict[str, tuple[Speaker, ...]]:
    """By the participant whose microphone it is: everybody who sits there, where that is more than one.

    It holds for the whole session. Since when somebody sat there is not known for certain, and a turn that is called
    one of theirs is called right either way.
    """
    query = select(ParticipantRow).where(ParticipantRow.session_id == session_id).order_by(ParticipantRow.id)
    rows = (await db.scalars(query)).all()
    found: dict[str, list[Speaker]] = {}
    by_id = {row.id: Speaker(row.id, Role(row.role)) for row in rows}
    for row in rows:
        if row.shares_with in by_id:
            found.setdefault(row.shares_with, [by_id[row.shares_with]]).append(by_id[row.id])
    return {holder: tuple(speakers) for holder, speakers in found.items()}
