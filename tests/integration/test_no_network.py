"""Everything a newcomer runs, on a machine that has no network: a namespace with loopback and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from tests import no_network
from tests.integration.forks import Ended
from tests.integration.test_cli import SOUND, environment

WITHIN_S = 200


async def alone(folder: Path, *args: str | Path, **more: str) -> Ended:
    """Run ``quietnote`` without a network, with an empty home."""
    process = await asyncio.create_subprocess_exec(
        *no_network.alone(), sys.executable, "-m", "bot", *map(str, args),
        env=environment(folder, **more), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_the_doctor_finds_nothing_missing(tmp_path: Path) -> None:
    ended = await alone(tmp_path, "doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    checks = {check["name"]: check for check in json.loads(ended.out)}
    assert checks["call addresses"]["detail"] == "127.0.0.1 only: people at this machine"
    assert all(check["ok"] for check in checks.values() if check["required"])


async def test_the_doctor_says_when_no_call_can_be_held(tmp_path: Path) -> None:
    ended = await alone(tmp_path, "doctor", QUIETNOTE_ICE_LOOPBACK="off")
    assert ended.code == 1
    [line] = [line for line in ended.out.splitlines() if line.startswith("MISSING")]
    assert "call addresses" in line
    assert "QUIETNOTE_ICE_LOOPBACK" in line


async def test_a_recording_is_recognised(tmp_path: Path) -> None:
    ended = await alone(tmp_path, "transcribe", SOUND)
    assert (ended.code, ended.err) == (0, "")
    assert "slept about six hours" in ended.out


@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_the_demo_holds_its_call(tmp_path: Path) -> None:
    ended = await alone(tmp_path, "demo", "--json", "--exit")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["wer"] < 0.1
    assert result["codeword_leaked"] is False
    assert result["ledger_closed"] is True
    assert result["receipt_valid"] is True
    assert result["audio_state"] == "erased"
