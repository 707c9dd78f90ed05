"""Idempotency keys: a POST that comes again gets the answer it got before.

A key is taken before the request is carried out, so that two copies that arrive together have one effect.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from bot.errors import IdempotencyConflict
from bot.store.ground import Ground, clinic_scope
from bot.store.models import IdempotencyRow
from bot.store.records import StoredAnswer

IN_HAND = 0
"""Status of a key whose request is still being carried out."""
IN_HAND_FOR = timedelta(seconds=60)
"""After this long a request that never ended (a crash) may be carried out again."""
KEPT_FOR = timedelta(hours=24)


def _purpose(key: str) -> str:
    return f"answer:{key}"


class AnswerStore(Ground):
    """Answers by clinic and Idempotency-Key."""

    async def idempotency_begin(self, clinic_id: str, key: str, request_sha256: str) -> StoredAnswer | None:
        """The stored answer, or None: then the caller holds the key and must finish or abandon it.

        Raises IdempotencyConflict for another request under the same key, or while the first is being carried out.
        """
        now = self._clock.now()
        try:
            async with self._db.write() as db:
                row = await db.get(IdempotencyRow, (clinic_id, key), with_for_update=True)
                if row is not None and row.created_at <= now - KEPT_FOR:
                    await db.delete(row)
                    await db.flush()
                    row = None
                if row is None:
                    db.add(
                        IdempotencyRow(
                            clinic_id=clinic_id,
                            key=key,
                            request_sha256=request_sha256,
                            status=IN_HAND,
                            sealed=b"",
                            created_at=now,
                        )
                    )
                    return None
                if row.request_sha256 != request_sha256:
                    raise IdempotencyConflict
                if row.status == IN_HAND:
                    if row.created_at > now - IN_HAND_FOR:
                        raise IdempotencyConflict("The first request with this key is still being carried out.")
                    row.created_at = now
                    return None
                status, sealed = row.status, row.sealed
        except IntegrityError:
            raise IdempotencyConflict("The first request with this key is still being carried out.") from None
        return StoredAnswer(status, await self._unseal(clinic_scope(clinic_id), _purpose(key), sealed))

    async def idempotency_finish(self, clinic_id: str, key: str, status: int, body: bytes) -> None:
        """Keep the answer of the request that holds the key."""
        sealed = await self._seal(clinic_scope(clinic_id), _purpose(key), body)
        async with self._db.write() as db:
            row = await db.get(IdempotencyRow, (clinic_id, key))
            if row is not None:
                row.status, row.sealed = status, sealed

    async def idempotency_abandon(self, clinic_id: str, key: str) -> None:
        """Give the key back: the request failed in a way that may be tried again."""
        async with self._db.write() as db:
            row = await db.get(IdempotencyRow, (clinic_id, key))
            if row is not None and row.status == IN_HAND:
                await db.delete(row)

    async def idempotency_prune(self) -> None:
        """Forget answers older than a day."""
        async with self._db.write() as db:
            await db.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at <= self._clock.now() - KEPT_FOR))
