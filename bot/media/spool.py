"""Captured audio on its way to words: sealed chunks of about a second, erased as the words are committed.

A lane's chunks lie in ``<folder>/<session>/<lane>/``, each sealed with AES-256-GCM under a key of its own from the
vault's one-way ratchet, bound to session, lane, index and first sample. Erasing is: record the chunks' hashes, turn the
ratchet past them, remove the files. A process that is killed loses at most the chunk it was filling; what the operating
system has not written yet when the power fails is lost too, because chunks are not waited for (keys are). What happens
when there is no room: docs/adr/0013-where-sound-waits.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from bot.errors import QuietnoteError, StorageUnavailable
from bot.events import SAMPLE_RATE_HZ, CapturedAudio, Pcm
from bot.media.chunks import FORM, SUFFIX, Chunk, binding, named, seal, unseal
from bot.media.disk import Disk
from bot.media.disk import write as _write
from bot.media.filling import Filling
from bot.media.sweeping import covered, keep_tree, lanes_held, settled, sweep, tree_of
from bot.store.receipts import MerkleLog
from bot.store.vault import KeyDestroyed, Vault

__all__ = ["CHUNK_SAMPLES", "FORM", "Spool", "lanes_held", "sweep"]

log = structlog.get_logger()

CHUNK_SAMPLES = SAMPLE_RATE_HZ
MEMORY_CHUNKS = 600
"""Chunks a lane keeps in memory at most (ten minutes, 19 MB): where it is spooled in memory, or the disk is full."""
CROWDED, ROOMY = 0.9, 0.5
"""Shares of them: from the first on recording should pause, from the second down it may go on."""
TAKEN_BACK = 8
"""Chunks written at once after the disk has room again, so that the media thread is not held up."""
MOST_CUT = 6
"""Chunks that are sealed anew at most when one is cut: where recognition is further behind, the next words cut it."""


class Spool:
    """One lane's spool. All but :attr:`hash_tree` belongs to the media thread.

    Overload policy, "memory, then pause": a chunk that cannot be written, for want of room or of a key, stays in memory
    until it can be. When :data:`CROWDED` of :data:`MEMORY_CHUNKS` are taken, :meth:`pressure` says so and recording
    pauses. What comes beyond the last of them is not spooled (its sound still goes to recognition) and counted in
    ``unspooled``. ``on_fault`` is told once, with :class:`StorageUnavailable`, and again after the disk has worked in
    between.
    """

    def __init__(
        self,
        folder: Path,
        vault: Vault,
        session_id: str,
        lane_id: str,
        *,
        kind: str = "disk",
        disk: Disk | None = None,
        hash_tree: Mapping[str, Any] | None = None,
        on_fault: Callable[[QuietnoteError], None] | None = None,
    ) -> None:
        """Open the lane's spool, with whatever an earlier process left in it."""
        self._vault = vault
        self._session_id, self._lane_id = session_id, lane_id
        self._folder = folder / session_id / lane_id if kind == "disk" else None
        self._disk = disk or Disk()
        self.on_fault = on_fault
        self._chunks: deque[Chunk] = deque()
        self._unsealed: deque[CapturedAudio] = deque()
        """Full chunks for which the vault has no key yet: its disk is full."""
        self._part = Filling(lane_id)
        self._tree = MerkleLog.from_json(hash_tree or {})
        self._next = self._tree.count
        self._faulty = False
        self._ended = False
        self.unspooled = 0
        """Samples that could not be kept."""
        self.unreadable = 0
        """Chunks that could not be opened when they were read; a torn last one is not counted."""
        self.torn: list[tuple[int, int]] = []
        """First sample and end of those among them whose key still stands: they were not erased, they are lost."""
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
        return len(self._chunks) + len(self._unsealed)

    @property
    def pressure(self) -> float:
        """How much of what may wait in memory does, from 0 to 1."""
        return self._in_memory / MEMORY_CHUNKS

    @property
    def at_risk_from(self) -> int | None:
        """The first full chunk's sample that lies in memory only; None: all of them lie in files."""
        if self._folder is None:
            return self.first_sample
        chunk = next((chunk for chunk in self._chunks if chunk.sealed is not None), None)
        if chunk is not None:
            return chunk.start
        return self._unsealed[0].start_sample if self._unsealed else None

    @property
    def _in_memory(self) -> int:
        return len(self._unsealed) + sum(1 for chunk in self._chunks if chunk.sealed is not None)

    def only_in_memory(self, start: int, end: int) -> bool:
        """True when some of these samples lie in no file: they go when this process does."""
        return not covered(self._chunks, start, end)

    @property
    def first_sample(self) -> int | None:
        """The first sample held, sealed or not; None: nothing is."""
        if self._chunks:
            return self._chunks[0].start
        if self._unsealed:
            return self._unsealed[0].start_sample
        return self._part.start if self._part.samples else None

    # -- in ------------------------------------------------------------------------------------------------------------

    def append(self, audio: CapturedAudio) -> None:
        """Take captured samples; a chunk is sealed when it is full or the next samples do not follow on."""
        if self._part.samples and audio.start_sample != self._part.end:
            self.flush()
        pcm, start = audio.pcm, audio.start_sample
        while len(pcm) and not self._ended:
            piece = pcm[: CHUNK_SAMPLES - self._part.samples]
            self._part.add(start, piece)
            pcm, start = pcm[len(piece) :], start + len(piece)
            if self._part.samples == CHUNK_SAMPLES:
                self.flush()

    def flush(self) -> None:
        """Seal what is there."""
        if not self._part.samples:
            return
        self._unsealed.append(self._part.audio())
        self._part.clear()
        self._seal()

    def relieve(self) -> bool:
        """Try again to put on the disk what has to stay in memory; whether that went on."""
        before = self._in_memory
        if self._unsealed:
            self._seal()
        elif self._folder is not None and before:
            self._take_back(self._folder)
        return self._in_memory < before

    def _seal(self) -> None:
        while self._unsealed:
            audio = self._unsealed[0]
            try:
                chunk = self._sealed(audio.pcm, audio.start_sample)
            except KeyDestroyed:
                self._ended = True  # the session's audio was destroyed: nothing may be kept any more
                self._unsealed.clear()
                log.warning("spool_key_destroyed", session_id=self._session_id, lane_id=self._lane_id)
                return
            except StorageUnavailable as error:
                self._fault(error)
                while self._in_memory > MEMORY_CHUNKS and self._unsealed:
                    self.unspooled += len(self._unsealed.pop().pcm)
                return
            self._unsealed.popleft()
            assert chunk.sealed is not None
            self._tree = self._tree.append(chunk.sealed)
            self._next = chunk.index + 1
            self._keep(chunk)

    def _sealed(self, pcm: Pcm, start: int) -> Chunk:
        index, key = self._free_key()
        return Chunk(index, start, len(pcm), seal(key, pcm, binding(self._session_id, self._lane_id, index, start)))

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

    def _keep(self, chunk: Chunk) -> None:
        if self._folder is not None:
            try:
                self._store(self._folder, chunk)
            except OSError as error:
                self._fault(StorageUnavailable.of("spool", error))
            else:
                self._faulty = False
                self._chunks.append(chunk.filed())
                self._take_back(self._folder)
                return
        if self._in_memory >= MEMORY_CHUNKS:
            self.unspooled += chunk.samples
            return
        self._chunks.append(chunk)

    def _store(self, folder: Path, chunk: Chunk) -> None:
        """Write a chunk. Raises OSError where there is no room, or it would be more than may be taken."""
        assert chunk.sealed is not None
        for part in (folder.parent.parent, folder.parent, folder):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._disk.take(self._session_id, chunk.size, folder)
        try:
            _write(folder / chunk.name, chunk.sealed)
        except OSError:
            self._disk.give(self._session_id, chunk.size)
            raise

    def _take_back(self, folder: Path) -> None:
        """The disk has room again: write what had to stay in memory, oldest first."""
        waiting = [number for number, chunk in enumerate(self._chunks) if chunk.sealed is not None]
        for number in waiting[:TAKEN_BACK]:
            chunk = self._chunks[number]
            try:
                self._store(folder, chunk)
            except OSError as error:
                self._fault(StorageUnavailable.of("spool", error))
                return
            self._faulty = False
            self._chunks[number] = chunk.filed()

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
        chunks = list(self._chunks)
        for chunk in chunks:
            if chunk.end <= from_sample:
                continue
            pcm = self._opened(chunk)
            if pcm is None:
                if chunk is not chunks[-1]:
                    self.unreadable += 1
                    log.warning("spool_chunk_unreadable", session_id=self._session_id, lane_id=self._lane_id)
                continue
            yield CapturedAudio(self._lane_id, chunk.start, pcm).between(from_sample, chunk.end)
        for audio in list(self._unsealed):
            if audio.end_sample > from_sample:
                yield audio.between(from_sample, audio.end_sample)
        if self._part.samples and self._part.end > from_sample:
            yield self._part.audio().between(from_sample, self._part.end)

    def erase_through(self, sample: int) -> int:
        """Destroy every chunk that ends at or before ``sample``; how many those were."""
        going: list[Chunk] = []
        while self._chunks and self._chunks[0].end <= sample:
            going.append(self._chunks.popleft())
        while self._unsealed and self._unsealed[0].end_sample <= sample:
            self._unsealed.popleft()
        if going:
            self._destroy(going)
        return len(going)

    def cut(self, sample: int) -> None:
        """Destroy what lies before ``sample`` in a chunk, or a part of one, that goes on behind it.

        Keys go by age: its rest and all younger chunks are sealed anew first. If they cannot be, it goes with its rest.
        """
        self._part.cut(sample)
        old = list(self._chunks)
        if not old or old[0].start >= sample or self._unsealed or len(old) > MOST_CUT:
            return
        following = self._next
        try:
            self._chunks = deque(self._anew(old, sample))
        except (QuietnoteError, OSError):
            self._next = following
        else:
            self._destroy(old)

    def _anew(self, old: list[Chunk], sample: int) -> list[Chunk]:
        """Seal the same sound from ``sample`` on under new keys. Stored are all or none, the oldest last."""
        new, tree = [], self._tree
        for chunk in old:
            pcm = self._opened(chunk)
            if pcm is None:
                raise StorageUnavailable("spool", "damaged")
            start = max(chunk.start, sample)
            new.append(self._sealed(pcm[start - chunk.start :], start))
            self._next = new[-1].index + 1
            tree = tree.append(new[-1].sealed or b"")
        for number, chunk in enumerate(reversed(new)):
            try:
                if self._folder is not None:
                    self._store(self._folder, chunk)
            except OSError:
                for stored in new[len(new) - number :]:
                    self._remove(stored)
                raise
        self._tree = tree
        return new if self._folder is None else [chunk.filed() for chunk in new]

    def drop(self) -> int:
        """Destroy everything, the part that is being filled too."""
        self._part.clear()
        self._unsealed.clear()
        going, self._chunks = list(self._chunks), deque()
        if going:
            self._destroy(going)
        return len(going)

    def _destroy(self, chunks: list[Chunk]) -> None:
        """Record, turn the ratchet, remove. A full disk stops none of the steps after it; the next erasure turns the
        ratchet past these keys too.
        """
        try:
            if self._folder is not None and self._folder.is_dir():
                keep_tree(self._folder, self._tree, self._next)
        except OSError as error:
            self._fault(StorageUnavailable.of("spool", error))
        try:
            self._vault.advance_audio(self._session_id, self._lane_id, chunks[-1].index + 1)
        except StorageUnavailable as error:
            self._fault(error)
        for chunk in chunks:
            if chunk.sealed is None:
                self._remove(chunk)

    def _remove(self, chunk: Chunk) -> None:
        if self._folder is not None:
            (self._folder / chunk.name).unlink(missing_ok=True)
            self._disk.give(self._session_id, chunk.size)

    def _opened(self, chunk: Chunk) -> Pcm | None:
        try:
            key = self._vault.audio_key(self._session_id, self._lane_id, chunk.index)
            sealed = chunk.sealed
            if sealed is None:
                assert self._folder is not None
                sealed = (self._folder / chunk.name).read_bytes()
            return unseal(key, sealed, binding(self._session_id, self._lane_id, chunk.index, chunk.start))
        except KeyDestroyed:
            return None
        except (ValueError, OSError):
            self.torn.append((chunk.start, max(chunk.end, chunk.start + 1)))
            return None

    # -- what an earlier process left ----------------------------------------------------------------------------------

    def _open_folder(self, folder: Path) -> None:
        try:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            tree, following = tree_of(folder)
            if tree.count >= self._tree.count:
                self._tree, self._next = tree, max(following, self._next)
            for name in names:
                if name.endswith(".tmp"):
                    (folder / name).unlink(missing_ok=True)
                elif name.endswith(SUFFIX):
                    self._adopt(folder / name)
            self._settle()
        except OSError as error:
            self._fault(StorageUnavailable.of("spool", error))

    def _settle(self) -> None:
        """Finish a cut that a kill interrupted."""
        kept, gone = settled(list(self._chunks))
        self._chunks = deque(kept)
        oldest = kept[0].index if kept else self._next
        if older := [chunk for chunk in gone if chunk.index < oldest]:
            self._destroy(older)
        for chunk in gone[len(older) :]:
            self._remove(chunk)

    def _adopt(self, path: Path) -> None:
        chunk = named(path.name, path.stat().st_size)
        if chunk is None:
            return
        self._disk.found(self._session_id, chunk.size)
        self._chunks.append(chunk)
        if chunk.index >= self._next:
            self._tree = self._tree.append(path.read_bytes())
            self._next = chunk.index + 1
