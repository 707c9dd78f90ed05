"""People who sign in to the pages: passwords as Argon2id hashes, browsers as hashed cookies.

Wrong password, unknown address and disabled person take the same time and get the same answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.errors import ConfigInvalid, NotFound, Unauthorized
from bot.store import chain
from bot.store.acting import acting
from bot.store.chain import OPERATOR, Deed
from bot.store.db import Database
from bot.store.models import CookieRow, UserRow
from bot.store.records import new_id

log = structlog.get_logger()

ROLES = frozenset({"clinician", "admin"})
MIN_PASSWORD = 10
MAX_PASSWORD = 1000
COOKIE_LIFE = timedelta(hours=12)
"""Longest time signed in."""
COOKIE_IDLE = timedelta(hours=4)
"""Longest time signed in without a request: longer than any call."""
_SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person who may sign in."""

    id: str
    clinic_id: str
    email: str = field(repr=False)
    display_name: str = field(repr=False)
    role: str
    """``clinician`` or ``admin``."""
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser that was signed in."""

    user: UserRecord
    csrf: str
    """Value the pages send back in ``X-CSRF-Token``."""
    expires_at: datetime
    cookie: str = field(default="", repr=False)
    """The cookie's value: only when it was just made."""


class UserStore:
    """Users and their browsers."""

    def __init__(self, db: Database, clock: Clock, *, hasher: PasswordHasher | None = None) -> None:
        self._db = db
        self._clock = clock
        self._hasher = hasher or PasswordHasher()

    # -- people --------------------------------------------------------------------------------------------------------

    async def add(self, clinic_id: str, email: str, display_name: str, role: str, password: str) -> UserRecord:
        """Add a person. Raises ConfigInvalid naming what is wrong: address in use, role, short password."""
        address = _address(email)
        if role not in ROLES:
            raise ConfigInvalid(f"role: must be among {', '.join(sorted(ROLES))}.")
        if not display_name.strip():
            raise ConfigInvalid("display_name: must not be empty.")
        hashed = await self._hash(password)
        row = UserRow(
            id=new_id("usr"),
            clinic_id=clinic_id,
            email=address,
            display_name=display_name.strip(),
            role=role,
            password_hash=hashed,
            created_at=self._clock.now(),
            disabled_at=None,
        )
        try:
            async with self._db.write() as db:
                db.add(row)
                await self._audit(db, row, "user.added", detail=role)
        except IntegrityError:
            raise ConfigInvalid("email: already in use, or there is no such clinic.") from None
        return _record(row)

    async def get(self, user_id: str) -> UserRecord:
        """The person. Raises NotFound."""
        async with self._db.read() as db:
            row = await db.get(UserRow, user_id)
        if row is None:
            raise NotFound
        return _record(row)

    async def by_email(self, email: str) -> UserRecord | None:
        """The person with this address."""
        async with self._db.read() as db:
            row = (await db.scalars(select(UserRow).where(UserRow.email == email.strip().lower()))).one_or_none()
        return _record(row) if row is not None else None

    async def list(self, clinic_id: str) -> list[UserRecord]:
        """The clinic's people, by address."""
        query = select(UserRow).where(UserRow.clinic_id == clinic_id).order_by(UserRow.email)
        async with self._db.read() as db:
            return [_record(row) for row in (await db.scalars(query)).all()]

    async def set_password(self, user_id: str, password: str) -> None:
        """Give a new password; every browser is signed out. Raises NotFound, ConfigInvalid."""
        hashed = await self._hash(password)
        async with self._db.write() as db:
            row = await db.get(UserRow, user_id)
            if row is None:
                raise NotFound
            row.password_hash = hashed
            await db.execute(delete(CookieRow).where(CookieRow.user_id == user_id))
            await self._audit(db, row, "user.password_changed")

    async def disable(self, user_id: str) -> None:
        """Let a person in no more; every browser is signed out. Raises NotFound."""
        async with self._db.write() as db:
            row = await db.get(UserRow, user_id)
            if row is None:
                raise NotFound
            row.disabled_at = row.disabled_at or self._clock.now()
            await db.execute(delete(CookieRow).where(CookieRow.user_id == user_id))
            await self._audit(db, row, "user.disabled")

    # -- browsers ------------------------------------------------------------------------------------------------------

    async def authenticate(self, email: str, password: str) -> UserRecord:
        """Whom address and password belong to. Raises Unauthorized."""
        async with self._db.read() as db:
            row = (await db.scalars(select(UserRow).where(UserRow.email == email.strip().lower()))).one_or_none()
        hashed = row.password_hash if row is not None else await asyncio.to_thread(_nobodys_hash, self._hasher)
        good = await asyncio.to_thread(self._matches, hashed, password)
        if row is None or not good or row.disabled_at is not None:
            log.info("sign_in_refused")
            await self._audit_refusal(row, "wrong-password" if row is not None and not good else "not-a-user")
            raise Unauthorized("The address or the password is wrong.")
        return _record(row)

    async def sign_in(self, user_id: str) -> SignIn:
        """Sign a browser in: its cookie, and the token for its requests. Raises NotFound, Unauthorized."""
        cookie, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(32), self._clock.now()
        async with self._db.write() as db:
            user = await db.get(UserRow, user_id)
            if user is None:
                raise NotFound
            if user.disabled_at is not None:
                raise Unauthorized
            await db.execute(delete(CookieRow).where(CookieRow.expires_at <= now))
            row = CookieRow(
                sha256=_cookie_hash(cookie),
                user_id=user_id,
                csrf=csrf,
                created_at=now,
                seen_at=now,
                expires_at=now + COOKIE_LIFE,
            )
            db.add(row)
            await self._audit(db, user, "user.signed_in", actor=user.id)
        return SignIn(_record(user), csrf, row.expires_at, cookie)

    async def signed_in(self, cookie: str) -> SignIn:
        """Who comes with this cookie. Raises Unauthorized when it is unknown, expired or long unused."""
        now = self._clock.now()
        query = select(CookieRow, UserRow).join(UserRow, UserRow.id == CookieRow.user_id)
        async with self._db.read() as db:
            found = (await db.execute(query.where(CookieRow.sha256 == _cookie_hash(cookie)))).one_or_none()
        if found is None:
            raise Unauthorized
        row, user = found
        if row.expires_at <= now or row.seen_at <= now - COOKIE_IDLE or user.disabled_at is not None:
            raise Unauthorized("You were signed out; sign in again.")
        if row.seen_at <= now - _SEEN_EVERY:
            async with self._db.write() as db:
                fresh = await db.get(CookieRow, row.sha256)
                if fresh is not None:
                    fresh.seen_at = now
        return SignIn(_record(user), row.csrf, row.expires_at)

    async def sign_out(self, cookie: str) -> None:
        """Forget the cookie; an unknown one is no fault."""
        async with self._db.write() as db:
            row = await db.get(CookieRow, _cookie_hash(cookie))
            if row is not None:
                await db.delete(row)
                await self._audit(db, await db.get_one(UserRow, row.user_id), "user.signed_out", actor=row.user_id)

    # -- what of it goes on record -------------------------------------------------------------------------------------

    async def _audit(
        self, db: AsyncSession, user: UserRow, action: str, *, actor: str | None = None, detail: str = ""
    ) -> None:
        by = actor if actor is not None else ("" if acting() else OPERATOR)
        await chain.record(db, self._clock.now(), [Deed(user.clinic_id, action, user.id, actor=by, detail=detail)])

    async def _audit_refusal(self, user: UserRow | None, why: str) -> None:
        """Somebody tried to sign in: under whose address, or under none; never what was typed."""
        clinic_id, target = (user.clinic_id, user.id) if user is not None else ("", "unknown")
        async with self._db.write() as db:
            refused = Deed(clinic_id, "user.sign_in_refused", target, actor="unknown", detail=why)
            await chain.record(db, self._clock.now(), [refused])

    # -- passwords -----------------------------------------------------------------------------------------------------

    async def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ConfigInvalid(f"password: must have {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
        return await asyncio.to_thread(self._hasher.hash, password)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password[: MAX_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys_hash(hasher: PasswordHasher) -> str:
    """Something to check against when there is no such person, so that the answer takes as long."""
    return hasher.hash(secrets.token_hex(16))


def _address(email: str) -> str:
    address = email.strip().lower()
    local, _, domain = address.partition("@")
    if not local or not domain or len(address) > 254 or any(c.isspace() for c in address):
        raise ConfigInvalid("email: not an address.")
    return address


def _cookie_hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()


def _record(row: UserRow) -> UserRecord:
    return UserRecord(
        id=row.id,
        clinic_id=row.clinic_id,
        email=row.email,
        display_name=row.display_name,
        role=row.role,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )
