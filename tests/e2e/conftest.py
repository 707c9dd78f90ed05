"""A service of its own in a process of its own, and the bundled dialogue as microphones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from bot.demo import dialogue
from bot.demo.dialogue import Dialogue
from tests.conftest import missing_part, no_task_left

if TYPE_CHECKING:
    from playwright.async_api import Playwright

HERE = Path(__file__).resolve().parent
SAID_LINES = 200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs Chromium, and may take as long as a short call; all share the loop of their browsers."""
    for item in items:
        if HERE in item.path.parents:
            if item.get_closest_marker("asyncio"):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(240))


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    url: str
    data_dir: Path
    said: deque[str]
    """The last lines on its terminal."""
    pid: int


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service for all tests; what it says on the terminal is shown when a test fails."""
    with service(tmp_path_factory.mktemp("quietnote")) as running:
        yield running


@contextmanager
def service(data_dir: Path, port: int = 0) -> Iterator[Served]:
    """``quietnote serve --dev`` on loopback, on a free port if none is named."""
    environment = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "serve", "--dev", "--host", "127.0.0.1", "--port", str(port)],
        env=environment | {"QUIETNOTE_DATA_DIR": str(data_dir), "QUIETNOTE_LOG_LEVEL": "WARNING"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: deque[str] = deque(maxlen=SAID_LINES)
    listening = threading.Event()
    address: list[str] = []

    def read() -> None:
        # a pipe that nobody reads fills up, and then the service waits for us
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("Quietnote listens on "):
                address.append(line.split()[3])
                listening.set()
        listening.set()

    reader = threading.Thread(target=read, name="served-said")
    reader.start()
    try:
        listening.wait(timeout=60)
        assert address, f"the service did not start:\n{''.join(said)}"
        yield Served(address[0], data_dir, said, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the service said."""
    report = yield
    served = getattr(item, "funcargs", {}).get("served")
    if report.failed and isinstance(served, Served):
        report.sections.append(("what the service said", "".join(served.said)))
    return report


@pytest.fixture(scope="session")
def spoken() -> Dialogue:
    """The bundled conversation."""
    return dialogue.load()


@pytest.fixture(scope="session")
def microphones(tmp_path_factory: pytest.TempPathFactory, spoken: Dialogue) -> dict[str, Path]:
    """Each lane of the conversation as a file that Chromium takes for a microphone."""
    from tests.e2e.browsers import as_wav

    folder = tmp_path_factory.mktemp("microphones")
    return {lane: as_wav(spoken.path(lane), folder / f"{lane}.wav") for lane in spoken.lanes}


@pytest_asyncio.fixture(loop_scope="session")
async def _no_task_left() -> AsyncIterator[None]:
    """As for every test, in the loop of these."""
    async with no_task_left():
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """Playwright, or a skip that says what is missing."""
    api = pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")
    from tests.e2e.browsers import chromium_path

    if chromium_path() is None:
        missing_part("Chromium (Debian's package `chromium`, or the one that QUIETNOTE_CHROMIUM names)")
    async with api.async_playwright() as running:
        yield running
