"""A machine without a network still has its loopback, which ICE leaves out: a container started with none, say."""

from __future__ import annotations

from aioice import ice

_addresses = ice.get_host_addresses


def _or_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    found = _addresses(use_ipv4, use_ipv6)
    return found or (["127.0.0.1"] if use_ipv4 else [])


def allow_loopback() -> None:
    """Let this process's connections use 127.0.0.1 where there is no other address. Idempotent."""
    ice.get_host_addresses = _or_loopback
