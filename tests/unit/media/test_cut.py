"""A chunk is cut where words end: the sound before is gone at once, the sound behind stays, whatever happens."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot.errors import StorageUnavailable
from bot.events import CapturedAudio
from bot.media import disk as disk_module
from bot.media import spool as spool_module
from bot.media.chunks import Chunk
from bot.media.disk import Disk
from bot.media.spool import MOST_CUT, Spool
from bot.media.sweeping import settled
from bot.store.vault import KeyDestroyed
from tests.unit.media.fakes import FakeVault

SECOND = 16_000
CUT = 20_000
"""Within the second chunk."""


def audio(start: int, end: int) -> CapturedAudio:
    return CapturedAudio("lane", start, ((np.arange(start, end) * 7) % 30_000 + 1).astype(np.int16))


def fill(spool: Spool, end: int) -> None:
    for at in range(0, end, 960):
        spool.append(audio(at, min(at + 960, end)))


def held(spool: Spool) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for piece in spool.read():
        assert np.array_equal(piece.pcm, audio(piece.start_sample, piece.end_sample).pcm)
        spans[-1:] = (
            [(spans[-1][0], piece.end_sample)]
            if spans and spans[-1][1] == piece.start_sample
            else [*spans[-1:], (piece.start_sample, piece.end_sample)]
        )
    return spans


@pytest.fixture
def vault() -> FakeVault:
    return FakeVault()


def erase(spool: Spool, sample: int) -> None:
    spool.erase_through(sample)
    spool.cut(sample)


@pytest.mark.parametrize("kind", ["disk", "memory"])
@pytest.mark.parametrize("end", [CUT + 100, 2 * SECOND, 2 * SECOND + 5, 3 * SECOND + 7000])
def test_what_is_before_is_gone_and_what_is_behind_stays(tmp_path: Path, vault: FakeVault, kind: str, end: int) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane", kind=kind)
    fill(spool, end)
    erase(spool, CUT)
    assert held(spool) == [(CUT, end)]
    assert spool.first_sample == CUT
    spool.append(audio(end, end + SECOND))
    spool.flush()
    assert held(spool) == [(CUT, end + SECOND)]
    spool.erase_through(end + SECOND)
    assert spool.depth == 0
    assert not list(tmp_path.rglob("*.chunk"))


def test_it_counts_what_it_holds(tmp_path: Path, vault: FakeVault) -> None:
    disk = Disk()
    spool = Spool(tmp_path, vault, "ses", "lane", disk=disk)
    fill(spool, 3 * SECOND)
    erase(spool, CUT)
    assert disk.held("ses") == sum(path.stat().st_size for path in tmp_path.rglob("*.chunk"))
    assert spool.hash_tree["count"] == 5, "what was sealed anew is in the tree too"
    erase(spool, 3 * SECOND)
    assert disk.held("ses") == 0


def test_a_stolen_copy_of_the_old_chunk_cannot_be_opened(tmp_path: Path, vault: FakeVault) -> None:
    spool = Spool(tmp_path / "spool", vault, "ses", "lane")
    fill(spool, 3 * SECOND)
    shutil.copytree(tmp_path / "spool", tmp_path / "thief")
    erase(spool, CUT)
    shutil.rmtree(tmp_path / "spool")
    assert not list(Spool(tmp_path / "thief", vault, "ses", "lane").read())
    with pytest.raises(KeyDestroyed):
        vault.audio_key("ses", "lane", 2)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("stores", [1, 2, None])
def test_killed_on_the_way_each_sample_is_there_once(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch, stores: int | None
) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, 3 * SECOND)
    spool.erase_through(SECOND)
    with monkeypatch.context() as patched:
        store: Callable[..., None] = Spool._store
        left = [stores]

        def store_some(self: Spool, folder: Path, chunk: Chunk) -> None:
            if left[0] == 0:
                raise Killed
            left[0] = None if left[0] is None else left[0] - 1
            store(self, folder, chunk)

        def destroy(self: Spool, chunks: object) -> None:
            raise Killed

        patched.setattr(Spool, "_store", store_some)
        patched.setattr(Spool, "_destroy", destroy)
        left[0] = None if stores is None else stores - 1
        with pytest.raises(Killed):
            spool.cut(CUT)
    again = Spool(tmp_path, vault, "ses", "lane")
    assert held(again) == [(CUT if stores is None else SECOND, 3 * SECOND)]
    erase(again, CUT)
    assert held(again) == [(CUT, 3 * SECOND)]
    again.append(audio(3 * SECOND, 4 * SECOND))
    assert held(Spool(tmp_path, vault, "ses", "lane")) == [(CUT, 4 * SECOND)]
    again.erase_through(4 * SECOND)
    assert not list(tmp_path.rglob("*.chunk"))


def test_of_a_copy_that_is_torn_the_older_one_stays() -> None:
    whole, following, torn = Chunk(1, 0, 100, None), Chunk(2, 100, 100, None), Chunk(3, 50, 20, None)
    assert settled([whole, following, torn]) == ([whole, following], [torn])


def test_a_full_disk_leaves_it_as_it_was(tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, 3 * SECOND)
    before = held(spool)
    write = disk_module.write

    def full(path: Path, content: bytes) -> None:
        if f".{CUT}." in path.name:
            raise OSError(errno.ENOSPC, "full")
        write(path, content)

    monkeypatch.setattr(spool_module, "_write", full)
    spool.cut(CUT)
    assert held(spool) == before
    assert len(list(tmp_path.rglob("*.chunk"))) == 3
    spool.erase_through(3 * SECOND)
    assert not list(tmp_path.rglob("*.chunk"))


def test_a_vault_that_gives_no_key_leaves_it_as_it_was(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, 3 * SECOND)
    real = vault.audio_key

    def none(session_id: str, lane_id: str, index: int) -> bytes:
        if index > 2:
            raise StorageUnavailable("key store", "full")
        return real(session_id, lane_id, index)

    monkeypatch.setattr(vault, "audio_key", none)
    spool.cut(CUT)
    assert held(spool) == [(0, 3 * SECOND)]


def test_far_behind_nothing_is_sealed_anew(tmp_path: Path, vault: FakeVault) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, (MOST_CUT + 2) * SECOND)
    erase(spool, CUT)
    assert spool.first_sample == SECOND
    assert spool.hash_tree["count"] == MOST_CUT + 2


def test_what_is_only_in_memory_is_never_sealed_once_it_is_in_words(tmp_path: Path, vault: FakeVault) -> None:
    spool = Spool(tmp_path, vault, "ses", "lane")
    fill(spool, SECOND // 2)
    spool.cut(SECOND // 4)
    spool.flush()
    assert held(spool) == [(SECOND // 4, SECOND // 2)]
    spool.append(audio(SECOND // 2, SECOND // 2 + 100))
    spool.cut(SECOND)
    spool.flush()
    assert spool.depth == 1
