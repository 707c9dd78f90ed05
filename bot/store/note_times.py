"""Until when a note is kept: as its clinic chose in the configuration that the session was made with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from bot.clinics import ClinicConfig
from bot.store.models import SessionRow


def draft_until(row: SessionRow, now: datetime) -> datetime | None:
    """When the time of a draft is up that nobody signs: so many days after the session; None: it is kept."""
    days = ClinicConfig.model_validate(row.snapshot).retention.drafts_days
    return _after(row.ended_at or now, days)


def signed_until(row: SessionRow, now: datetime) -> datetime | None:
    """When the time of a note is up that is signed now; None: it is kept."""
    return _after(now, ClinicConfig.model_validate(row.snapshot).retention.notes_days)


def _after(start: datetime, days: int | Literal["keep"]) -> datetime | None:
    return None if days == "keep" else start + timedelta(days=days)
