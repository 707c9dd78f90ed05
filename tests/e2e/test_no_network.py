"""Two real browsers hold a call where there is no network but loopback."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright.async_api", reason="the browser tests need the extra `e2e`")

from tests import no_network
from tests.conftest import ROOT, missing_part
from tests.e2e.browsers import chromium_path


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_two_pages_of_one_machine(tmp_path: Path) -> None:
    if chromium_path() is None:
        missing_part("Chromium")
    process = await asyncio.create_subprocess_exec(
        *no_network.alone(), sys.executable, "-m", "tests.e2e.alone", str(tmp_path),
        cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(200):
            said, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    assert process.returncode == 0, said.decode()
