"""Clinics: files seed the database, which is the truth from then on; every version is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select

from bot.clinics import ClinicConfig
from bot.clock import Clock
from bot.errors import ConfigInvalid, NotFound, PreconditionFailed
from bot.store import chain
from bot.store.chain import OPERATOR, Deed
from bot.store.db import Database, insert_new
from bot.store.models import ClinicRow, ClinicVersionRow
from bot.store.record_rows import DeletionRow

log = structlog.get_logger()

SEEDED_BY = "config file"


@dataclass(frozen=True, slots=True)
class ClinicVersion:
    """One version of a clinic's configuration."""

    clinic_id: str
    version: int
    config: ClinicConfig
    author: str
    created_at: datetime


class ClinicStore:
    """The clinics of this installation."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def seed(self, clinics: Mapping[str, ClinicConfig]) -> list[str]:
        """Add the clinics the database does not have, as version 1; their ids. Others are left as they are.

        One that was deleted does not come back by a file that was left: its key is gone for good, and so is its id.
        """
        added = []
        gone = select(DeletionRow.subject).where(DeletionRow.kind == "clinic", DeletionRow.subject.in_(clinics))
        async with self._db.write() as db:
            deleted = set((await db.scalars(gone)).all())
            for clinic_id, config in sorted(clinics.items()):
                if clinic_id in deleted:
                    log.warning("clinic_was_deleted", clinic_id=clinic_id)
                elif await insert_new(db, ClinicRow, id=clinic_id, version=1):
                    db.add(self._version(config, 1, SEEDED_BY))
                    added.append(clinic_id)
            seeded = [Deed(one, "config.seeded", one, actor=OPERATOR, detail="1") for one in added]
            await chain.record(db, self._clock.now(), seeded)
        for clinic_id in added:
            log.info("clinic_seeded", clinic_id=clinic_id)
        return added

    async def ids(self) -> list[str]:
        """Every clinic's id."""
        async with self._db.read() as db:
            return list((await db.scalars(select(ClinicRow.id).order_by(ClinicRow.id))).all())

    async def current(self, clinic_id: str) -> tuple[int, ClinicConfig]:
        """The clinic's version and configuration. Raises NotFound."""
        async with self._db.read() as db:
            clinic = await db.get(ClinicRow, clinic_id)
            if clinic is None:
                raise NotFound("There is no such clinic.")
            row = await db.get_one(ClinicVersionRow, (clinic_id, clinic.version))
        return clinic.version, ClinicConfig.model_validate(row.config)

    async def save(self, config: ClinicConfig, *, author: str, expect_version: int | None = None) -> int:
        """Make ``config`` the clinic's next version; its number.

        Raises NotFound, or PreconditionFailed when the current version is not ``expect_version``.
        """
        async with self._db.write() as db:
            clinic = await db.get(ClinicRow, config.id, with_for_update=True)
            if clinic is None:
                raise NotFound("There is no such clinic.")
            if expect_version not in {None, clinic.version}:
                raise PreconditionFailed("The configuration changed since you read it.", version=clinic.version)
            clinic.version += 1
            db.add(self._version(config, clinic.version, author))
            changed = Deed(clinic.id, "config.changed", clinic.id, actor=author, detail=str(clinic.version))
            await chain.record(db, self._clock.now(), [changed])
            return clinic.version

    async def versions(self, clinic_id: str) -> list[ClinicVersion]:
        """Every version, newest first."""
        query = (
            select(ClinicVersionRow)
            .where(ClinicVersionRow.clinic_id == clinic_id)
            .order_by(ClinicVersionRow.version.desc())
        )
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
        return [
            ClinicVersion(r.clinic_id, r.version, ClinicConfig.model_validate(r.config), r.author, r.created_at)
            for r in rows
        ]

    def _version(self, config: ClinicConfig, version: int, author: str) -> ClinicVersionRow:
        if not author:
            raise ConfigInvalid("author: a version needs one.")
        return ClinicVersionRow(
            clinic_id=config.id,
            version=version,
            config=config.model_dump(mode="json"),
            author=author,
            created_at=self._clock.now(),
        )
