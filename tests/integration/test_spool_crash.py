"""A process that captures is killed: another takes over its spool with the real vault, and what is erased stays so."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.bench.forensics import bytes_in
from bot.events import CapturedAudio, GateState
from bot.media.pipeline import LanePipeline, leftover_windows
from bot.media.spool import FORM, Spool, sweep
from bot.store.vault import FileVault, KeyDestroyed
from tests.unit.media.fakes import ScriptedVad

SECOND = 16_000
MASTER = bytes(range(32))

CAPTURE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bot.events import AudioFrame, GateState
from bot.media.pipeline import LanePipeline
from bot.media.spool import Spool
from bot.store.vault import FileVault
from tests.unit.media.fakes import ScriptedVad

folder = Path(sys.argv[1])
finals = []
pipeline = LanePipeline(
    lane_id="lane", vad=ScriptedVad(), on_level=lambda level: None,
    spool=Spool(folder / "spool", FileVault(folder / "vault", bytes(range(32))), "ses", "lane"),
    on_window=lambda window: finals.append(window) if window.final else None,
)
pipeline.set_state(GateState.OPEN, 0)
parts = ((2, 1000), (3, 0), (2, 777), (3, 0), (2, 1000))
pcm = np.concatenate([np.full(n * 16000, loud, np.int16) for n, loud in parts])
for at in range(0, len(pcm), 960):
    pipeline.gate(AudioFrame("lane", at, pcm[at : at + 960]))
pipeline.committed(finals[0].end_sample)
print(finals[0].end_sample, finals[1].window_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", CAPTURE, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    committed, window_id = ended.stdout.split()
    return tmp_path, int(committed), window_id


def test_another_process_goes_on_where_words_end(killed: tuple[Path, int, str]) -> None:
    folder, committed, window_id = killed
    spool = Spool(folder / "spool", FileVault(folder / "vault", MASTER), "ses", "lane")
    windows = list(leftover_windows("lane", spool, ScriptedVad(), committed))
    assert windows[0].window_id == window_id
    assert 777 in windows[0].pcm
    assert windows[-1].end_sample >= 11 * SECOND  # at most the chunk that was being filled is gone
    assert spool.unreadable == 0
    pipeline = LanePipeline(
        lane_id="lane", vad=ScriptedVad(), spool=spool, on_window=lambda _: None, on_level=lambda _: None
    )
    pipeline.recover(committed, 30 * SECOND)
    pipeline.set_state(GateState.OPEN, 30 * SECOND)
    pipeline.finish(31 * SECOND)
    assert pipeline.ledger().closes


def test_erased_chunks_cannot_be_opened_with_any_key_left(killed: tuple[Path, int, str]) -> None:
    folder, _, _ = killed
    thief = folder / "thief"
    shutil.copytree(folder / "spool", thief)  # somebody kept every file
    vault = FileVault(folder / "vault", MASTER)
    spool = Spool(folder / "spool", vault, "ses", "lane")
    held = spool.depth
    spool.erase_through(6 * SECOND)
    assert 0 < spool.depth < held
    indices = [int(path.name.split(".")[0]) for path in sorted(thief.rglob("*.chunk"))]
    keys = []
    for index in range(max(indices) + 100):
        try:
            keys.append(vault.audio_key("ses", "lane", index))
        except KeyDestroyed:
            continue
    for path in sorted(thief.rglob("*.chunk")):
        number, start = path.name.split(".")[:2]
        if (int(start) + SECOND) > 6 * SECOND:
            continue
        sealed = path.read_bytes()
        assert sealed[:1] == FORM
        for key in keys:
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(
                    sealed[1:13], sealed[13:], f"quietnote chunk:ses:lane:{int(number)}:{start}".encode()
                )
    assert vault.destroy_audio("ses") == 1
    assert not list(Spool(thief, vault, "ses", "lane").read())
    assert sweep(folder / "spool", "ses") > 0
    assert not list((folder / "spool").rglob("*.chunk"))


def test_the_sound_lies_nowhere_in_the_clear(killed: tuple[Path, int, str]) -> None:
    folder, _, _ = killed
    assert bytes_in(folder, np.full(64, 777, "<i2").tobytes()) == []


def test_nothing_is_kept_after_the_session_is_erased(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "vault", MASTER)
    spool = Spool(tmp_path / "spool", vault, "ses", "lane")
    spool.append(CapturedAudio("lane", 0, np.full(2 * SECOND, 5, np.int16)))
    vault.destroy_audio("ses")
    spool.append(CapturedAudio("lane", 2 * SECOND, np.full(2 * SECOND, 5, np.int16)))
    assert spool.depth == 2
    assert not list(spool.read())
