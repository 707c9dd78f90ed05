from __future__ import annotations

import base64
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.errors import StorageUnavailable
from bot.settings import Settings
from bot.store import keyfiles, ratchet
from bot.store.vault import FileVault, KeyDestroyed, MasterKeyUnusable, SealBroken, load_master_key

from .conftest import MASTER

WORDS = "words:ses_1"


def every_byte(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


@given(plaintext=st.binary(max_size=300), purpose=st.text(max_size=20))
@hypothesis_settings(max_examples=40, deadline=None)
def test_what_is_sealed_opens_again(tmp_path_factory: pytest.TempPathFactory, plaintext: bytes, purpose: str) -> None:
    vault = FileVault(tmp_path_factory.getbasetemp() / "shared-vault", MASTER)
    sealed = vault.seal("clinic:harbour", purpose, plaintext)
    assert vault.unseal("clinic:harbour", purpose, sealed) == plaintext
    assert len(plaintext) < 8 or plaintext not in sealed


def test_purpose_scope_and_every_byte_are_bound(vault: FileVault) -> None:
    sealed = vault.seal(WORDS, "segment:1", b"I slept badly.")
    vault.seal("words:ses_2", "segment:1", b"")
    with pytest.raises(SealBroken):
        vault.unseal(WORDS, "segment:2", sealed)
    with pytest.raises(SealBroken):
        vault.unseal("words:ses_2", "segment:1", sealed)
    for at in range(len(sealed)):
        with pytest.raises(SealBroken):
            vault.unseal(WORDS, "segment:1", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    for cut in (b"", sealed[:1], sealed[:13], sealed[:-1]):
        with pytest.raises(SealBroken):
            vault.unseal(WORDS, "segment:1", cut)


def test_keys_outlive_the_process(vault: FileVault, tmp_path: Path) -> None:
    sealed, chunk = vault.seal(WORDS, "p", b"still here"), vault.audio_key("ses_1", "lan_1", 7)
    again = FileVault(tmp_path / "data" / "vault", MASTER)
    assert again.unseal(WORDS, "p", sealed) == b"still here"
    assert again.audio_key("ses_1", "lan_1", 7) == chunk


def test_a_destroyed_key_is_gone_everywhere_and_is_never_made_again(vault: FileVault, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "vault"
    sealed = vault.seal(WORDS, "p", b"gone")
    key_file = folder / "keys" / "words" / "ses_1.key"
    wrapped = key_file.read_bytes()
    elsewhere = FileVault(folder, MASTER)
    assert elsewhere.unseal(WORDS, "p", sealed) == b"gone"  # now held in the other vault's memory too

    assert vault.destroy(WORDS) is True
    assert vault.destroy(WORDS) is False
    for some in (vault, elsewhere, FileVault(folder, MASTER)):
        with pytest.raises(KeyDestroyed):
            some.unseal(WORDS, "p", sealed)
        with pytest.raises(KeyDestroyed):
            some.seal(WORDS, "p", b"a writer under way")
    assert not key_file.exists()
    assert wrapped[:28] not in every_byte(folder)
    assert vault.unseal("clinic:harbour", "p", vault.seal("clinic:harbour", "p", b"others stay")) == b"others stay"


def test_a_key_that_was_never_made_can_be_forbidden(vault: FileVault) -> None:
    assert vault.destroy(WORDS) is False
    with pytest.raises(KeyDestroyed):
        vault.seal(WORDS, "p", b"too late")


def test_the_key_file_is_overwritten_where_it_lies_before_it_goes(vault: FileVault, tmp_path: Path) -> None:
    vault.seal(WORDS, "p", b"x")
    key_file = tmp_path / "data" / "vault" / "keys" / "words" / "ses_1.key"
    another_name = tmp_path / "hard-link"  # what a forensic reader of the same blocks sees
    another_name.hardlink_to(key_file)
    assert any(another_name.read_bytes())
    vault.destroy(WORDS)
    assert set(another_name.read_bytes()) == {0}


def test_a_full_disk_does_not_keep_a_key_alive(
    vault: FileVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = vault.seal(WORDS, "p", b"x")
    vault.audio_key("ses_1", "lan_1", 0)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("bot.store.vault.create", full)
        attempts: list[Callable[[], object]] = [lambda: vault.destroy(WORDS), lambda: vault.destroy_audio("ses_1")]
        for destroy in attempts:
            with pytest.raises(StorageUnavailable) as caught:
                destroy()
            assert caught.value.cause == "full"
        with pytest.raises(KeyDestroyed):
            vault.unseal(WORDS, "p", sealed)
        with pytest.raises(KeyDestroyed):
            vault.audio_key("ses_1", "lan_1", 0)
    assert vault.destroy(WORDS) is True  # tried again: the tombstone is written, the file removed
    assert vault.destroy_audio("ses_1") == 1
    with pytest.raises(KeyDestroyed):
        vault.seal(WORDS, "p", b"x")


def test_another_master_key_opens_nothing(vault: FileVault, tmp_path: Path) -> None:
    sealed = vault.seal(WORDS, "p", b"x")
    vault.audio_key("ses_1", "lan_1", 0)
    stranger = FileVault(tmp_path / "data" / "vault", bytes(32))
    with pytest.raises(StorageUnavailable, match="damaged"):
        stranger.unseal(WORDS, "p", sealed)
    with pytest.raises(StorageUnavailable, match="damaged"):
        stranger.audio_key("ses_1", "lan_1", 0)


@pytest.mark.parametrize("scope", ["words:../clinic", "words:", "audio:x", "words:a/b", "words:.x", "x"])
def test_a_scope_cannot_leave_the_folder(vault: FileVault, scope: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        vault.seal(scope, "p", b"")
    with pytest.raises(ValueError, match="id"):
        vault.audio_key("../ses", "lan_1", 0)


def test_key_files_are_private(vault: FileVault, tmp_path: Path) -> None:
    vault.seal(WORDS, "p", b"x")
    vault.audio_key("ses_1", "lan_1", 0)
    for path in (tmp_path / "data" / "vault").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path.name


# -- the ratchet ------------------------------------------------------------------------------------------------------


def test_every_chunk_has_its_own_key_and_always_the_same(vault: FileVault) -> None:
    keys = [vault.audio_key("ses_1", "lan_1", n) for n in range(50)]
    assert len(set(keys)) == 50
    assert all(len(key) == 32 for key in keys)
    assert [vault.audio_key("ses_1", "lan_1", n) for n in reversed(range(50))] == list(reversed(keys))
    assert vault.audio_key("ses_1", "lan_2", 0) != keys[0]
    assert vault.audio_key("ses_2", "lan_1", 0) != keys[0]


def test_below_the_watermark_nothing_on_disk_or_in_memory_leads_to_a_key(vault: FileVault, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "vault"
    keys = [vault.audio_key("ses_1", "lan_1", n) for n in range(12)]
    vault.advance_audio("ses_1", "lan_1", 10)
    for some in (vault, FileVault(folder, MASTER)):
        for n in range(10):
            with pytest.raises(KeyDestroyed):
                some.audio_key("ses_1", "lan_1", n)
        assert [some.audio_key("ses_1", "lan_1", n) for n in (10, 11)] == keys[10:]
    # whoever has every file and the master key can walk forward only
    content = (folder / "audio" / "ses_1" / "lan_1.key").read_bytes()
    file = vault._ratchet("ses_1", "lan_1")
    slots = [slot for n in (0, 1) if (slot := file._open(content, n)) is not None]
    assert [index for index, _ in slots] == [10]
    chain, reachable = slots[0][1], set()
    for _ in range(1000):
        reachable.add(ratchet.chunk_key(chain))
        chain = ratchet.next_chain(chain)
    assert reachable.isdisjoint(keys[:10])
    assert keys[10] in reachable
    (held,) = (walker for _, walker in vault._walkers.values())
    assert held.index == 10
    assert held.head_index >= 10


def test_the_watermark_only_rises(vault: FileVault) -> None:
    vault.advance_audio("ses_1", "lan_1", 5)  # before the lane had any chunk
    with pytest.raises(KeyDestroyed):
        vault.audio_key("ses_1", "lan_1", 4)
    key = vault.audio_key("ses_1", "lan_1", 5)
    vault.advance_audio("ses_1", "lan_1", 3)
    vault.advance_audio("ses_1", "lan_1", 5)
    assert vault.audio_key("ses_1", "lan_1", 5) == key


def test_the_old_chain_key_is_overwritten_where_it_lay(vault: FileVault, tmp_path: Path) -> None:
    path = tmp_path / "data" / "vault" / "audio" / "ses_1" / "lan_1.key"
    vault.audio_key("ses_1", "lan_1", 0)
    before, inode = path.read_bytes(), path.stat().st_ino
    for index in (1, 2, 3):
        vault.advance_audio("ses_1", "lan_1", index)
        after = path.read_bytes()
        assert path.stat().st_ino == inode
        assert len(after) == ratchet.FILE_BYTES
        slots = [before[i : i + 68] for i in (0, 512) if any(before[i : i + 68])]
        assert len(slots) == 1
        assert slots[0] not in after
        before = after


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3])
def test_a_step_interrupted_anywhere_is_finished_by_the_next(
    vault: FileVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    keys = [vault.audio_key("ses_1", "lan_1", n) for n in range(10)]
    calls = 0

    def power_cut(real: object) -> object:
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls > stop_at:
                raise OSError(errno.EIO, "power cut")
            return real(*args)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", power_cut(os.pwrite))
        patch.setattr(os, "fsync", power_cut(os.fsync))
        with pytest.raises(StorageUnavailable):
            vault.advance_audio("ses_1", "lan_1", 4)
    again = FileVault(tmp_path / "data" / "vault", MASTER)
    assert again.audio_key("ses_1", "lan_1", 9) == keys[9]  # nothing that is still needed was lost
    again.advance_audio("ses_1", "lan_1", 4)
    content = (tmp_path / "data" / "vault" / "audio" / "ses_1" / "lan_1.key").read_bytes()
    file = again._ratchet("ses_1", "lan_1")
    assert [s[0] for n in (0, 1) if (s := file._open(content, n))] == [4]
    with pytest.raises(KeyDestroyed):
        again.audio_key("ses_1", "lan_1", 3)
    assert again.audio_key("ses_1", "lan_1", 4) == keys[4]


def test_destroyed_audio_stays_destroyed(vault: FileVault, tmp_path: Path) -> None:
    for lane in ("lan_1", "lan_2"):
        vault.audio_key("ses_1", lane, 0)
    vault.audio_key("ses_2", "lan_3", 0)
    assert vault.audio_lanes("ses_1") == ["lan_1", "lan_2"]
    assert vault.destroy_audio("ses_1") == 2
    assert vault.destroy_audio("ses_1") == 0
    assert vault.audio_lanes("ses_1") == []
    for some in (vault, FileVault(tmp_path / "data" / "vault", MASTER)):
        with pytest.raises(KeyDestroyed):
            some.audio_key("ses_1", "lan_1", 5)
        with pytest.raises(KeyDestroyed):
            some.audio_key("ses_1", "lan_9", 0)  # not even a new lane
        some.advance_audio("ses_1", "lan_1", 9)  # nothing is left to do, and nothing is made
    assert vault.audio_lanes("ses_1") == []
    assert vault.audio_key("ses_2", "lan_3", 0)


def test_threads_racing_a_destruction_end_with_no_key(vault: FileVault, tmp_path: Path) -> None:
    ready = threading.Barrier(5)
    after: list[bytes] = []
    gone = threading.Event()

    def write(number: int) -> None:
        ready.wait(timeout=10)
        for n in range(200):
            was_gone = gone.is_set()
            try:
                sealed = vault.seal(WORDS, str(n), b"x")
                vault.audio_key("ses_1", f"lan_{number}", n)
                vault.advance_audio("ses_1", f"lan_{number}", n)
            except KeyDestroyed:
                return
            if was_gone:
                after.append(sealed)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    ready.wait(timeout=10)
    vault.destroy(WORDS)
    vault.destroy_audio("ses_1")
    gone.set()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert after == []
    folder = tmp_path / "data" / "vault"
    assert keyfiles.names_in(folder / "keys" / "words") == []
    assert keyfiles.names_in(folder / "audio") == []


def test_many_scopes_do_not_hold_many_files_open(vault: FileVault) -> None:
    sealed = [vault.seal(f"words:ses_{n}", "p", b"%d" % n) for n in range(200)]
    assert len(vault._open) <= 128
    assert len(list(Path("/proc/self/fd").iterdir())) < 200
    assert [vault.unseal(f"words:ses_{n}", "p", s) for n, s in enumerate(sealed)] == [b"%d" % n for n in range(200)]


# -- the master key ---------------------------------------------------------------------------------------------------


def test_the_master_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    key = load_master_key(settings)
    path = tmp_path / "vault" / "master.key"
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(settings) == key
    path.chmod(0o640)
    with pytest.raises(MasterKeyUnusable, match="chmod 600"):
        load_master_key(settings)


def test_the_master_key_may_come_from_the_environment(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, master_key=base64.b64encode(MASTER).decode())
    assert load_master_key(settings) == MASTER
    assert not (tmp_path / "vault").exists()
    for wrong in ("short", base64.b64encode(b"x" * 31).decode(), "!" * 44):
        with pytest.raises(MasterKeyUnusable) as caught:
            load_master_key(Settings(data_dir=tmp_path, master_key=wrong))
        assert wrong not in str(caught.value)
