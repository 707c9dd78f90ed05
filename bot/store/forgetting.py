"""The rows of a session, and of a clinic, each table by name: what goes with a deletion, and what stays.

What stays is ids: the audit, the deletion itself, and the receipts, which move to the clinic's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import CursorResult, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.clinic_receipts import move_receipts
from bot.store.inbox_store import InboxReadRow
from bot.store.making import MakingRow
from bot.store.models import (
    ApiKeyRow,
    Base,
    ClinicRow,
    ClinicVersionRow,
    ConsentLinkRow,
    ConsentRow,
    ConsentTextRow,
    ControlMessageRow,
    CookieRow,
    DeliveryRow,
    GapRow,
    IdempotencyRow,
    InboxRow,
    InputRow,
    LaneRow,
    NoteRow,
    ParticipantRow,
    SegmentRow,
    SessionEventRow,
    SessionRow,
    UserRow,
    WebhookRow,
)
from bot.store.record_rows import HoldRow
from bot.store.serving import ServingRow

OF_SESSION: dict[str, Any] = {
    "segments": SegmentRow,
    "gaps": GapRow,
    "inputs": InputRow,
    "notes": NoteRow,
    "inbox": InboxRow,
    "making": MakingRow,
    "deliveries": DeliveryRow,
    "session_events": SessionEventRow,
    "control_messages": ControlMessageRow,
    "consent_links": ConsentLinkRow,
    "consents": ConsentRow,
    "participants": ParticipantRow,
    "lanes": LaneRow,
    "serving": ServingRow,
}
"""Tables with a ``session_id``, in an order that no foreign key forbids. Beside them: what was read of its inbox items,
its receipts, its holds, and the session itself."""
_BATCH = 200


async def forget_session(db: AsyncSession, row: SessionRow) -> dict[str, int]:
    """Delete every row of a session in a transaction under way; how many, by table. Its receipts move."""
    mine = select(InboxRow.id).where(InboxRow.session_id == row.id)
    counts = {"inbox_reads": await _gone(db, InboxReadRow, InboxReadRow.item_id.in_(mine))}
    for name, table in OF_SESSION.items():
        counts[name] = await _gone(db, table, table.session_id == row.id)
    await move_receipts(db, row.clinic_id, row.id)
    await db.execute(delete(HoldRow).where(HoldRow.session_id == row.id))  # lifted ones: no other gets so far
    await db.delete(row)
    await db.flush()
    return counts


async def forget_answers(db: AsyncSession, clinic_id: str, is_about: Callable[[str, bytes], bool]) -> int:
    """Delete the answers kept for idempotency keys that are about what is deleted; how many there were.

    ``is_about`` is given the key and the sealed answer.
    """
    found, after = 0, ""
    i = IdempotencyRow
    while True:
        query = select(i).where(i.clinic_id == clinic_id, i.key > after).order_by(i.key).limit(_BATCH)
        rows = (await db.scalars(query)).all()
        for row in rows:
            if row.sealed and is_about(row.key, row.sealed):
                await db.delete(row)
                found += 1
        await db.flush()
        if len(rows) < _BATCH:
            return found
        after = rows[-1].key


async def forget_clinic(db: AsyncSession, clinic_id: str) -> dict[str, int]:
    """Delete every row of a clinic that has no sessions any more; how many, by table."""
    people = select(UserRow.id).where(UserRow.clinic_id == clinic_id)
    hooks = select(WebhookRow.id).where(WebhookRow.clinic_id == clinic_id)
    counts = {
        "cookies": await _gone(db, CookieRow, CookieRow.user_id.in_(people)),
        "users": await _gone(db, UserRow, UserRow.clinic_id == clinic_id),
        "api_keys": await _gone(db, ApiKeyRow, ApiKeyRow.clinic_id == clinic_id),
        "deliveries": await _gone(db, DeliveryRow, DeliveryRow.webhook_id.in_(hooks)),
        "webhooks": await _gone(db, WebhookRow, WebhookRow.clinic_id == clinic_id),
        "idempotency": await _gone(db, IdempotencyRow, IdempotencyRow.clinic_id == clinic_id),
        "holds": await _gone(db, HoldRow, HoldRow.clinic_id == clinic_id),
        "clinic_versions": await _gone(db, ClinicVersionRow, ClinicVersionRow.clinic_id == clinic_id),
        "clinics": await _gone(db, ClinicRow, ClinicRow.id == clinic_id),
    }
    # texts that nobody's answer names any more: they may be this clinic's
    unused = ~exists().where(ConsentRow.text_sha256 == ConsentTextRow.sha256)
    return counts | {"consent_texts": await _gone(db, ConsentTextRow, unused)}


async def _gone(db: AsyncSession, table: type[Base], condition: Any) -> int:
    done = await db.execute(delete(table).where(condition).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", done).rowcount
