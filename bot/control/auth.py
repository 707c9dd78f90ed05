"""Who calls: a platform's key, a signed-in person's cookie, or a session token, and what of the house they may see.

    Authorization: Bearer qn_...      a platform's key, of one clinic, with scopes
    Authorization: Bearer dev         the development key: only with the setting, and only on a loopback address
    Authorization: Bearer <JWT>       a person in one session
    Cookie: qn_session=...            a person signed in to the pages; changes need their CSRF token beside it

What is another's looks exactly like what does not exist.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from bot.control.capture import Actor, ActorKind
from bot.control.services import Services
from bot.errors import Forbidden, NotFound, Unauthorized
from bot.events import Role
from bot.settings import Settings
from bot.store import acting
from bot.store.keys import PREFIX, SCOPES
from bot.store.records import SessionRecord
from bot.store.users import UserRecord

COOKIE = "qn_session"
CSRF_HEADER = "X-CSRF-Token"
DEV_KEY = "dev"
MAX_CREDENTIAL_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by verified credentials."""

    actor: Actor
    credential: str
    """Id of what they came with: never the secret itself."""
    session_id: str | None = None
    """The one session a session token is for."""
    user: UserRecord | None = None
    csrf: str | None = None
    """For a cookie: the token that changes must carry."""
    expires_at_s: float | None = None
    """When the credentials end, in seconds since 1970."""

    @property
    def who(self) -> str:
        """An id under which answers are kept for this caller alone."""
        return f"{self.actor.kind.value}:{self.credential}"


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine reaches."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def dev_mode(settings: Settings) -> bool:
    """True when the development key and sign-in exist: asked for, and listening on loopback."""
    return settings.dev and is_loopback(settings.host)


async def identify(services: Services, connection: HTTPConnection) -> Caller:
    """Who calls; what the request does is on record as theirs. Raises Unauthorized."""
    caller = await _identify(services, connection)
    if caller.actor.kind is ActorKind.PLATFORM:
        acting.act(caller.credential, caller.credential)
    else:
        acting.act(caller.actor.name, "page" if caller.user is not None else "token")
    return caller


async def _identify(services: Services, connection: HTTPConnection) -> Caller:
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, credential = header.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise Unauthorized
        return await by_bearer(services, credential.strip())
    cookie = connection.cookies.get(COOKIE)
    if cookie is None:
        raise Unauthorized
    return await by_cookie(services, cookie)


async def by_bearer(services: Services, credential: str) -> Caller:
    """Whose key or token this is. Raises Unauthorized."""
    if len(credential) > MAX_CREDENTIAL_CHARS:
        raise Unauthorized
    if credential == DEV_KEY:
        if not dev_mode(services.settings):
            raise Unauthorized("The development key works in development mode on a loopback address only.")
        return Caller(Actor(ActorKind.PLATFORM, services.dev_clinic_id, scopes=SCOPES), DEV_KEY)
    if credential.startswith(PREFIX):
        key = await services.keys.verify(credential)
        return Caller(Actor(ActorKind.PLATFORM, key.clinic_id, scopes=key.scopes), key.id)
    claims = services.tokens.check(credential)
    actor = Actor(ActorKind.PARTICIPANT, claims.clinic_id, role=claims.role, participant_id=claims.participant_id)
    return Caller(
        actor,
        f"{claims.session_id}:{claims.participant_id}",
        session_id=claims.session_id,
        expires_at_s=claims.expires_at_s,
    )


async def by_cookie(services: Services, cookie: str) -> Caller:
    """Who is signed in with this cookie. Raises Unauthorized."""
    if len(cookie) > MAX_CREDENTIAL_CHARS:
        raise Unauthorized
    signed_in = await services.users.signed_in(cookie)
    user = signed_in.user
    actor = Actor(
        ActorKind.USER,
        user.clinic_id,
        role=Role.CLINICIAN if user.role == "clinician" else None,
        user_id=user.id,
    )
    return Caller(actor, user.id, user=user, csrf=signed_in.csrf, expires_at_s=signed_in.expires_at.timestamp())


def refuse_forged(caller: Caller, token: str | None) -> None:
    """Raise Forbidden for a change that only a cookie vouches for: another site could have made the browser send it."""
    if caller.csrf is not None and not hmac.compare_digest(caller.csrf.encode(), (token or "").encode()):
        raise Forbidden(f"A change needs the {CSRF_HEADER} header that signing in gave.")


def need_scope(caller: Caller, scope: str) -> None:
    """Raise Forbidden unless a platform's key has the scope; ``admin`` has them all. People need none."""
    if caller.actor.kind is ActorKind.PLATFORM and not caller.actor.scopes & {scope, "admin"}:
        raise Forbidden(f"This key lacks the scope {scope}.", scope=scope)


async def session_for(services: Services, caller: Caller, session_id: str, *, scope: str = "sessions") -> SessionRecord:
    """The session, if it is the caller's to see. Raises NotFound for any other, Forbidden without the scope."""
    need_scope(caller, scope)
    if caller.session_id not in {None, session_id}:
        raise NotFound
    record = await services.store.get(session_id, clinic_id=caller.actor.clinic_id)
    if caller.actor.kind is ActorKind.USER and record.clinician_user_id != caller.actor.user_id:
        raise NotFound
    return record


async def at_page(services: Services, caller: Caller, session_id: str) -> Actor:
    """The caller, with whoever sits at their page and microphone beside them."""
    actor = caller.actor
    if actor.kind is not ActorKind.PARTICIPANT:
        return actor
    people = await services.store.participants(session_id)
    company = frozenset(one.id for one in people if one.shares_with == actor.participant_id)
    return replace(actor, at_their_page=company)


def same_origin(settings: Settings, origin: str, host: str) -> bool:
    """True when a browser's ``Origin`` is this service: the host it was asked under, or the public address."""
    from_host = urlsplit(origin).netloc.lower()
    known = {host.lower()} | ({urlsplit(settings.public_url).netloc.lower()} if settings.public_url else set())
    return bool(from_host) and from_host in known
