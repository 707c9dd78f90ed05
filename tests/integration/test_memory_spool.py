"""``audio.spool = "memory"``: no sound is ever on a disk, and a crash costs what has no words yet."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot.settings import default_config_dir
from tests.integration.kill_checks import check
from tests.integration.kill_story import SHORT, Story
from tests.integration.kill_world import Service, room

ROOT = Path(__file__).resolve().parents[2]
LOUDNESS = 777
NEEDLE = np.full(64, LOUDNESS, "<i2").tobytes()
WRITES = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,mmap,sendfile,copy_file_range"

CAPTURE = f"""
import os, signal, sys
from pathlib import Path

opened = []
def watch(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        opened.append(str(args[0]))

import numpy as np
from bot.events import AudioFrame, GateState
from bot.media.pipeline import LanePipeline
from bot.media.spool import Spool
from bot.store.vault import FileVault
from tests.unit.media.fakes import ScriptedVad

sys.addaudithook(watch)
folder, kind = Path(sys.argv[1]), sys.argv[2]
pipeline = LanePipeline(
    lane_id="lane", vad=ScriptedVad(), on_level=lambda level: None, on_window=lambda window: None,
    spool=Spool(folder / "spool", FileVault(folder / "vault", bytes(range(32))), "ses", "lane", kind=kind),
)
pipeline.set_state(GateState.OPEN, 0)
pcm = np.concatenate([np.full(n * 16000, loud, np.int16) for n, loud in ((3, {LOUDNESS}), (3, 0), (3, {LOUDNESS}))])
for at in range(0, len(pcm), 960):
    pipeline.gate(AudioFrame("lane", at, pcm[at : at + 960]))
print(pipeline.hash_tree().get("at_risk_from"), *opened, sep="\\n", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def captured(folder: Path, kind: str) -> tuple[list[str], str]:
    """Capture nine seconds in a process that is then killed: what it printed, and all that it wrote, in hexadecimal."""
    log = folder / "writes.log"
    traced = ["strace", "-f", "-o", str(log), "-e", f"trace={WRITES}", "-xx", "-s", "70000"]
    command = [sys.executable, "-c", CAPTURE, str(folder / "data"), kind]
    may_trace = shutil.which("strace") and not subprocess.run([*traced, "true"], check=False).returncode
    ended = subprocess.run(
        [*traced, *command] if may_trace else command,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert ended.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, ended.stderr
    return ended.stdout.splitlines(), log.read_text() if may_trace else ""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_written_while_sound_is_captured(tmp_path: Path, kind: str) -> None:
    (at_risk, *opened), written = captured(tmp_path, kind)
    spool = tmp_path / "data" / "spool"
    if kind == "memory":
        assert at_risk == "0", "a crash would cost what was said from the first window on"
        assert not spool.exists()
        assert not [path for path in opened if not path.startswith(str(tmp_path / "data" / "vault"))]
    else:
        assert at_risk == "None"
        assert [path for path in opened if path.startswith(str(spool))]
    assert not [path for path in files(tmp_path / "data") if NEEDLE in path.read_bytes()]
    if written:
        assert "".join(f"\\x{byte:02x}" for byte in NEEDLE) not in written, "sound in the clear went to a file"
        shared = re.findall(r"mmap\(.*PROT_WRITE.*MAP_SHARED.*, (\d+), ", written)
        assert not shared, "a file that is written without a call"


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_crash_costs_what_has_no_words_yet_and_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(default_config_dir(), config)
    defaults = config / "default.toml"
    defaults.write_text(defaults.read_text("utf-8").replace('spool = "disk"', 'spool = "memory"'), "utf-8")
    service = Service(tmp_path, {"QUIETNOTE_CONFIG_DIR": str(config)})
    async with room(service) as here:
        story = await Story.of(here, random.Random(7), SHORT)
        await story.play(("window", "paused", "finishing"))
        assert not files(service.data_dir / "spool")
        await check(story, in_memory=True)
        transcript = await here.transcript()
    story.kills = [kill for kill in story.kills if kill.kind == "window"]
    [died] = [here.call_ms(kill.at_s) for kill in story.kills]
    gone = [gap for gap in transcript["gaps"] if gap["reason"] == "interrupted" and gap["participant_id"] is not None]
    assert any(gap["start_ms"] < died - 1000 and gap["end_ms"] > died - 2500 for gap in gone), transcript["gaps"]
