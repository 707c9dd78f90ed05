"""Three processes on a real PostgreSQL and a real Valkey: killed one after the other, a survivor goes on each time."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import bot
from bot.store.valkey import EmbeddedValkey
from tests.conftest import missing_part
from tests.integration.aftercall_world import PLACES
from tests.integration.replica_world import ended_session
from tests.integration.test_aftercall_crash import assert_ended_once
from tests.postgres_server import PostgresServer, running_server

ROOT = Path(__file__).parents[2]
WITHIN_S = 60
TELLING = ("keys-gone", "draft-saved")
"""The places that every run tries: in the middle of the erasure, and behind the draft."""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server with ``fsync`` on, for those who are killed."""
    with running_server(missing_part) as server:
        yield server


@dataclass
class Worker:
    """One process."""

    process: asyncio.subprocess.Process
    name: str = ""
    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    reader: asyncio.Task[None] | None = None
    errors: bytes = b""

    async def listen(self, at: asyncio.Queue[tuple[Worker, str]]) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode().strip()
            if text.startswith("at "):
                at.put_nowait((self, text.removeprefix("at ")))
            else:
                self.heard.put_nowait(text)
        self.heard.put_nowait("")

    async def hear(self) -> str:
        line = await asyncio.wait_for(self.heard.get(), WITHIN_S)
        assert line, await self.last_words()
        return line

    async def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()
        return await self.hear()

    async def last_words(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()[-4000:]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self, *, number: int | None = None) -> None:
        if number is not None and self.process.returncode is None:
            self.signal(number)
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.stderr is not None
        self.errors += await self.process.stderr.read()
        await self.process.wait()
        if self.reader is not None:
            await self.reader


@dataclass
class Service:
    """Several processes over one folder."""

    folder: Path
    database_url: str
    redis_url: str
    places: tuple[str, ...] = ()
    at: asyncio.Queue[tuple[Worker, str]] = field(default_factory=asyncio.Queue)
    workers: list[Worker] = field(default_factory=list)
    all: list[Worker] = field(default_factory=list)

    async def start(self, *, source: Path | None = None) -> Worker:
        path = os.pathsep.join(str(folder) for folder in (source, ROOT) if folder is not None)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.replica_world", self.folder, self.database_url, self.redis_url,
            cwd=source or ROOT, env=os.environ | {"PLACES": ",".join(self.places), "PYTHONPATH": path},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        worker = Worker(process)
        worker.reader = asyncio.create_task(worker.listen(self.at))
        self.workers.append(worker)
        self.all.append(worker)
        worker.name = (await worker.hear()).removeprefix("ready ")
        return worker

    async def reached(self) -> tuple[Worker, str]:
        return await asyncio.wait_for(self.at.get(), WITHIN_S)

    async def kill(self, worker: Worker) -> None:
        self.workers.remove(worker)
        await worker.end(number=signal.SIGKILL)


@asynccontextmanager
async def service(folder: Path, server: PostgresServer, *places: str) -> AsyncIterator[Service]:
    valkey = EmbeddedValkey(folder / "bus")
    (folder / "bus").mkdir()
    (folder / "data").mkdir()
    running = Service(folder / "data", server.new_database(), await valkey.start(), places)
    try:
        yield running
    finally:
        for worker in running.workers:
            await worker.end(number=signal.SIGKILL)
        for worker in running.all:
            print(worker.name, worker.errors.decode()[-4000:], sep="\n")  # shown where the test fails
        await valkey.close()
        server.drop(running.database_url)


def assert_ended_once_for_all(result: dict[str, Any]) -> None:
    assert_ended_once(result)
    sent = result["sent"]
    assert len({identity for identity, _ in sent}) == len(sent), "each event has one id"
    for kind in ("transcript.ready", "receipt.issued", "audio.erased", "note.draft_ready", "inbox.item_created"):
        assert Counter(kind for _, kind in sent)[kind] == 1, kind


@pytest.mark.parametrize("places", [TELLING, pytest.param(PLACES, marks=pytest.mark.soak)], ids=["telling", "all"])
async def test_whoever_is_killed_a_survivor_goes_on_and_it_ends_once(
    tmp_path: Path, own_postgres: PostgresServer, places: tuple[str, ...]
) -> None:
    async with service(tmp_path, own_postgres, *places) as running:
        session_id = await ended_session(running.folder, running.database_url)
        await asyncio.gather(*(running.start() for _ in range(3)))
        for place in places:
            worker, reached = await running.reached()
            assert reached == place
            _, _ = await asyncio.gather(running.kill(worker), running.start())
        result = json.loads(await running.workers[0].ask(f"report {session_id}"))
    assert_ended_once_for_all(result)


@pytest.mark.soak
@pytest.mark.parametrize("place", ["drain", "before-draft"])
async def test_one_that_stood_still_changes_nothing_when_it_goes_on(
    tmp_path: Path, own_postgres: PostgresServer, place: str
) -> None:
    """It was taken for dead in the middle of a step, and the other one finished."""
    async with service(tmp_path, own_postgres, place) as running:
        session_id = await ended_session(running.folder, running.database_url)
        await asyncio.gather(running.start(), running.start())
        first, _ = await running.reached()
        [second] = [worker for worker in running.workers if worker is not first]
        first.signal(signal.SIGSTOP)
        result = json.loads(await second.ask(f"report {session_id}"))
        assert_ended_once_for_all(result)
        (running.folder / f"go-{place}").touch()
        first.signal(signal.SIGCONT)
        assert json.loads(await first.ask(f"report {session_id}")) == result
        assert json.loads(await second.ask(f"report {session_id}")) == result
        running.workers.remove(first)
        await first.end(number=signal.SIGTERM)


async def test_a_survivor_with_another_source_goes_on(tmp_path: Path, own_postgres: PostgresServer) -> None:
    """An upgrade between kill and restart: the version of the workflow stands, so what was begun is finished."""
    source = changed_source(tmp_path / "next")
    async with service(tmp_path, own_postgres, "before-draft") as running:
        session_id = await ended_session(running.folder, running.database_url)
        await running.start()
        killed, _ = await running.reached()
        await running.kill(killed)
        second = await running.start(source=source)
        result = json.loads(await second.ask(f"report {session_id}"))
    assert_ended_once_for_all(result)


def changed_source(folder: Path) -> Path:
    """The package as another release might have it: the same steps, the workflow's functions written otherwise."""
    package = Path(bot.__file__).parent
    shutil.copytree(package, folder / "bot", ignore=shutil.ignore_patterns("__pycache__", "ui", "demo", "bench"))
    shutil.copytree(package.parent / "config", folder / "config")
    for name, was, becomes in (
        ("durable.py", "    return engine.run(subject)\n", "    ended = engine.run(subject)\n    return ended\n"),
        ("aftercall.py", "        drained = True\n", "        drained, _release = True, 2\n"),
    ):
        path = folder / "bot" / name
        assert was in path.read_text(), f"{name} is no longer what this test changes"
        path.write_text(path.read_text().replace(was, becomes))
    return folder
