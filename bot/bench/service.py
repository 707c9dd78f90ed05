"""The service under measurement: a process of its own, on a fresh data directory and a free port."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from bot.errors import SetupError
from bot.settings import default_config_dir

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
SAMPLE_EVERY_S = 0.1
DEV_KEY = "dev"


class ServiceNotReady(SetupError):
    """The service that was to be measured did not come up."""


def _config(folder: Path, clinic: str) -> Path:
    """A copy of the configuration in which the demo clinic chose something else."""
    shutil.copytree(default_config_dir(), folder)
    file = folder / "clinics" / "demo.toml"
    file.write_text(f"{file.read_text('utf-8')}\n{clinic}\n", "utf-8")
    return folder


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used at a moment."""

    at_s: float
    cpu_s: float
    """Of the process with all its threads."""
    children_cpu_s: float
    """Of the processes it started (the embedded Valkey)."""
    rss_mb: float


def usage_of(pid: int) -> Usage:
    """Read it from /proc."""
    tick = os.sysconf("SC_CLK_TCK")
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    own = _stat(pid)
    children = sum((sum(map(int, _stat(child)[11:13])) for child in _children(pid)), 0)
    return Usage(time.monotonic(), sum(map(int, own[11:13])) / tick, children / tick, int(own[21]) * page_mb)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: 11 and 12 are utime and stime, 21 is rss."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


class Service:
    """``quietnote serve --dev`` as a subprocess. Use as an async context manager."""

    def __init__(self, *, model: str = "tiny.en", environ: Mapping[str, str] | None = None, clinic: str = "") -> None:
        """``clinic`` is TOML that the demo clinic's file is followed by."""
        self._environ = {"QUIETNOTE_ASR_MODEL": model, **(environ or {})}
        self._clinic = clinic
        self._process: asyncio.subprocess.Process | None = None
        self._sampler: asyncio.Task[None] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="quietnote-bench-"))
        self.base_url = ""
        self.samples: list[Usage] = []

    @property
    def pid(self) -> int:
        """The process that is measured."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("QUIETNOTE_")}
        environ |= {"QUIETNOTE_DATA_DIR": str(self.folder / "data"), **self._environ}
        if self._clinic:
            environ["QUIETNOTE_CONFIG_DIR"] = str(_config(self.folder / "config", self._clinic))
        log = (self.folder / "service.log").open("wb")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "serve", "--dev", "--port", str(port),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True,
            )  # fmt: skip
        finally:
            log.close()
        try:
            await self._until_ready()
        except BaseException:
            await self._stop()
            raise
        self._sampler = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient(base_url=self.base_url, trust_env=False, timeout=5.0) as http:
            while time.monotonic() < deadline:
                if self._process.returncode is not None:
                    raise ServiceNotReady(f"The service ended with {self._process.returncode}: {self._last_line()}")
                try:
                    if (await http.get("/readyz")).is_success:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.2)
        raise ServiceNotReady(f"The service was not ready after {READY_TIMEOUT_S:g} s: {self._last_line()}")

    def _last_line(self) -> str:
        lines = (self.folder / "service.log").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:500] if lines else "it said nothing."

    async def _sample(self) -> None:
        while True:
            try:
                self.samples.append(usage_of(self.pid))
            except OSError:
                return
            await asyncio.sleep(SAMPLE_EVERY_S)

    def between(self, from_s: float, to_s: float) -> tuple[Usage, Usage]:
        """The samples next to two moments."""
        first = min(self.samples, key=lambda u: abs(u.at_s - from_s))
        last = min(self.samples, key=lambda u: abs(u.at_s - to_s))
        return first, last

    async def _stop(self) -> None:
        if self._sampler is not None:
            self._sampler.cancel()
            await asyncio.gather(self._sampler, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
