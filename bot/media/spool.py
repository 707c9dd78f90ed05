"""Captured audio on its way to words: sealed chunks of about a second, erased as the words are committed.

A lane's chunks lie in ``<folder>/<session>/<lane>/``, each sealed with AES-256-GCM under a key of its own from the
vault's one-way ratchet, bound to session, lane, index and first sample. Erasing is: record the chunks' hashes, turn the
ratchet past them, remove the files. A process that is killed loses at most the chunk it was filling; what the operating
system has not written yet when the power fails is lost too, because chunks are not waited for (keys are).
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.errors import QuietnoteError, StorageUnavailable
from bot.events import SAMPLE_RATE_HZ, CapturedAudio, Pcm
from bot.store.receipts import MerkleLog
from bot.store.vault import KeyDestroyed, Vault

log = structlog.get_logger()

CHUNK_SAMPLES = SAMPLE_RATE_HZ
MEMORY_CHUNKS = 600
"""Chunks a lane keeps in memory at most (ten minutes, 19 MB): where it is spooled in memory, or the disk is full."""
TAKEN_BACK = 8
"""Chunks written at once after the disk has room again, so that the media thread is not held up."""
FORM = b"\x01"
"""First byte of a sealed chunk: AES-256-GCM, 12-byte nonce, s16 samples in native little-endian order."""
NONCE_BYTES = 12
TAG_BYTES = 16
SUFFIX = ".chunk"
TREE_FILE = "tree.json"


@dataclass(frozen=True, slots=True)
class _Chunk:
    index: int
    start: int
    samples: int
    sealed: bytes | None
    """The sealed bytes when they are in memory, None when they are in a file."""

    @property
    def end(self) -> int:
        return self.start + self.samples

    @property
    def name(self) -> str:
        return f"{self.index:08d}.{self.start}{SUFFIX}"


class Spool:
    """One lane's spool. All but :attr:`hash_tree` belongs to the media thread.

    Overload policy: a chunk that cannot be written stays in memory until it can be, up to :data:`MEMORY_CHUNKS`; beyond
    that it is not spooled (its sound still goes to recognition) and counted in ``unspooled``. ``on_fault`` is told
    once, with :class:`StorageUnavailable`, and again after the disk has worked in between.
    """

    def __init__(
        self,
        folder: Path,
        vault: Vault,
        session_id: str,
        lane_id: str,
        *,
        kind: str = "disk",
        hash_tree: Mapping[str, Any] | None = None,
        on_fault: Callable[[QuietnoteError], None] | None = None,
    ) -> None:
        """Open the lane's spool, with whatever an earlier process left in it."""
        self._vault = vault
        self._session_id, self._lane_id = session_id, lane_id
        self._folder = folder / session_id / lane_id if kind == "disk" else None
        self.on_fault = on_fault
        self._chunks: deque[_Chunk] = deque()
        self._parts: list[Pcm] = []
        self._part_start = 0
        self._part_samples = 0
        self._tree = MerkleLog.from_json(hash_tree or {})
        self._next = self._tree.count
        self._faulty = False
        self._ended = False
        self.unspooled = 0
        """Samples that could not be kept."""
        self.unreadable = 0
        """Chunks that could not be opened when they were read; a torn last one is not counted."""
        if self._folder is not None:
            self._open_folder(self._folder)

    # -- what is held --------------------------------------------------------------------------------------------------

    @property
    def hash_tree(self) -> dict[str, Any]:
        """The tree over all chunks sealed so far, as stored with the lane."""
        return self._tree.to_json()

    @property
    def depth(self) -> int:
        """Chunks held."""
        return len(self._chunks)

    @property
    def first_sample(self) -> int | None:
        """The first sample held, sealed or not; None: nothing is."""
        if self._chunks:
            return self._chunks[0].start
        return self._part_start if self._part_samples else None

    # -- in ------------------------------------------------------------------------------------------------------------

    def append(self, audio: CapturedAudio) -> None:
        """Take captured samples; a chunk is sealed when it is full or the next samples do not follow on."""
        if self._part_samples and audio.start_sample != self._part_start + self._part_samples:
            self.flush()
        pcm, start = audio.pcm, audio.start_sample
        while len(pcm) and not self._ended:
            if not self._part_samples:
                self._part_start = start
            piece = pcm[: CHUNK_SAMPLES - self._part_samples]
            self._parts.append(piece)
            self._part_samples += len(piece)
            pcm, start = pcm[len(piece) :], start + len(piece)
            if self._part_samples == CHUNK_SAMPLES:
                self.flush()

    def flush(self) -> None:
        """Seal what is there."""
        if not self._part_samples:
            return
        pcm, start = np.concatenate(self._parts), self._part_start
        self._clear_part()
        try:
            chunk = self._sealed(pcm, start)
        except KeyDestroyed:
            self._ended = True  # the session's audio was destroyed: nothing may be kept any more
            log.warning("spool_key_destroyed", session_id=self._session_id, lane_id=self._lane_id)
            return
        except StorageUnavailable as error:
            self._fault(error)
            self.unspooled += len(pcm)
            return
        assert chunk.sealed is not None
        self._tree = self._tree.append(chunk.sealed)
        self._next = chunk.index + 1
        self._keep(chunk)

    def _sealed(self, pcm: Pcm, start: int) -> _Chunk:
        index, key = self._free_key()
        nonce = os.urandom(NONCE_BYTES)
        data = self._associated_data(index, start)
        sealed = FORM + nonce + AESGCM(key).encrypt(nonce, pcm.astype("<i2").tobytes(), data)
        return _Chunk(index, start, len(pcm), sealed)

    def _free_key(self) -> tuple[int, bytes]:
        """The next index whose key still exists: an earlier process that spooled in memory left no count."""
        index, step = self._next, 1
        while True:
            try:
                return index, self._vault.audio_key(self._session_id, self._lane_id, index)
            except KeyDestroyed:
                index, step = index + step, step * 2
                if step > 1 << 16:
                    raise

    def _keep(self, chunk: _Chunk) -> None:
        if self._folder is not None and chunk.sealed is not None:
            try:
                _write(self._folder / chunk.name, chunk.sealed)
            except OSError as error:
                self._fault(StorageUnavailable.of("spool", error))
            else:
                self._faulty = False
                self._chunks.append(_Chunk(chunk.index, chunk.start, chunk.samples, None))
                self._take_back(self._folder)
                return
        if sum(1 for held in self._chunks if held.sealed is not None) >= MEMORY_CHUNKS:
            self.unspooled += chunk.samples
            return
        self._chunks.append(chunk)

    def _take_back(self, folder: Path) -> None:
        """The disk has room again: write what had to stay in memory, oldest first."""
        waiting = [number for number, chunk in enumerate(self._chunks) if chunk.sealed is not None]
        for number in waiting[:TAKEN_BACK]:
            chunk = self._chunks[number]
            assert chunk.sealed is not None
            try:
                _write(folder / chunk.name, chunk.sealed)
            except OSError as error:
                self._fault(StorageUnavailable.of("spool", error))
                return
            self._chunks[number] = _Chunk(chunk.index, chunk.start, chunk.samples, None)

    def _fault(self, error: QuietnoteError) -> None:
        if self._faulty:
            return
        self._faulty = True
        log.error("spool_fault", session_id=self._session_id, lane_id=self._lane_id, error=type(error).__name__)
        if self.on_fault is not None:
            self.on_fault(error)

    # -- out -----------------------------------------------------------------------------------------------------------

    def read(self, from_sample: int = 0) -> Iterator[CapturedAudio]:
        """What is held from a sample on, in order, opened. A torn last chunk is passed over."""
        for chunk in list(self._chunks):
            if chunk.end <= from_sample:
                continue
            pcm = self._opened(chunk)
            if pcm is None:
                if chunk is not self._chunks[-1]:
                    self.unreadable += 1
                    log.warning("spool_chunk_unreadable", session_id=self._session_id, lane_id=self._lane_id)
                continue
            skip = max(0, from_sample - chunk.start)
            yield CapturedAudio(self._lane_id, chunk.start + skip, pcm[skip:])
        if self._part_samples and self._part_start + self._part_samples > from_sample:
            skip = max(0, from_sample - self._part_start)
            yield CapturedAudio(self._lane_id, self._part_start + skip, np.concatenate(self._parts)[skip:])

    def erase_through(self, sample: int) -> int:
        """Destroy every chunk that ends at or before ``sample``; how many those were."""
        going: list[_Chunk] = []
        while self._chunks and self._chunks[0].end <= sample:
            going.append(self._chunks.popleft())
        if going:
            self._destroy(going)
        return len(going)

    def drop(self) -> int:
        """Destroy everything, the part that is being filled too."""
        self._clear_part()
        going, self._chunks = list(self._chunks), deque()
        if going:
            self._destroy(going)
        return len(going)

    def _destroy(self, chunks: list[_Chunk]) -> None:
        """Record, turn the ratchet, remove. A full disk stops none of the steps after it; the next erasure turns the
        ratchet past these keys too.
        """
        try:
            if self._folder is not None:
                _write(self._folder / TREE_FILE, json.dumps(self.hash_tree | {"next": self._next}).encode())
        except OSError as error:
            self._fault(StorageUnavailable.of("spool", error))
        try:
            self._vault.advance_audio(self._session_id, self._lane_id, chunks[-1].index + 1)
        except StorageUnavailable as error:
            self._fault(error)
        if self._folder is not None:
            for chunk in chunks:
                if chunk.sealed is None:
                    (self._folder / chunk.name).unlink(missing_ok=True)

    def _opened(self, chunk: _Chunk) -> Pcm | None:
        try:
            key = self._vault.audio_key(self._session_id, self._lane_id, chunk.index)
            sealed = chunk.sealed
            if sealed is None:
                assert self._folder is not None
                sealed = (self._folder / chunk.name).read_bytes()
            if sealed[:1] != FORM:
                return None
            nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
            plain = AESGCM(key).decrypt(nonce, body, self._associated_data(chunk.index, chunk.start))
        except (InvalidTag, ValueError, KeyDestroyed, OSError):
            return None
        return np.frombuffer(plain, "<i2").astype(np.int16, copy=False)

    def _associated_data(self, index: int, start: int) -> bytes:
        return f"quietnote chunk:{self._session_id}:{self._lane_id}:{index}:{start}".encode()

    def _clear_part(self) -> None:
        self._parts, self._part_samples = [], 0

    # -- what an earlier process left ----------------------------------------------------------------------------------

    def _open_folder(self, folder: Path) -> None:
        try:
            for part in (folder.parent.parent, folder.parent, folder):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = sorted(path.name for path in folder.iterdir())
            self._read_tree(folder / TREE_FILE)
            for name in names:
                if name.endswith(".tmp"):
                    (folder / name).unlink(missing_ok=True)
                elif name.endswith(SUFFIX):
                    self._adopt(folder / name)
        except OSError as error:
            self._fault(StorageUnavailable.of("spool", error))

    def _read_tree(self, path: Path) -> None:
        try:
            stored = json.loads(path.read_bytes())
            tree, following = MerkleLog.from_json(stored), int(stored["next"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if tree.count >= self._tree.count:
            self._tree, self._next = tree, max(following, self._next)

    def _adopt(self, path: Path) -> None:
        index_text, _, start_text = path.name.removesuffix(SUFFIX).partition(".")
        if not (index_text.isdecimal() and start_text.isdecimal()):
            return
        index, size = int(index_text), path.stat().st_size
        samples = max(0, size - len(FORM) - NONCE_BYTES - TAG_BYTES) // 2
        self._chunks.append(_Chunk(index, int(start_text), samples, None))
        if index >= self._next:
            self._tree = self._tree.append(path.read_bytes())
            self._next = index + 1


def lanes_held(folder: Path, session_id: str) -> list[str]:
    """Lanes of a session that have a spool on this machine's disk."""
    path = folder / session_id
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def sweep(folder: Path, session_id: str) -> int:
    """Remove all that lies on disk of a session's spools; how many chunks that were. Idempotent."""
    removed = 0
    for lane_id in lanes_held(folder, session_id):
        for path in (folder / session_id / lane_id).iterdir():
            removed += path.name.endswith(SUFFIX)
            path.unlink(missing_ok=True)
        (folder / session_id / lane_id).rmdir()
    if (folder / session_id).is_dir():
        (folder / session_id).rmdir()
    return removed


def _write(path: Path, content: bytes) -> None:
    """Write so that the name stands for the whole content or does not exist."""
    draft = path.with_suffix(path.suffix + ".tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
