"""PostgreSQL: how it is reached, what its refusals mean, and the two things SQLite has by having one writer.

Nothing here imports a driver: asyncpg (the store) and psycopg (migrations, the workflow engine) are named in URLs, and
both give PostgreSQL's own five-character states with their errors.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from bot.errors import SetupError

CONNECT_S = 5.0
ANSWER_S = 60.0
"""Longest wait for a statement; locks are waited for much shorter."""
IDLE_MS = 60_000
"""A transaction in which nothing happens for so long is ended by the server: its process stands still, and locks."""
POOL, MORE = 10, 10
POOL_WAIT_S = 10.0
APPLICATION = "quietnote"

_CAUSES = {
    "53100": "full",
    "25006": "read_only",
    "42501": "read_only",
    "55P03": "locked",
    "40P01": "locked",
    "40001": "locked",
    "25P03": "locked",
    "57014": "locked",
    "58030": "io",
    "XX001": "damaged",
    "XX002": "damaged",
    "42P01": "damaged",
    "42703": "damaged",
}
"""By PostgreSQL's error codes, appendix A of its manual. Any other says nothing but that it cannot be used."""
_REFUSED = {
    "28P01": "the server knows no such user, or the password is wrong",
    "28000": "the server lets this user in from nowhere near here (its pg_hba.conf)",
    "3D000": "there is no database of that name",
    "42501": "its user may not make tables there",
}
_AT_THE_DOOR = {
    "28P01": ("FATAL", "password authentication failed"),
    "28000": ("FATAL", "no pg_hba.conf entry"),
    "3D000": ("FATAL", "database", "does not exist"),
}
_OURS = ("22", "23")
"""Classes of faults of a statement: data that does not fit, and broken constraints. Not the server's condition."""
_NOT_FOR_LIBPQ = frozenset({"prepared_statement_cache_size", "prepared_statement_name_func"})


class DatabaseRefused(SetupError):
    """The server answers, and will not have us."""

    def __init__(self, why: str) -> None:
        super().__init__(f"DATABASE_URL: {why}")


def engine_options(lock_timeout_ms: int) -> dict[str, Any]:
    """What the engine is made with: short waits, so that a server that went away is said so."""
    server = {
        "application_name": APPLICATION,
        "lock_timeout": str(lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(IDLE_MS),
        "jit": "off",
    }
    return {
        "pool_pre_ping": True,
        "pool_size": POOL,
        "max_overflow": MORE,
        "pool_timeout": POOL_WAIT_S,
        "connect_args": {"timeout": CONNECT_S, "command_timeout": ANSWER_S, "server_settings": server},
    }


def sync_url(url: URL) -> URL:
    """The same database for psycopg, which names some things otherwise than asyncpg does."""
    query = {name: value for name, value in url.query.items() if name not in _NOT_FOR_LIBPQ}
    if "ssl" in query:
        query["sslmode"] = query.pop("ssl")
    query.setdefault("connect_timeout", str(int(CONNECT_S)))
    return url.set(drivername="postgresql+psycopg", query=query)


def state_of(error: BaseException | None) -> str:
    """PostgreSQL's state of an error, whichever driver raised it; empty when it is none of the server's."""
    return str(getattr(error, "sqlstate", None) or "")


def cause_of(error: BaseException | None) -> str:
    """Which of the causes of :class:`bot.errors.StorageUnavailable` an error is."""
    return _CAUSES.get(state_of(error), "unreachable")


def is_ours(error: BaseException | None) -> bool:
    """True for a fault of a statement: it will not go away by itself, and the server is well."""
    return state_of(error)[:2] in _OURS


def is_no_text(error: BaseException | None) -> bool:
    """True where a text has what PostgreSQL takes for no character: the NUL, which nothing of ours needs."""
    return state_of(error) in {"22021", "22P05"}


def refusal_of(error: BaseException | None) -> DatabaseRefused | None:
    """What to tell who starts a service that the server will not have.

    psycopg gives no state with a connection that is refused at the door, only the server's words.
    """
    why = _REFUSED.get(state_of(error))
    if why is None:
        words = str(error)
        found = next((state for state, marks in _AT_THE_DOOR.items() if all(mark in words for mark in marks)), "")
        why = _REFUSED.get(found)
    return DatabaseRefused(why) if why is not None else None


def lock_number(name: str) -> int:
    """The number of an advisory lock: the same for the same name in every process."""
    return int.from_bytes(hashlib.sha256(f"quietnote:{name}".encode()).digest()[:8], "big", signed=True)


async def take_turn(db: AsyncSession, name: str, *, wait: bool = True) -> bool:
    """Hold ``name`` for this transaction alone, over all processes; without ``wait`` False when another one has it."""
    if wait:
        await db.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": lock_number(name)})
        return True
    taken = text("SELECT pg_try_advisory_xact_lock(:number)")
    return bool(await db.scalar(taken, {"number": lock_number(name)}))


async def reserve(connection: AsyncConnection, *, alone: bool) -> bool:
    """Hold the database for one process, or for those that share it, as long as the connection lasts."""
    statement = "SELECT pg_try_advisory_lock(:number)" if alone else "SELECT pg_try_advisory_lock_shared(:number)"
    return bool(await connection.scalar(text(statement), {"number": lock_number("service")}))
