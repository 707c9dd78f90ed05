"""Keys and sealing: what makes stored words and sound readable, and what makes them unreadable for good.

Two kinds of keys lie under the vault folder, each wrapped with AES-256-GCM under the master key:

    keys/<kind>/<id>.key        one for a scope, ``words:<session_id>`` or ``clinic:<clinic_id>``
    audio/<session_id>/<lane>.key   a one-way ratchet: from its key of chunk n every later one follows, no earlier one
    gone/<kind>/<id>            a tombstone: this key is never made again

A file is never replaced. It is overwritten where it lies, synced, and only then removed, and its tombstone is there
before the first byte goes, so that a writer under way cannot make the key again. The overwriting is plain file
writing: a disk that copies on write may hold the wrapped key longer, which is worth nothing without the master key.

One FileVault may be used from any thread, and several processes of one machine may share its folder: changes are made
under a file lock, and a key held in memory is checked against its file at each use, so that a key destroyed by one
process is of no use to another.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.errors import QuietnoteError, SetupError, StorageUnavailable
from bot.settings import Settings
from bot.store.keyfiles import FolderLock, create, names_in, private_folder, read_file, unfinished, wipe
from bot.store.ratchet import FILE_BYTES, MAX_STEP, RatchetFile, Walker, chunk_key

KEY_BYTES = 32
NONCE_BYTES = 12
_WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16
ENVELOPE = b"\x01"
"""First byte of everything sealed: the form, so that another may follow."""
MASTER_KEY_FILE = "master.key"
OPEN_KEYS = 128
"""Scope keys held in memory at once, each with one file descriptor."""

_SCOPE = re.compile(r"(words|clinic):([A-Za-z0-9][A-Za-z0-9_-]{0,79})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


class KeyDestroyed(QuietnoteError):
    """The key was destroyed, or was never made here: what it sealed cannot be opened, and nothing can be sealed."""

    def __init__(self) -> None:
        super().__init__("The key was destroyed.")


class SealBroken(QuietnoteError):
    """What was to be opened is not what was sealed, or was sealed for another purpose."""

    def __init__(self) -> None:
        super().__init__("Sealed data failed its check.")


class MasterKeyUnusable(SetupError):
    """The master key is missing its form, or other people may read it."""


class Vault(Protocol):
    """Sealing and the life of keys. Methods block for a file at most and may be called from any thread."""

    def seal(self, scope: str, purpose: str, plaintext: bytes) -> bytes:
        """Seal under the scope's key, which is made at the first seal. Raises KeyDestroyed."""
        ...

    def unseal(self, scope: str, purpose: str, sealed: bytes) -> bytes:
        """Open what was sealed for the same scope and purpose. Raises KeyDestroyed, SealBroken."""
        ...

    def destroy(self, scope: str) -> bool:
        """Destroy the scope's key for good; False when it was gone already."""
        ...

    def audio_key(self, session_id: str, lane_id: str, index: int) -> bytes:
        """The 32-byte key of one chunk. Raises KeyDestroyed below the lane's watermark and after destruction."""
        ...

    def advance_audio(self, session_id: str, lane_id: str, index: int) -> None:
        """Raise the lane's watermark: keys below ``index`` can never be derived again."""
        ...

    def destroy_audio(self, session_id: str) -> int:
        """Destroy all audio keys of a session for good; how many lanes still had one."""
        ...

    def audio_lanes(self, session_id: str) -> list[str]:
        """Lanes of the session that have an audio key."""
        ...


class _OpenKey:
    """A scope's key in memory, with a handle on its file to see that it still stands."""

    __slots__ = ("_fd", "_wrapped", "cipher")

    def __init__(self, fd: int, wrapped: bytes, key: bytes) -> None:
        self._fd = fd
        self._wrapped = wrapped
        self.cipher = AESGCM(key)

    def stands(self) -> bool:
        # a few bytes of a cached page: no wait for the disk
        return os.pread(self._fd, _WRAPPED_BYTES, 0) == self._wrapped

    def __del__(self) -> None:
        os.close(self._fd)


class FileVault(Vault):
    """The vault in a folder."""

    def __init__(self, folder: Path, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise MasterKeyUnusable("the master key must have 32 bytes")
        self._folder = folder
        self._wrap = AESGCM(master_key)
        self._lock = threading.RLock()
        self._open: dict[str, _OpenKey] = {}
        self._walkers: dict[tuple[str, str], tuple[bytes, Walker]] = {}
        with _as_storage_fault():
            for part in ("keys/words", "keys/clinic", "audio", "gone/words", "gone/clinic", "gone/audio"):
                private_folder(folder / part)
            self._changes = FolderLock(folder / "lock")

    # -- sealing -------------------------------------------------------------------------------------------------------

    def seal(self, scope: str, purpose: str, plaintext: bytes) -> bytes:
        """Seal; the first seal of a scope writes its key file."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return ENVELOPE + nonce + self._key(scope, make=True).encrypt(nonce, plaintext, _bound(scope, purpose))

    def unseal(self, scope: str, purpose: str, sealed: bytes) -> bytes:
        """Open; the envelope's first byte tells its form."""
        key = self._key(scope, make=False)
        if sealed[:1] != ENVELOPE:
            raise SealBroken
        try:
            return key.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], _bound(scope, purpose))
        except (InvalidTag, ValueError):
            raise SealBroken from None

    def destroy(self, scope: str) -> bool:
        """Destroy, on disk and in memory. Raises StorageUnavailable when no tombstone could be written; try again."""
        path, tombstone = self._paths(scope)
        with _as_storage_fault(), self._lock, self._changes:
            self._open.pop(scope, None)
            return self._bury([path, unfinished(path)], tombstone) > 0

    def _key(self, scope: str, *, make: bool) -> AESGCM:
        held = self._open.get(scope)
        if held is not None and held.stands():
            return held.cipher
        path, tombstone = self._paths(scope)
        with _as_storage_fault(), self._lock:
            self._open.pop(scope, None)
            held = self._load(scope, path)
            if held is None and make:
                with self._changes:
                    if tombstone.exists():
                        raise KeyDestroyed
                    if not path.exists():
                        nonce, key = secrets.token_bytes(NONCE_BYTES), secrets.token_bytes(KEY_BYTES)
                        create(path, nonce + self._wrap.encrypt(nonce, key, scope.encode()))
                held = self._load(scope, path)
            if held is None:
                raise KeyDestroyed
            while len(self._open) >= OPEN_KEYS:
                self._open.pop(next(iter(self._open)))
            self._open[scope] = held
            return held.cipher

    def _load(self, scope: str, path: Path) -> _OpenKey | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            wrapped = os.pread(fd, _WRAPPED_BYTES, 0)
            if not any(wrapped):  # overwritten, not yet removed
                raise KeyDestroyed
            key = self._wrap.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], scope.encode())
        except (InvalidTag, ValueError):
            os.close(fd)
            raise StorageUnavailable("key store", "damaged") from None
        except BaseException:
            os.close(fd)
            raise
        return _OpenKey(fd, wrapped, key)

    def _paths(self, scope: str) -> tuple[Path, Path]:
        parts = _SCOPE.fullmatch(scope)
        if parts is None:
            raise ValueError("not a scope: words:<id> or clinic:<id>")
        kind, name = parts.groups()
        return self._folder / "keys" / kind / f"{name}.key", self._folder / "gone" / kind / name

    def _bury(self, paths: list[Path], tombstone: Path) -> int:
        """Tombstone, overwrite, remove. On a full disk the keys still go, and the tombstone's fault is raised."""
        fault: OSError | None = None
        try:
            if not tombstone.exists():
                create(tombstone, b"")
        except OSError as error:
            fault = error
        found = [path for path in paths if wipe(path, remove=fault is None)]
        if fault is not None:
            raise fault
        return sum(path.suffix == ".key" for path in found)

    # -- audio ---------------------------------------------------------------------------------------------------------

    def audio_key(self, session_id: str, lane_id: str, index: int) -> bytes:
        """The chunk's key; the first one of a lane writes its ratchet file."""
        path = self._lane_path(session_id, lane_id)
        with _as_storage_fault(), self._lock:
            walker = self._walker(session_id, lane_id, path)
            if walker is None:
                self._new_lane(session_id, lane_id, path, index=0)
                walker = self._walker(session_id, lane_id, path)
            if walker is None or index < walker.index:
                raise KeyDestroyed
            return chunk_key(walker.chain_at(index))

    def advance_audio(self, session_id: str, lane_id: str, index: int) -> None:
        """Turn the ratchet on; nothing to do once the session's keys are destroyed."""
        path = self._lane_path(session_id, lane_id)
        with _as_storage_fault(), self._lock, self._changes:
            if self._tombstone_of(session_id).exists():
                return
            content = read_file(path)
            if content is None:
                self._new_lane(session_id, lane_id, path, index=index)
                return
            ratchet = self._ratchet(session_id, lane_id)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                ratchet.settle(fd, content)
                content = os.pread(fd, FILE_BYTES, 0)
                walker = self._walker(session_id, lane_id, path)
                if walker is not None and index > walker.index:
                    ratchet.step(fd, content, index, walker.chain_at(index))
            finally:
                os.close(fd)
            self._walker(session_id, lane_id, path)  # forget the older chain key in memory too

    def destroy_audio(self, session_id: str) -> int:
        """Destroy every lane's ratchet; raises as :meth:`destroy` does."""
        tombstone = self._tombstone_of(session_id)
        folder = self._folder / "audio" / session_id
        with _as_storage_fault(), self._lock, self._changes:
            for held in [key for key in self._walkers if key[0] == session_id]:
                del self._walkers[held]
            count = self._bury([folder / name for name in names_in(folder)], tombstone)
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            return count

    def audio_lanes(self, session_id: str) -> list[str]:
        """Lanes with a ratchet file."""
        _check_name(session_id)
        with _as_storage_fault():
            names = names_in(self._folder / "audio" / session_id)
        return sorted(name.removesuffix(".key") for name in names if name.endswith(".key"))

    def _walker(self, session_id: str, lane_id: str, path: Path) -> Walker | None:
        """The lane's ratchet as its file has it now; None while there is no file."""
        content = read_file(path)
        if content is None:
            self._walkers.pop((session_id, lane_id), None)
            return None
        known = self._walkers.get((session_id, lane_id))
        if known is not None and known[0] == content:
            return known[1]
        if not any(content):  # overwritten, not yet removed
            raise KeyDestroyed
        found = self._ratchet(session_id, lane_id).read(content)
        if found is None:
            raise StorageUnavailable("key store", "damaged")
        walker = Walker(*found)
        if known is not None and walker.index <= known[1].head_index:
            walker.head_index, walker.head_chain = known[1].head_index, known[1].head_chain
        self._walkers[session_id, lane_id] = (content, walker)
        return walker

    def _new_lane(self, session_id: str, lane_id: str, path: Path, *, index: int) -> None:
        with self._changes:
            if self._tombstone_of(session_id).exists():
                raise KeyDestroyed
            if not 0 <= index <= MAX_STEP:
                raise ValueError("not the index of a chunk")
            private_folder(path.parent)
            if not path.exists():
                create(path, self._ratchet(session_id, lane_id).new(index, secrets.token_bytes(KEY_BYTES)))

    def _ratchet(self, session_id: str, lane_id: str) -> RatchetFile:
        return RatchetFile(self._wrap, f"audio:{session_id}:{lane_id}:".encode())

    def _lane_path(self, session_id: str, lane_id: str) -> Path:
        _check_name(session_id, lane_id)
        return self._folder / "audio" / session_id / f"{lane_id}.key"

    def _tombstone_of(self, session_id: str) -> Path:
        _check_name(session_id)
        return self._folder / "gone" / "audio" / session_id


def load_master_key(settings: Settings) -> bytes:
    """The key that wraps all others: from the settings, or from a file of mode 600 that is made at the first start.

    Raises :class:`MasterKeyUnusable`, or StorageUnavailable when the file cannot be made.
    """
    if settings.master_key:
        return _decoded(settings.master_key, "QUIETNOTE_MASTER_KEY")
    path = settings.data_dir / "vault" / MASTER_KEY_FILE
    with _as_storage_fault():
        private_folder(path.parent)
        with FolderLock(path.parent / "lock"):
            if not path.exists():
                create(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        if path.stat().st_mode & 0o077:
            raise MasterKeyUnusable(f"other users may read {path}; run: chmod 600 {path}")
        text = path.read_text("ascii", errors="replace")
    return _decoded(text, str(path))


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise MasterKeyUnusable(f"{where} must hold 32 bytes in base64")
    return key


def _bound(scope: str, purpose: str) -> bytes:
    return f"quietnote:{scope}:{purpose}".encode()


def _check_name(*names: str) -> None:
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise ValueError("not an id that may name a key file")


@contextlib.contextmanager
def _as_storage_fault() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable.of("key store", error) from None
