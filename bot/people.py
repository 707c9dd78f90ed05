"""Who may come in, from the command line: people who sign in, and platforms with their keys.

A service that runs on the same data directory knows of each change at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from bot import fitness
from bot.asr import models
from bot.clock import SystemClock
from bot.errors import NotFound
from bot.settings import Settings
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.keys import ApiKeyRecord, KeyStore
from bot.store.users import UserStore


async def add(settings: Settings, email: str, name: str, clinic: str, role: str, password: str) -> str:
    """Add a person to a clinic; their id. Raises ConfigInvalid or NotFound."""
    async with _database(settings) as db:
        await _clinic(settings, db, clinic)
        return (await UserStore(db, SystemClock()).add(clinic, email, name, role, password)).id


async def set_password(settings: Settings, email: str, password: str) -> str:
    """Give a person another password, which signs their browsers out; their id. Raises ConfigInvalid or NotFound."""
    async with _database(settings) as db:
        users = UserStore(db, SystemClock())
        person = await users.by_email(email)
        if person is None:
            raise NotFound("There is nobody with that address.")
        await users.set_password(person.id, password)
        return person.id


async def add_key(settings: Settings, clinic: str, scopes: Sequence[str], label: str) -> tuple[ApiKeyRecord, str]:
    """Make a key of a clinic: what is known of it, and the key itself. Raises ConfigInvalid or NotFound."""
    async with _database(settings) as db:
        await _clinic(settings, db, clinic)
        return await KeyStore(db, SystemClock()).create(clinic, scopes, label=label)


async def list_keys(settings: Settings, clinic: str | None) -> list[ApiKeyRecord]:
    """The keys of one clinic or of all, the revoked ones too. Raises NotFound for an unknown clinic."""
    async with _database(settings) as db:
        if clinic is not None:
            await ClinicStore(db, SystemClock()).current(clinic)
        return await KeyStore(db, SystemClock()).list(clinic)


async def revoke_key(settings: Settings, key_id: str) -> None:
    """Refuse a key from now on. Raises NotFound."""
    async with _database(settings) as db:
        await KeyStore(db, SystemClock()).revoke(key_id)


@contextlib.asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = Database(settings.sqlalchemy_url)
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def _clinic(settings: Settings, db: Database, clinic: str) -> None:
    """See that the clinic is there, from its file at the latest. Raises ConfigInvalid or NotFound."""
    store = ClinicStore(db, SystemClock())
    await fitness.seed(store, settings.config_dir, partial(models.check_language, settings.asr_model))
    await store.current(clinic)
