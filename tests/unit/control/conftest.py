"""A session on a real database, in time that the tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.control.gate_call import Call
from tests.unit.control.gate_world import Ground, open_ground


@pytest.fixture
async def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    """What sessions stand on."""
    opened = await open_ground(tmp_path, monkeypatch)
    yield opened
    await opened.close()


@pytest.fixture
async def call(ground: Ground) -> AsyncIterator[Call]:
    """A session that is not open yet."""
    made = Call(ground)
    yield made
    await made.close()
