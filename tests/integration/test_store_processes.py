"""The store under real processes: killed while it writes, and several at once over one folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bot
from bot.clock import SystemClock
from bot.store.db import Database
from bot.store.sessions import SessionStore
from bot.store.vault import FileVault, KeyDestroyed

MASTER = bytes(range(32))
ENV = os.environ | {"PYTHONPATH": str(Path(bot.__file__).parent.parent)}

WRITER = """
import asyncio, sys
from pathlib import Path
from bot.clinics import ClinicConfig
from bot.clock import SystemClock
from bot.events import Role, Segment
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.sessions import NewSession, SessionStore
from bot.store.vault import FileVault

async def main(folder):
    db = Database(f"sqlite+aiosqlite:///{folder}/quietnote.db")
    await db.open()
    await ClinicStore(db, SystemClock()).seed({"harbour": ClinicConfig(id="harbour", name="H")})
    vault = FileVault(folder / "vault", bytes(range(32)))
    store = SessionStore(db, vault, SystemClock())
    session = await store.create(NewSession("harbour"))
    lane = await store.ensure_lane(session.id, "cl", Role.CLIENT)
    print(session.id, lane.id, flush=True)
    n = 0
    while True:
        vault.audio_key(session.id, lane.id, n)
        await store.commit_final(session.id, Segment(
            f"win_{n}", 1, True, lane.id, "cl", Role.CLIENT, n * 1000, n * 1000 + 900, f"word {n}",
            committed_through_sample=(n + 1) * 16000))
        vault.advance_audio(session.id, lane.id, n + 1)
        print(n, flush=True)
        n += 1

asyncio.run(main(Path(sys.argv[1])))
"""

DESTROYER = """
import sys
from pathlib import Path
from bot.store.vault import FileVault
vault = FileVault(Path(sys.argv[1]), bytes(range(32)))
print(vault.destroy("words:ses_1"), vault.destroy_audio("ses_1"))
"""

MIGRATOR = """
import sys
from sqlalchemy.engine import make_url
import bot
from bot.store import migrate
assert bot.__file__.startswith(sys.argv[2]), bot.__file__
migrate.upgrade(make_url(sys.argv[1]))
"""


def killed_while_writing(folder: Path, after: int) -> tuple[str, str, int]:
    """A session's id, its lane's id, and the last final its killed writer had told of."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=ENV)
    assert child.stdout is not None
    session_id = lane_id = ""
    try:
        for line in child.stdout:
            words = line.split()
            if len(words) == 2 and words[0].startswith("ses_"):
                session_id, lane_id = words
            elif words == [str(after)]:
                break
    finally:
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait(timeout=10)
        child.stdout.close()
    return session_id, lane_id, max([after, *(int(line) for line in rest.split("\n")[:-1] if line.isdigit())])


@pytest.mark.parametrize("after", [1, 20])
async def test_a_killed_process_loses_nothing_it_had_committed(tmp_path: Path, after: int) -> None:
    session_id, lane_id, told = await asyncio.to_thread(killed_while_writing, tmp_path, after)
    db = Database(f"sqlite+aiosqlite:///{tmp_path / 'quietnote.db'}")
    await db.open()
    vault = FileVault(tmp_path / "vault", MASTER)
    store = SessionStore(db, vault, SystemClock())
    texts = [s.text for s in (await store.transcript(session_id)).segments]
    (lane,) = await store.lanes(session_id)
    await db.close()
    assert texts == [f"word {n}" for n in range(len(texts))]
    assert len(texts) >= told + 1
    assert lane.committed_through_sample == len(texts) * 16_000  # the words and the position are one
    assert vault.audio_key(session_id, lane_id, len(texts) + 5)  # what was still needed can be opened
    with pytest.raises(KeyDestroyed):
        vault.audio_key(session_id, lane_id, told)


def test_a_key_destroyed_by_one_process_is_of_no_use_to_another(tmp_path: Path) -> None:
    here = FileVault(tmp_path, MASTER)
    sealed, _ = here.seal("words:ses_1", "p", b"x"), here.audio_key("ses_1", "lan_1", 3)
    assert here.unseal("words:ses_1", "p", sealed) == b"x"
    done = subprocess.run(
        [sys.executable, "-c", DESTROYER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=ENV,
    )
    assert done.stdout.split() == ["True", "1"]
    with pytest.raises(KeyDestroyed):
        here.unseal("words:ses_1", "p", sealed)
    with pytest.raises(KeyDestroyed):
        here.seal("words:ses_1", "p", b"y")
    with pytest.raises(KeyDestroyed):
        here.audio_key("ses_1", "lan_1", 3)


def test_several_processes_make_one_key(tmp_path: Path) -> None:
    maker = (
        "import sys; from pathlib import Path; from bot.store.vault import FileVault\n"
        "v = FileVault(Path(sys.argv[1]), bytes(range(32))); sys.stdin.readline()\n"
        "print(v.seal('words:ses_1', 'p', b'x').hex(), v.audio_key('ses_1', 'lan_1', 4).hex())"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", maker, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        for _ in range(3)
    ]
    outputs = [child.communicate("go\n", timeout=60)[0].split() for child in children]
    here = FileVault(tmp_path, MASTER)
    assert {here.unseal("words:ses_1", "p", bytes.fromhex(sealed)) for sealed, _ in outputs} == {b"x"}
    assert {key for _, key in outputs} == {here.audio_key("ses_1", "lan_1", 4).hex()}


def test_the_migrations_travel_inside_the_package(tmp_path: Path) -> None:
    """As from an installed wheel: the package elsewhere, no checkout around it, another working directory."""
    site = tmp_path / "with % and space"
    source = Path(bot.__file__).parent
    for path in source.rglob("*"):
        if path.suffix in {".py", ".mako"}:
            target = site / "bot" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    subprocess.run(
        [sys.executable, "-c", MIGRATOR, url, str(site)],
        check=True,
        timeout=60,
        cwd=tmp_path,
        env=ENV | {"PYTHONPATH": str(site)},
    )
    assert (tmp_path / "new.db").stat().st_size > 50_000
