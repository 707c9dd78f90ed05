"""What sealed sound may take of a disk, and what happens at the bound."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bot.errors import QuietnoteError, StorageUnavailable
from bot.media import spool as spool_module
from bot.media.chunks import Chunk
from bot.media.disk import Disk
from bot.media.spool import CROWDED, ROOMY, Spool
from tests.unit.media.fakes import FakeVault
from tests.unit.media.test_spool import SECOND, files, fill, joined

CHUNK = Chunk(0, 0, SECOND, None).size


def test_a_session_holds_no_more_than_its_part(tmp_path: Path) -> None:
    disk = Disk(session_bytes=2 * CHUNK)
    disk.take("a", 2 * CHUNK, tmp_path)
    with pytest.raises(OSError, match="part") as refused:
        disk.take("a", 1, tmp_path)
    assert refused.value.errno == errno.EDQUOT
    disk.take("b", CHUNK, tmp_path)
    disk.give("a", CHUNK)
    disk.take("a", CHUNK, tmp_path)
    assert (disk.held("a"), disk.held("b")) == (2 * CHUNK, CHUNK)
    disk.forget("a")
    assert disk.held("a") == 0


def test_the_last_of_a_disk_is_left_to_everything_else(tmp_path: Path) -> None:
    Disk(reserve_bytes=1).take("a", 1, tmp_path)
    with pytest.raises(OSError, match="reserve"):
        Disk(reserve_bytes=1 << 60).take("a", 1, tmp_path)


def test_lanes_of_a_session_share_its_part_and_what_is_over_it_waits_in_memory(tmp_path: Path) -> None:
    vault, disk = FakeVault(), Disk(session_bytes=3 * CHUNK)
    faults: list[QuietnoteError] = []
    one, two = (Spool(tmp_path, vault, "ses", name, disk=disk, on_fault=faults.append) for name in ("one", "two"))
    fill(one, 2)
    fill(two, 3)
    assert len(files(tmp_path)) == 3
    assert [type(fault) for fault in faults] == [StorageUnavailable]
    assert (two.depth, two.unspooled, two.at_risk_from) == (3, 0, SECOND)
    assert len(joined(two)) == 3 * SECOND
    assert two.only_in_memory(0, 2 * SECOND)
    assert not two.only_in_memory(0, SECOND)
    one.erase_through(2 * SECOND)
    assert two.relieve()
    assert (len(files(tmp_path)), two.at_risk_from) == (3, None)
    assert len(joined(Spool(tmp_path, vault, "ses", "two", disk=Disk()))) == 3 * SECOND


def test_what_an_earlier_process_left_counts(tmp_path: Path) -> None:
    vault = FakeVault()
    fill(Spool(tmp_path, vault, "ses", "lane"), 3)
    disk = Disk(session_bytes=3 * CHUNK)
    again = Spool(tmp_path, vault, "ses", "lane", disk=disk)
    assert disk.held("ses") == 3 * CHUNK
    fill(again, 1, start=4 * SECOND)
    assert (len(files(tmp_path)), again.depth) == (3, 4)
    again.erase_through(10 * SECOND)
    assert disk.held("ses") == 0


def test_pressure_tells_when_to_pause_and_when_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_CHUNKS", 10)
    spool = Spool(tmp_path, FakeVault(), "ses", "lane", kind="memory")
    fill(spool, 8)
    assert spool.pressure < CROWDED
    fill(spool, 1, start=8 * SECOND)
    assert spool.pressure >= CROWDED
    assert spool.unspooled == 0
    spool.erase_through(4 * SECOND)
    assert spool.pressure <= ROOMY


def test_sound_without_a_key_waits_for_one(tmp_path: Path) -> None:
    vault = FakeVault()
    spool = Spool(tmp_path, vault, "ses", "lane")

    def full(session_id: str, lane_id: str, index: int) -> bytes:
        raise StorageUnavailable("key store", "full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault, "audio_key", full)
        fill(spool, 3)
        assert (spool.depth, spool.unspooled, spool.first_sample, spool.at_risk_from) == (3, 0, 0, 0)
        assert not files(tmp_path)
    assert spool.relieve()
    assert len(files(tmp_path)) == 3
    assert len(joined(Spool(tmp_path, vault, "ses", "lane"))) == 3 * SECOND


def test_a_torn_chunk_is_named_and_an_erased_one_is_not(tmp_path: Path) -> None:
    vault = FakeVault()
    fill(Spool(tmp_path, vault, "ses", "lane"), 4)
    vault.advance_audio("ses", "lane", 1)  # killed between the ratchet and the file
    files(tmp_path)[2].write_bytes(files(tmp_path)[2].read_bytes()[:500])  # the power failed
    again = Spool(tmp_path, vault, "ses", "lane")
    assert [audio.start_sample for audio in again.read()] == [SECOND, 3 * SECOND]
    assert [start for start, _ in again.torn] == [2 * SECOND]
