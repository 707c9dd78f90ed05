"""Session tokens: who somebody is in one session, signed, short-lived, of one algorithm.

A token is a JSON Web Token (RFC 7519) signed with HMAC-SHA-256 under a secret of this installation. It travels in a
header or in a first message, never in a URL.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jwt

from bot.clock import Clock
from bot.errors import SetupError, Unauthorized
from bot.events import Role

ALGORITHM = "HS256"
SECRET_FILE = "session-token.key"  # noqa: S105  the name of a file
SECRET_BYTES = 32
ISSUER = "quietnote"
AUDIENCE = "quietnote.session"
LIFETIME = timedelta(hours=12)
"""Long enough for a day's appointment; the link makes a new one."""
MAX_TOKEN_CHARS = 4096
_CLAIMS = ("exp", "iat", "iss", "aud", "session_id", "participant_id", "role", "clinic_id")


class TokenSecretUnusable(SetupError):
    """The file of the token secret does not hold one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} does not hold {SECRET_BYTES} bytes in hexadecimal; move it away to make a new one")


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """What a valid token says."""

    session_id: str
    participant_id: str
    role: Role
    clinic_id: str
    expires_at_s: int
    """Seconds since 1970."""
    pass_id: str = ""
    """Which of a participant's tokens it is: a link that is opened once more gives another."""


class SessionTokens:
    """Makes and checks tokens."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError("the secret is too short")
        self._secret = secret
        self._clock = clock

    @classmethod
    def load(cls, folder: Path, clock: Clock) -> SessionTokens:
        """With the secret in ``folder``, made at first use, for the owner alone. Raises TokenSecretUnusable."""
        path = folder / SECRET_FILE
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _write_new(path)
        path.chmod(0o600)
        try:
            secret = bytes.fromhex(path.read_text("ascii").strip())
        except (ValueError, UnicodeDecodeError):
            raise TokenSecretUnusable(path) from None
        if len(secret) != SECRET_BYTES:
            raise TokenSecretUnusable(path)
        return cls(secret, clock)

    def issue(
        self, *, session_id: str, participant_id: str, role: Role, clinic_id: str, lifetime: timedelta = LIFETIME
    ) -> str:
        """A token for one participant of one session."""
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "session_id": session_id,
            "participant_id": participant_id,
            "role": role.value,
            "clinic_id": clinic_id,
            "jti": secrets.token_urlsafe(9),
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def check(self, token: str) -> SessionClaims:
        """What the token says. Raises Unauthorized for one that is not ours, was changed, or has expired."""
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthorized("The token is not valid.")
        try:
            # the library would ask the machine's clock; ours is injected, so its own look at the time is switched off
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            found = SessionClaims(
                session_id=_text(claims["session_id"]),
                participant_id=_text(claims["participant_id"]),
                role=Role(claims["role"]),
                clinic_id=_text(claims["clinic_id"]),
                expires_at_s=int(claims["exp"]),
                pass_id=str(claims.get("jti", "")),
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Unauthorized("The token is not valid.") from None
        if self._clock.now().timestamp() >= found.expires_at_s:
            raise Unauthorized("The token has expired; open your link again.")
        return found


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _write_new(path: Path) -> None:
    """Write a new secret beside the place and move it there unless another process was first."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink()
