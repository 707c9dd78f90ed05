"""People's own copies of what they agreed to: the texts, word for word, and the links that lead to them.

A link's code is a secret that outlives every session token. Only its hash is stored, and it is good for one participant
of one session.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from bot.errors import NotFound
from bot.store.chain import Deed
from bot.store.ground import Ground
from bot.store.models import ConsentLinkRow, ConsentTextRow, NoteRow, ParticipantRow, SessionEventRow
from bot.store.states import code_hash
from bot.store.words import PURGED_EVENT


class CopyStore(Ground):
    """Copies of what people agreed to."""

    async def add_copy_link(self, session_id: str, participant_id: str, code: str) -> None:
        """Keep one more code for somebody's copy; those they have stay good. Raises NotFound."""
        async with self._change() as change:
            if await change.db.get(ParticipantRow, (session_id, participant_id)) is None:
                raise NotFound
            change.db.add(
                ConsentLinkRow(
                    sha256=code_hash(code),
                    session_id=session_id,
                    participant_id=participant_id,
                    created_at=change.now,
                )
            )
            clinic_id = (await change.session(session_id)).clinic_id
            change.deeds.append(Deed(clinic_id, "consent_link.made", participant_id, session_id))

    async def copy_link(self, session_id: str, code: str) -> str:
        """The id of the participant whose copy a code leads to. Raises NotFound."""
        wanted = code_hash(code)
        async with self._db.read() as db:
            row = await db.get(ConsentLinkRow, wanted)
        if row is None or row.session_id != session_id or not hmac.compare_digest(row.sha256, wanted):
            raise NotFound
        return row.participant_id

    async def consent_texts(self, sha256s: Collection[str]) -> dict[str, str]:
        """The texts of these hashes, as far as they are kept."""
        query = select(ConsentTextRow).where(ConsentTextRow.sha256.in_(sha256s))
        async with self._db.read() as db:
            return {row.sha256: row.text for row in (await db.scalars(query)).all()}

    async def ends_of(self, session_id: str) -> tuple[datetime | None, datetime | None]:
        """When the session's transcript was destroyed, and when its note was signed."""
        e = SessionEventRow
        purged = select(e.at).where(e.session_id == session_id, e.kind == PURGED_EVENT).limit(1)
        signed = select(NoteRow.signed_at).where(NoteRow.session_id == session_id)
        async with self._db.read() as db:
            return await db.scalar(purged), await db.scalar(signed)
