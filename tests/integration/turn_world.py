"""A real TURN server on loopback: Debian's coturn, with the shared secret from which accounts are made."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import missing_part

HOST = "127.0.0.1"
CONFIG = """\
listening-ip={host}
listening-port={port}
relay-ip={host}
min-port={low}
max-port={high}
use-auth-secret
static-auth-secret={secret}
realm=quietnote.test
fingerprint
allow-loopback-peers
cli-password={cli}
no-cli
no-tls
no-dtls
no-tcp
userdb={folder}/turn.db
pidfile={folder}/turn.pid
log-file=stdout
simple-log
verbose
"""
READY_S = 20.0


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A coturn that runs."""

    url: str
    secret: str
    log: list[str]

    def relayed(self) -> int:
        """How many relays were allocated so far."""
        return sum("ALLOCATE processed, success" in line for line in self.log)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


async def _answers(port: int) -> bool:
    """Whether something answers a STUN binding request."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((HOST, port))
        await loop.sock_sendall(sock, b"\x00\x01\x00\x00\x21\x12\xa4\x42" + secrets.token_bytes(12))
        try:
            return bool(await asyncio.wait_for(loop.sock_recv(sock, 1500), 0.25))
        except (TimeoutError, ConnectionError):
            return False


@asynccontextmanager
async def turn_server(folder: Path) -> AsyncIterator[TurnServer]:
    """coturn with a port, a secret and a folder of its own; ended with the block."""
    program = shutil.which("turnserver")
    if program is None:
        missing_part("coturn's turnserver")
    port, secret = _free_port(), secrets.token_hex(16)
    config = folder / "turnserver.conf"
    config.write_text(
        CONFIG.format(
            host=HOST, port=port, low=49_152, high=65_535, secret=secret, cli=secrets.token_hex(8), folder=folder
        )
    )
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    log: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            log.append(line.decode(errors="replace"))  # noqa: PERF401  it is read while it grows

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(READY_S):
            while not await _answers(port):
                assert process.returncode is None, "".join(log)
        yield TurnServer(f"turn:{HOST}:{port}?transport=udp", secret, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading
