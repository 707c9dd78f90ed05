"""A network namespace with nothing in it but loopback: what a machine without a network looks like from inside."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest

LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    flags = struct.unpack("16xh", fcntl.ioctl(any, 0x8913, struct.pack("16sh", b"lo", 0)))[0]
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", flags | 1))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A new namespace has its loopback down: SIOCGIFFLAGS, then SIOCSIFFLAGS with IFF_UP; then the command itself."""


LOOK = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    assert any.connect_ex(("192.0.2.1", 9)) != 0
"""
"""Loopback works, and nothing else does (the address is one of those kept for documentation)."""


@functools.cache
def without_network() -> tuple[str, ...] | None:
    """What to put before a command (by its full path) so that it has loopback only; None where that cannot be done.

    The superuser may make a network namespace; others may where the system lets them make a user namespace.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    prefix = (unshare, "--net" if os.getuid() == 0 else "-rn", sys.executable, "-c", LOOPBACK_UP)
    done = subprocess.run([*prefix, sys.executable, "-c", LOOK], capture_output=True, check=False, timeout=30)
    return prefix if done.returncode == 0 else None


def alone() -> tuple[str, ...]:
    """:func:`without_network`, or the test is skipped: making a namespace is a right, not a part to install."""
    prefix = without_network()
    if prefix is None:
        pytest.skip("no network namespace: `unshare` is missing, or this user may not make one")
    return prefix
