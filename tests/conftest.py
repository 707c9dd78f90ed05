"""What every test may rely on: no network but this machine's own, no task left behind, and parts that are real.

A real part that is missing (Chromium, PostgreSQL, the recordings) skips its tests with the reason, unless
``QUIETNOTE_REQUIRE_REAL_PARTS=1`` is set: then it fails them, so that a build machine cannot pass by lacking something.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bot.media import loopback
from tests.postgres_server import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

REQUIRE = "QUIETNOTE_REQUIRE_REAL_PARTS"
CORPUS = "QUIETNOTE_CORPUS"
ROOT = Path(__file__).resolve().parent.parent
GRACE_S = 2.0
"""What tasks of a closed service get to end in by themselves, before they count as left behind."""


def missing_part(what: str) -> NoReturn:
    """End the test that needs a real part: a failure where real parts are required, else a skip with the reason."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{what} is missing, and {REQUIRE}=1 says it must be here", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of recordings. It is no part of the project, so that it is never required."""
    folder = Path(os.environ.get(CORPUS) or ROOT.parent / "shared" / "corpus")
    if not folder.is_dir():
        pytest.skip(f"no recordings: set {CORPUS} to their folder")
    return folder


# -- several workers --------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``pytest -n N`` spreads whole files; any other way of spreading has to be asked for by ``--dist``."""
    if config.getvalue("dist") != "load":
        return None
    from tests.spread import Spread

    return Spread(config, log)


# -- the network ------------------------------------------------------------------------------------------------------

_outside: list[str] = []


def _is_inside(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True
    try:
        host = ipaddress.ip_address(str(address[0]).split("%", 1)[0])
    except ValueError:
        return str(address[0]) in {"", "localhost"}
    return host.is_loopback or host.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Refuse every connection that leaves this machine, as a firewall would."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def guarded(sock: socket.socket, address: Any, *, _real: Any = real) -> Any:
            if sock.family in {socket.AF_INET, socket.AF_INET6} and not _is_inside(address):
                _outside.append(str(address[0]))
                raise ConnectionRefusedError(f"tests do not leave this machine: {address[0]}")
            return _real(sock, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _stays_inside(_loopback_only: None) -> Iterator[None]:
    """Fail a test that tried to leave, even when the code under test put up with the refusal."""
    _outside.clear()
    yield
    assert not _outside, f"tried to reach {', '.join(_outside)}"


# -- tasks ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail where a task is left that was not there before."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE_S)
    names = sorted(f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})" for task in left)
    assert not names, f"tasks left behind: {', '.join(names)}"


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    async with no_task_left():
        yield


@pytest.fixture(autouse=True)
def _tasks_are_owned(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task behind: set up before the test's own fixtures, it looks after their end."""
    function = getattr(request.node, "function", None)
    if function is not None and inspect.iscoroutinefunction(inspect.unwrap(function)):
        request.getfixturevalue("_no_task_left")


@pytest.fixture(scope="session", autouse=True)
def _calls_need_no_network() -> None:
    """Tests that make a room without a service hold calls on loopback where the machine has nothing else."""
    loopback.choose("auto")
