"""A real PostgreSQL of the tests' own: a private cluster in a temporary folder, on loopback and a Unix socket.

It refuses to run as root, so that under root it is started as ``postgres``, or as ``nobody`` where there is no such
user. One server serves a whole run of tests; each test gets a database of its own. Tests that crash something have a
server to themselves, with ``fsync`` on, as in production.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bot.store import migrate

START_S = 30.0
LOOK_EVERY_S = 0.05
USER = "quietnote"
WHERE = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: on the path, or where Debian keeps them."""
    for name in ("initdb", "postgres"):
        found = shutil.which(name)
        if found and (folder := Path(found).resolve().parent) and (folder / "initdb").exists():
            return folder
    folders = [folder for base in WHERE for folder in Path(base).glob("*/bin") if (folder / "initdb").exists()]
    return max(folders, key=lambda folder: [int(n) for n in folder.parent.name.split(".") if n.isdigit()], default=None)


def account() -> str | None:
    """Who runs the server: ourselves, or under root somebody else."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@dataclass
class PostgresServer:
    """One private cluster."""

    folder: Path
    port: int
    bin: Path
    fsync: bool = True
    """Off: half a second less for each new database, and nothing outlives a power cut."""
    password: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    _process: subprocess.Popen[bytes] | None = None
    _template: str | None = None

    @property
    def data(self) -> Path:
        """The data directory, which a search for what was to be destroyed looks through."""
        return self.folder / "data"

    def make(self) -> None:
        """Make the cluster."""
        note = self.folder / "password"
        note.write_text(self.password)
        self._own(note)
        arguments = ["-D", str(self.data), "-U", USER, f"--pwfile={note}", "--auth=scram-sha-256", "-E", "UTF8"]
        arguments += ["--locale=C.UTF-8", "--no-instructions"]
        subprocess.run([self.bin / "initdb", *arguments], check=True, capture_output=True, timeout=60, **self._as())
        note.unlink()

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "shared_buffers": "32MB",
            "autovacuum_naptime": "1s",
            "log_min_messages": "fatal",
            "fsync": "on" if self.fsync else "off",
        }
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, **self._as())
        self._process = process
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                assert process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(LOOK_EVERY_S)
            else:
                return

    def stop(self, *, number: int = signal.SIGQUIT) -> None:
        """End it, by default at once and without any tidying up, as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=START_S)

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Carry out one statement beside the application, as an operator would."""
        address = f"host=127.0.0.1 port={self.port} user={USER} password={self.password} dbname={database}"
        with psycopg.connect(address, autocommit=True, connect_timeout=2) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description is not None else []

    def url(self, database: str) -> str:
        """The URL of a database, as the settings take it."""
        return f"postgresql+asyncpg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, empty: bool = False) -> str:
        """The URL of a new database, with our tables in it unless it is to be ``empty``."""
        name = f"qn_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {self._with_tables()}"))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.run(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def _with_tables(self) -> str:
        if self._template is None:
            url = self.new_database(empty=True)
            migrate.upgrade(make_url(url))
            self._template = url.rpartition("/")[2]
        return self._template

    def _own(self, path: Path) -> None:
        if (name := account()) is not None:
            shutil.chown(path, name)

    def _as(self) -> dict[str, Any]:
        name = account()
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        return {"cwd": "/", "env": environment} | ({"user": name, "extra_groups": []} if name is not None else {})


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_server(missing: Any, *, fsync: bool = True) -> Iterator[PostgresServer]:
    """A server, while the block lasts; ``missing`` is called where there is none to be had."""
    found = binaries()
    if found is None:
        missing("PostgreSQL's server")
        raise AssertionError("not reached")
    # not under pytest's own folder, which only its owner may enter
    folder = Path(tempfile.mkdtemp(prefix="qn-pg-"))
    server = PostgresServer(folder, free_port(), found, fsync)
    try:
        server._own(folder)
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that a whole run of tests shares; it is not to be crashed."""
    from tests.conftest import missing_part

    with running_server(missing_part, fsync=False) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of the test's own, with our tables."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)
