"""The spool: sealed, rolling, recoverable, and nothing of it readable once it is erased."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from bot.errors import QuietnoteError, StorageUnavailable
from bot.events import CapturedAudio, Pcm
from bot.media import spool as spool_module
from bot.media.spool import CHUNK_SAMPLES, Spool, lanes_held, sweep
from bot.store.receipts import MerkleLog
from tests.unit.media.fakes import FakeVault

SECOND = 16_000


def audio(start: int, length: int) -> CapturedAudio:
    return CapturedAudio("lane", start, ((start + np.arange(length)) % 30_000).astype(np.int16))


def fill(spool: Spool, seconds: float, start: int = 0) -> None:
    end = start + int(seconds * SECOND)
    for at in range(start, end, 960):
        spool.append(audio(at, min(960, end - at)))


def joined(spool: Spool, from_sample: int = 0) -> Pcm:
    return np.concatenate([np.zeros(0, np.int16), *(piece.pcm for piece in spool.read(from_sample))])


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.chunk"))


@pytest.fixture
def vault() -> FakeVault:
    return FakeVault()


@pytest.fixture(params=["disk", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path, vault: FakeVault) -> Spool:
    return Spool(tmp_path, vault, "ses", "lane", kind=request.param)


def test_what_goes_in_comes_out(spool: Spool) -> None:
    fill(spool, 3.54)
    assert spool.depth == 3
    assert np.array_equal(joined(spool), audio(0, int(3.54 * SECOND)).pcm)
    assert np.array_equal(joined(spool, 20_000), audio(20_000, int(3.54 * SECOND) - 20_000).pcm)
    spool.flush()
    assert spool.depth == 4
    assert np.array_equal(joined(spool), audio(0, int(3.54 * SECOND)).pcm)


def test_a_hole_begins_a_new_chunk(spool: Spool) -> None:
    spool.append(audio(0, 5000))
    spool.append(audio(9000, 5000))
    spool.flush()
    assert [(piece.start_sample, len(piece.pcm)) for piece in spool.read()] == [(0, 5000), (9000, 5000)]


def test_only_whole_chunks_before_the_sample_go(spool: Spool, vault: FakeVault) -> None:
    fill(spool, 4)
    assert spool.erase_through(2 * CHUNK_SAMPLES - 1) == 1
    assert spool.first_sample == CHUNK_SAMPLES
    assert vault.watermark["ses", "lane"] == 1
    assert spool.erase_through(2 * CHUNK_SAMPLES) == 1
    assert np.array_equal(joined(spool), audio(2 * CHUNK_SAMPLES, 2 * CHUNK_SAMPLES).pcm)


def test_the_tree_grows_with_every_chunk_and_keeps_the_erased_ones(spool: Spool) -> None:
    fill(spool, 3)
    before = spool.hash_tree
    spool.erase_through(10 * SECOND)
    assert spool.hash_tree == before
    assert MerkleLog.from_json(before).count == 3


def test_drop_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    fill(spool, 2.5)
    assert spool.drop() == 2
    assert spool.first_sample is None
    assert not list(spool.read())
    assert not files(tmp_path)


def test_nothing_on_disk_holds_the_sound(tmp_path: Path, vault: FakeVault) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, 2)
    needle = audio(0, 64).pcm.tobytes()
    for path in files(tmp_path):
        assert needle not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert files(tmp_path)[0].parent.stat().st_mode & 0o077 == 0


def test_a_chunk_moved_or_changed_cannot_be_opened(tmp_path: Path, vault: FakeVault) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, 3)
    first, second, _ = files(tmp_path)
    content = bytearray(second.read_bytes())
    content[100] ^= 1
    second.write_bytes(content)
    first.rename(first.with_name("00000000.5.chunk"))
    again = Spool(tmp_path, vault, "ses", "lane")
    assert [piece.start_sample for piece in again.read()] == [2 * SECOND]
    assert again.unreadable == 2


def test_after_a_kill_everything_sealed_is_there_and_numbers_go_on(tmp_path: Path, vault: FakeVault) -> None:
    killed = Spool(tmp_path, vault, "ses", "lane")
    fill(killed, 5.7)
    killed.erase_through(2 * SECOND)
    again = Spool(tmp_path, vault, "ses", "lane")
    assert np.array_equal(joined(again), audio(2 * SECOND, 3 * SECOND).pcm)
    assert again.hash_tree == killed.hash_tree
    fill(again, 1, start=10 * SECOND)
    assert MerkleLog.from_json(again.hash_tree).count == 6
    assert [path.name.split(".")[0] for path in files(tmp_path)] == ["00000002", "00000003", "00000004", "00000005"]


def test_numbers_go_on_when_everything_was_erased(tmp_path: Path, vault: FakeVault) -> None:
    killed = Spool(tmp_path, vault, "ses", "lane")
    fill(killed, 3)
    killed.erase_through(3 * SECOND)
    again = Spool(tmp_path, vault, "ses", "lane")
    fill(again, 1, start=4 * SECOND)
    assert [path.name for path in files(tmp_path)] == ["00000003.64000.chunk"]
    assert MerkleLog.from_json(again.hash_tree).count == 4


def test_memory_steps_over_used_keys(tmp_path: Path, vault: FakeVault) -> None:
    vault.advance_audio("ses", "lane", 77)
    spool = Spool(tmp_path, vault, "ses", "lane", kind="memory")
    fill(spool, 2)
    assert np.array_equal(joined(spool), audio(0, 2 * SECOND).pcm)


def test_a_torn_last_file_is_passed_over(tmp_path: Path, vault: FakeVault) -> None:
    killed = Spool(tmp_path, vault, "ses", "lane")
    fill(killed, 3)
    last = files(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:1000])
    (last.parent / "00000003.48000.chunk.tmp").write_bytes(b"half")
    again = Spool(tmp_path, vault, "ses", "lane")
    assert np.array_equal(joined(again), audio(0, 2 * SECOND).pcm)
    assert again.unreadable == 0
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_empty_last_file_is_passed_over(tmp_path: Path, vault: FakeVault) -> None:
    killed = Spool(tmp_path, vault, "ses", "lane")
    fill(killed, 2)
    files(tmp_path)[-1].write_bytes(b"")
    assert np.array_equal(joined(Spool(tmp_path, vault, "ses", "lane")), audio(0, SECOND).pcm)


def test_after_the_session_is_erased_nothing_is_kept(spool: Spool, vault: FakeVault) -> None:
    fill(spool, 2)
    vault.destroy_audio("ses")
    fill(spool, 2, start=2 * SECOND)
    assert not list(spool.read())
    assert spool.depth == 2


def test_a_full_disk_is_told_once_and_capture_goes_on(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[QuietnoteError] = []
    spool = Spool(tmp_path, vault, "ses", "lane", on_fault=faults.append)
    monkeypatch.setattr(spool_module, "MEMORY_CHUNKS", 2)
    fill(spool, 1)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "_write", full)
        fill(spool, 4, start=SECOND)
    assert [type(fault) for fault in faults] == [StorageUnavailable]
    assert spool.unspooled == 2 * SECOND
    fill(spool, 1, start=5 * SECOND)
    assert len(files(tmp_path)) == 4, "what was kept in memory is written now"
    assert [piece.start_sample // SECOND for piece in spool.read()] == [0, 1, 2, 5]
    assert spool.erase_through(10 * SECOND) == 4


def test_sweep_takes_everything_of_one_session(tmp_path: Path, vault: FakeVault) -> None:
    for session, lane in (("a", "one"), ("a", "two"), ("b", "one")):
        fill(Spool(tmp_path, vault, session, lane), 2)
    assert lanes_held(tmp_path, "a") == ["one", "two"]
    assert sweep(tmp_path, "a") == 4
    assert sweep(tmp_path, "a") == 0
    assert lanes_held(tmp_path, "a") == []
    assert len(files(tmp_path)) == 2
