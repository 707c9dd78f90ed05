"""STUN and TURN servers: one shape for the settings, the pages and the bot's own connections.

TURN servers may have fixed accounts, or share a secret with this service, which then makes an account for each
participant that ends by itself (the "REST API for access to TURN services", which coturn calls ``use-auth-secret``).

Browsers and aiortc both refuse a server they cannot use only when a connection is made, in the middle of a call, so
what they would refuse is refused here, when the settings are read. No message repeats an entry: it may hold a password.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_URL = re.compile(
    r"(?:stuns?|(?P<turn>turns?)):[^\s:?@/\[\]]+(?::(?P<port>\d{1,5}))?(?(turn)(?:\?transport=(?:udp|tcp))?)"
)
"""RFC 7064 and RFC 7065, without IPv6 literals, which aiortc does not read."""
MIN_SECRET_CHARS = 16
"""Whoever guesses the secret may relay through the TURN server whatever they like."""
NAME_CHARS = 24
"""Of the pseudonym in a TURN account's name: 96 bits."""
_FIELDS = frozenset({"urls", "username", "credential"})


@dataclass(frozen=True, slots=True)
class IceServer:
    """A server that helps to find a call's way, as WebRTC's ``RTCIceServer`` names it."""

    urls: tuple[str, ...]
    username: str | None = field(default=None, repr=False)
    """For TURN."""
    credential: str | None = field(default=None, repr=False)
    """The password, for TURN."""

    def for_pages(self) -> dict[str, Any]:
        """What a page gives to ``RTCPeerConnection``. Holds the password."""
        server: dict[str, Any] = {"urls": list(self.urls)}
        if self.username is not None:
            server |= {"username": self.username, "credential": self.credential}
        return server


@dataclass(frozen=True, slots=True)
class IceServers:
    """All servers of this service, and the accounts on those that share a secret with it."""

    fixed: tuple[IceServer, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    lifetime_s: int = 43_200
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)

    def of(self, session_id: str, participant_id: str) -> tuple[IceServer, ...]:
        """What somebody's connections are made with from now on. Each call makes a new TURN account.

        Its name tells the TURN server when it ends and, by a pseudonym, whose it is; not who that is.
        """
        if not self.turn_urls:
            return self.fixed
        who = hmac.digest(self.turn_secret.encode(), f"quietnote {session_id} {participant_id}".encode(), "sha256")
        username = f"{int(self.now().timestamp()) + self.lifetime_s}:{who.hex()[:NAME_CHARS]}"
        credential = hmac.digest(self.turn_secret.encode(), username.encode(), "sha1")  # the convention's choice
        return (*self.fixed, IceServer(self.turn_urls, username, base64.b64encode(credential).decode()))


def read_turn(value: object) -> tuple[str, ...]:
    """URLs of TURN servers that share a secret. Raises ValueError, with the number of the entry and never its words."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004  pydantic takes no TypeError
    for number, url in enumerate(value, 1):
        _check_url(url, f"entry {number}")
        if not url.startswith("turn"):
            raise ValueError(f"entry {number}: must be a turn: or turns: URL")
    return tuple(value)


def read_secret(value: str) -> str:
    """A secret, without the white space around it. Raises ValueError."""
    secret = value.strip()
    if 0 < len(secret) < MIN_SECRET_CHARS:
        raise ValueError(f"must have at least {MIN_SECRET_CHARS} characters")
    return secret


def read(value: object) -> tuple[IceServer, ...]:
    """The servers of a setting: URLs of STUN servers, and objects with ``urls``, ``username`` and ``credential``.

    Raises ValueError, with the number of the entry and never its words.
    """
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004  pydantic takes no TypeError
    return tuple(_server(entry, f"entry {number}") for number, entry in enumerate(value, 1))


def _server(entry: object, where: str) -> IceServer:
    if isinstance(entry, IceServer):
        return entry
    if isinstance(entry, str):
        entry = {"urls": [entry]}
    if not isinstance(entry, dict) or not set(entry) <= _FIELDS or "urls" not in entry:
        raise ValueError(f"{where}: must be a URL, or an object of urls, username and credential")
    urls = [entry["urls"]] if isinstance(entry["urls"], str) else entry["urls"]
    if not isinstance(urls, list) or not urls:
        raise ValueError(f"{where}: urls must be a URL or a list of them")
    for url in urls:
        _check_url(url, where)
    username, credential = entry.get("username"), entry.get("credential")
    given = [word for word in (username, credential) if isinstance(word, str) and word]
    if len(given) < 2 and (given or username or credential or any(url.startswith("turn") for url in urls)):
        raise ValueError(f"{where}: a TURN server needs username and credential, both as text")
    return IceServer(tuple(urls), username or None, credential or None)


def _check_url(url: object, where: str) -> None:
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or not 0 < int(found["port"] or 1) <= 65535:
        raise ValueError(f"{where}: a URL must be stun:, stuns:, turn: or turns: with a host and perhaps a port")
