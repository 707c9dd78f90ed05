"""Adding people from the command line."""

from __future__ import annotations

from functools import partial

from bot import fitness
from bot.asr import models
from bot.clock import SystemClock
from bot.settings import Settings
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.users import UserStore


async def add(settings: Settings, email: str, name: str, clinic: str, role: str, password: str) -> str:
    """Add a person to a clinic; their id. Raises ConfigInvalid or NotFound."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    db, clock = Database(settings.sqlalchemy_url), SystemClock()
    await db.open()
    try:
        clinic_store = ClinicStore(db, clock)
        await fitness.seed(clinic_store, settings.config_dir, partial(models.check_language, settings.asr_model))
        await clinic_store.current(clinic)
        return (await UserStore(db, clock).add(clinic, email, name, role, password)).id
    finally:
        await db.close()
