"""Which addresses a webhook may reach: the guard against being made to call the house from inside.

The name is looked up once, every address it has must be public, and the connection goes to the very address that was
judged. A name that answers differently a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.errors import ConfigInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Looks up a name: host and port in, addresses out. Raises OSError."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


class AddressRefused(Exception):
    """The address may not be called. ``reason`` is a word for logs; nothing of the URL is in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Target:
    """A judged address: where to connect, and under which name."""

    url: str
    """With the address in the place of the name."""
    host: str
    """The name, for the Host header and the certificate."""
    authority: str


async def look_up(host: str, port: int) -> list[str]:
    """The system's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Refuse what could never be called, before it is stored. Raises ConfigInvalid."""
    try:
        _parts(url, allow_private=allow_private)
    except AddressRefused as error:
        raise ConfigInvalid(f"url: {_WORDS[error.reason]}", paths=["url"]) from None


async def target_of(url: str, resolve: Resolve, *, allow_private: bool = False) -> Target:
    """Look the name up and judge every address it has. Raises AddressRefused."""
    scheme, host, port, path = _parts(url, allow_private=allow_private)
    try:
        addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in await resolve(host, port)]
    except (OSError, ValueError):
        raise AddressRefused("not-found") from None
    if not addresses:
        raise AddressRefused("not-found")
    if not allow_private and not all(map(is_public, addresses)):
        raise AddressRefused("private")
    address = addresses[0]
    at = f"[{address}]" if address.version == 6 else str(address)
    name = f"[{host}]" if ":" in host else host
    usual = port == (443 if scheme == "https" else 80)
    return Target(f"{scheme}://{at}:{port}{path}", host, name if usual else f"{name}:{port}")


def is_public(address: Address) -> bool:
    """True for an address of the open internet, also when it is wrapped into an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address in LOCAL_NAT64 or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _parts(url: str, *, allow_private: bool) -> tuple[str, str, int, str]:
    if len(url) > 2048 or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url) or "\\" in url:
        raise AddressRefused("malformed")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("malformed") from None
    if parts.scheme not in ({"https", "http"} if allow_private else {"https"}):
        raise AddressRefused("scheme")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("malformed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path


_WORDS = {
    "malformed": "must be the address of an endpoint, without a name, password or fragment",
    "scheme": "must be an https address",
}
