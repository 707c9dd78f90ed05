"""Which addresses a webhook may reach: the guard against being made to call the house from inside.

The name is looked up once, every address it has is judged, and the connection goes to the very address that was judged.
A name that answers differently a moment later changes nothing. What is written so that two readers may read two things
(a user's name, letters beyond ASCII, a number for an address) is refused before that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.errors import ConfigInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Looks up a name: host and port in, addresses out. Raises OSError."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
"""What an operator can allow: this machine and networks of one's own (RFC 1918, 4193, 6598)."""
NEVER = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "168.63.129.16")))
"""Where cloud providers answer a machine's questions about itself, outside link-local: allowed to nobody."""
LOWEST_PORT = 1024
"""Below it only the protocol's own port: mail, databases and shells listen there."""
MOST_TRIED = 3
"""Addresses of one name that are tried, one after the other."""
MAX_URL_CHARS = 2048

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class AddressRefused(Exception):
    """The address may not be called. ``reason`` is a word for logs; nothing of the URL is in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Target:
    """A judged address: where to connect, and under which name."""

    urls: tuple[str, ...]
    """With an address in the place of the name, one for each that may be tried."""
    host: str
    """The name, for the Host header and the certificate."""
    authority: str

    @property
    def url(self) -> str:
        """The first of them."""
        return self.urls[0]


class Resolver:
    """The system's own resolver in threads of its own: a name server that never answers holds up nobody else's work."""

    THREADS = 4

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a name, in the order in which they are to be tried. Raises OSError."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.THREADS, thread_name_prefix="webhook-names")
        found = await asyncio.get_running_loop().run_in_executor(self._pool, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Start no more; a look-up that is under way ends by itself. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Refuse what could never be called, before it is stored. Raises ConfigInvalid, which names ``url``."""
    try:
        scheme, host, _, _ = _parts(url, allow_private=allow_private)
        literal = _literal(host)
        if literal is not None:
            judge(literal, scheme, allow_private=allow_private)
        elif not allow_private and ("." not in host or host.endswith(".localhost")):
            raise AddressRefused("private")
    except AddressRefused as error:
        raise ConfigInvalid(f"url: {_WORDS[error.reason]}.", paths=["url"]) from None


async def target_of(url: str, resolve: Resolve, *, allow_private: bool = False) -> Target:
    """Look the name up and judge every address it has. Raises AddressRefused."""
    scheme, host, port, path = _parts(url, allow_private=allow_private)
    try:
        addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in await resolve(host, port)]
    except (OSError, ValueError):
        raise AddressRefused("not-found") from None
    if not addresses:
        raise AddressRefused("not-found")
    for address in addresses:
        judge(address, scheme, allow_private=allow_private)
    urls = tuple(
        f"{scheme}://{f'[{one}]' if one.version == 6 else one}:{port}{path}" for one in addresses[:MOST_TRIED]
    )
    name = f"[{host}]" if ":" in host else host
    usual = port == _USUAL[scheme]
    return Target(urls, host, name if usual else f"{name}:{port}")


def judge(address: Address, scheme: str, *, allow_private: bool) -> None:
    """Raise AddressRefused unless the address may be called.

    Over https what is public; over both schemes what is private, where the operator allows it. Link-local addresses,
    where machines are told their credentials, are allowed to nobody, and plain http never leaves one's own network.
    """
    if is_public(address):
        if scheme != "https":
            raise AddressRefused("scheme")
        return
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    inner = mapped or address
    if not allow_private or inner in NEVER or not any(inner in network for network in PRIVATE):
        raise AddressRefused("private")


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
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in NEVER


_USUAL = {"https": 443, "http": 80}


def _parts(url: str, *, allow_private: bool) -> tuple[str, str, int, str]:
    """Scheme, host, port, path with query. Raises AddressRefused."""
    if len(url) > MAX_URL_CHARS or any(not 32 < ord(letter) < 127 for letter in url) or "\\" in url:
        raise AddressRefused("malformed")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("malformed") from None
    if parts.scheme not in (_USUAL if allow_private else {"https"}):
        raise AddressRefused("scheme")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("malformed")
    if port is None:
        port = _USUAL[parts.scheme]
    elif port < LOWEST_PORT and port != _USUAL[parts.scheme]:
        raise AddressRefused("port")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, _host(parts.hostname), port, path


def _host(host: str) -> str:
    """The host as it is looked up: a name without its last dot, or an address in its one usual form."""
    if ":" in host:
        if "%" in host or not isinstance(address := _literal(host), ipaddress.IPv6Address):
            raise AddressRefused("malformed")
        return str(address)
    if not _NAME.fullmatch(host):
        raise AddressRefused("malformed")
    name = host.removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]) and _literal(name) is None:
        raise AddressRefused("malformed")  # 2130706433, 0x7f.1, 0177.0.0.1: an address to some readers
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


_WORDS = {
    "malformed": "must be the address of an endpoint in ASCII, without a name, password or fragment",
    "scheme": "must be an https address",
    "port": f"must have the usual port, or one from {LOWEST_PORT}",
    "private": "must be on the public internet",
}
