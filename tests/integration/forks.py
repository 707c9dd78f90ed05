"""The command in processes of its own that need not import it again: a process that has, and forks.

    python -m tests.integration.forks FD          serves requests on that socket until it is closed

A fork reads its environment, arguments and standard streams as any process does, and ends as one: by itself. What only
a fresh interpreter shows (what an import says or writes, another package in front) is no work for a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REQUEST_BYTES = 1 << 17
"""More than a command line and an environment take."""
READY_S = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of a failure."""
        assert self.code == 1, (self.code, self.err)
        assert not self.out
        [line] = self.err.splitlines()
        assert line.startswith("quietnote: ")
        return line.removeprefix("quietnote: ")


class Forks:
    """The process that forks, from the side of the tests."""

    def __init__(self, home: Path) -> None:
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=os.environ | {"HOME": str(home)},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._hears(READY_S)

    def run(self, args: Sequence[str], environ: Mapping[str, str], said: str, *, within_s: float) -> Ended:
        """Run the command to its end, and no longer than that."""
        with contextlib.ExitStack() as files:
            stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            stdin.write(said.encode())
            stdin.seek(0)
            request = json.dumps({"args": args, "environ": dict(environ)}).encode()
            socket.send_fds(self._wire, [request], [file.fileno() for file in (stdin, stdout, stderr)])
            pid = self._hears(within_s)
            try:
                code = self._hears(within_s)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._hears(within_s)
                raise
            stdout.seek(0)
            stderr.seek(0)
            return Ended(code, stdout.read().decode(), stderr.read().decode())

    def close(self) -> None:
        """End it."""
        self._wire.close()
        self._process.wait()

    def _hears(self, within_s: float) -> int:
        self._wire.settimeout(within_s)
        said = self._wire.recv(64)
        assert said, "the process that forks has ended"
        return int(said)


def forked(wire: socket.socket) -> bool:
    """Fork for each request. True in a fork, which is then the process asked for; False once nobody asks any more."""
    gc.collect()
    gc.freeze()  # else each fork would copy all there is by looking at it
    wire.send(b"0")
    while True:
        request, given, *_ = socket.recv_fds(wire, REQUEST_BYTES, 3)
        if not request:
            return False
        pid = os.fork()
        if pid == 0:
            wire.close()
            for number, stream in enumerate(given):
                os.dup2(stream, number)
                os.close(stream)
            wanted = json.loads(request)
            os.environ.clear()
            os.environ.update(wanted["environ"])
            sys.argv = ["quietnote", *wanted["args"]]
            return True
        for stream in given:
            os.close(stream)
        wire.send(b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        wire.send(b"%d" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    for part in ("asr.command", "doctor", "people", "server"):
        importlib.import_module(f"bot.{part}")
    if forked(socket.socket(fileno=int(sys.argv[1]))):
        from bot.cli import main

        main()
