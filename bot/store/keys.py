"""API keys of platforms: shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.errors import ConfigInvalid, NotFound, Unauthorized
from bot.store import chain
from bot.store.acting import acting
from bot.store.chain import OPERATOR, Deed
from bot.store.db import Database
from bot.store.models import ApiKeyRow
from bot.store.records import new_id

SCOPES = frozenset({"sessions", "notes", "admin"})
PREFIX = "qn_"


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key, without the key."""

    id: str
    clinic_id: str
    scopes: frozenset[str]
    label: str
    created_at: datetime
    revoked_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """For a terminal or a program."""
        return {
            "id": self.id,
            "clinic_id": self.clinic_id,
            "scopes": sorted(self.scopes),
            "label": self.label,
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "revoked_at": self.revoked_at.isoformat(timespec="seconds") if self.revoked_at else None,
        }

    def line(self) -> str:
        """The same in one line."""
        told = self.as_json()
        end = f"revoked {told['revoked_at']}" if self.revoked_at else ""
        parts = (self.id, self.clinic_id, ",".join(told["scopes"]), f"created {told['created_at']}", end, self.label)
        return "  ".join(filter(None, parts))


class KeyStore:
    """The keys platforms come with."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def create(
        self, clinic_id: str, scopes: Iterable[str], *, label: str = "", key: str | None = None
    ) -> tuple[ApiKeyRecord, str]:
        """Make a key: its record and the key itself, which cannot be read again.

        ``key`` fixes its text, for development only; one that is there already is given back as it is. Raises
        ConfigInvalid for an unknown scope.
        """
        wanted = frozenset(scopes)
        if not wanted or not wanted <= SCOPES:
            raise ConfigInvalid(f"scopes: must be among {', '.join(sorted(SCOPES))}.")
        text = key or PREFIX + secrets.token_urlsafe(32)
        async with self._db.write() as db:
            row = (await db.scalars(select(ApiKeyRow).where(ApiKeyRow.sha256 == _hash(text)))).one_or_none()
            if row is None:
                row = ApiKeyRow(
                    id=new_id("key"),
                    clinic_id=clinic_id,
                    sha256=_hash(text),
                    scopes=" ".join(sorted(wanted)),
                    label=label,
                    created_at=self._clock.now(),
                    revoked_at=None,
                )
                db.add(row)
                await self._audit(db, row, "key.made", ",".join(sorted(wanted)))
            return _record(row), text

    async def verify(self, key: str) -> ApiKeyRecord:
        """Whose key this is. Raises Unauthorized for an unknown or revoked one."""
        async with self._db.read() as db:
            row = (await db.scalars(select(ApiKeyRow).where(ApiKeyRow.sha256 == _hash(key)))).one_or_none()
        if row is None or row.revoked_at is not None:
            raise Unauthorized
        return _record(row)

    async def list(self, clinic_id: str | None = None) -> list[ApiKeyRecord]:
        """Every key, of one clinic or of all, oldest first."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        if clinic_id is not None:
            query = query.where(ApiKeyRow.clinic_id == clinic_id)
        async with self._db.read() as db:
            return [_record(row) for row in (await db.scalars(query)).all()]

    async def revoke(self, key_id: str, *, clinic_id: str | None = None) -> None:
        """Refuse the key from now on; again is no change. Raises NotFound, also when it is another clinic's."""
        async with self._db.write() as db:
            row = await db.get(ApiKeyRow, key_id)
            if row is None or clinic_id not in {None, row.clinic_id}:
                raise NotFound("There is no such key.")
            if row.revoked_at is None:
                row.revoked_at = self._clock.now()
                await self._audit(db, row, "key.revoked")

    async def _audit(self, db: AsyncSession, row: ApiKeyRow, action: str, detail: str = "") -> None:
        actor = "" if acting() else OPERATOR
        await chain.record(db, self._clock.now(), [Deed(row.clinic_id, action, row.id, actor=actor, detail=detail)])


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _record(row: ApiKeyRow) -> ApiKeyRecord:
    return ApiKeyRecord(row.id, row.clinic_id, frozenset(row.scopes.split()), row.label, row.created_at, row.revoked_at)
