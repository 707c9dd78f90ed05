"""STUN and TURN servers: one shape for the setting, the pages and the bot's own connections.

Browsers and aiortc both refuse a server they cannot use only when a connection is made, in the middle of a call, so
what they would refuse is refused here, when the settings are read. No message repeats an entry: it may hold a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_URL = re.compile(
    r"(?:stuns?|(?P<turn>turns?)):[^\s:?@/\[\]]+(?::(?P<port>\d{1,5}))?(?(turn)(?:\?transport=(?:udp|tcp))?)"
)
"""RFC 7064 and RFC 7065, without IPv6 literals, which aiortc does not read."""
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
        found = _URL.fullmatch(url) if isinstance(url, str) else None
        if found is None or not 0 < int(found["port"] or 1) <= 65535:
            raise ValueError(f"{where}: a URL must be stun:, stuns:, turn: or turns: with a host and perhaps a port")
    username, credential = entry.get("username"), entry.get("credential")
    given = [word for word in (username, credential) if isinstance(word, str) and word]
    if len(given) < 2 and (given or username or credential or any(url.startswith("turn") for url in urls)):
        raise ValueError(f"{where}: a TURN server needs username and credential, both as text")
    return IceServer(tuple(urls), username or None, credential or None)
