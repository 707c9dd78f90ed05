"""The after-call workflow in a process that is killed at every place where it can be, on one and the same session."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot.bench.forensics import said_in
from bot.store.receipts import load_public_keys, verify_receipt
from tests.integration.aftercall_world import PLACES

ROOT = Path(__file__).parents[2]
LIFE_S = 60
TELLING = ("before-erase", "keys-gone", "before-draft", "draft-saved")
"""The places that every run tries: those on either side of the erasure and of the draft."""


async def live(folder: Path, pause_at: str | None = None, *more: str) -> dict[str, Any] | None:
    """One life of the process; None when it was killed at ``pause_at``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.aftercall_world",
        str(folder),
        *more,
        cwd=ROOT,
        env=os.environ | {"PAUSE_AT": pause_at or ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    result = None
    try:
        async with asyncio.timeout(LIFE_S):
            async for line in process.stdout:
                if pause_at and line.decode() == f"at {pause_at}\n":
                    process.send_signal(signal.SIGKILL)
                    break
                if line.startswith(b"{"):
                    result = json.loads(line)
    finally:
        if process.returncode is None and result is None:
            process.kill()
        _, errors = await process.communicate()
    assert process.returncode == (-signal.SIGKILL if pause_at else 0), errors.decode()[-4000:]
    return result


def assert_ended_once(result: dict[str, Any] | None) -> None:
    assert result is not None
    assert result["states"] == ["erased", "ready", "draft"]
    words = [f"needle {who} {n}" for n in range(3) for who in ("doc", "pat")]
    assert sorted(result["segments"]) == sorted(words), "every chunk in words, none twice"
    assert Counter(result["note"].split()) == Counter(" ".join(words).split())
    assert (result["inbox"], result["chunks"], result["version"]) == (["draft_ready"], 0, 1)
    kinds = Counter(result["kinds"])
    once = ("transcript.ready", "receipt.issued", "audio.erased", "note.queued", "note.generating", "note.draft_ready")
    assert {kind: kinds[kind] for kind in once} == dict.fromkeys(once, 1)
    (receipt,) = result["receipts"]
    verdict = verify_receipt(receipt.encode(), load_public_keys(json.dumps(result["keys"]).encode()))
    assert verdict.valid
    assert verdict.statement["held"]["chunks"] == 6


def assert_only_sealed(folder: Path) -> None:
    assert said_in(folder, "needle") == []


@pytest.mark.parametrize("places", [TELLING, pytest.param(PLACES, marks=pytest.mark.soak)], ids=["telling", "all"])
async def test_killed_and_started_again_it_ends_once(tmp_path: Path, places: tuple[str, ...]) -> None:
    assert "before-erase" in places, "its words are committed, its audio is not erased"
    assert "before-draft" in places, "its audio is erased, its draft is not made"
    for place in places:
        assert await live(tmp_path, place) is None
    assert_ended_once(await live(tmp_path))
    assert_only_sealed(tmp_path)


@pytest.mark.parametrize(
    "places",
    [
        ("queued",),
        pytest.param(("ended",), marks=pytest.mark.soak),
        pytest.param(("queued", "before-draft", "draft-saved"), marks=pytest.mark.soak),
    ],
    ids="-".join,
)
async def test_a_note_that_was_asked_for_is_made_though_the_process_was_killed(
    tmp_path: Path, places: tuple[str, ...]
) -> None:
    for place in places:
        assert await live(tmp_path, place, "typed") is None
    result = await live(tmp_path, None, "typed")
    assert result is not None
    assert result["states"] == ["finished", "absent", "absent", "draft"]
    assert (result["note"], result["version"], result["inbox"]) == ("needle", 1, ["draft_ready"])
    assert Counter(result["kinds"])["note.draft_ready"] == 1
    assert_only_sealed(tmp_path)
