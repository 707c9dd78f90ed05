"""The one-way ratchet of a lane's audio keys, and a file form in which it cannot be turned back.

From the chain key ``c`` of chunk n follow the key of that chunk, ``HKDF-Expand(c, "chunk")``, and the chain key of
chunk n+1, ``HKDF-Expand(c, "next")`` (RFC 5869, section 2.3, with SHA-256). Only the chain key of the oldest chunk that
is still needed is kept.

The file has two slots. A step writes the new chain key into the free slot, syncs, then overwrites the other and syncs
again: a crash in between leaves both readable, and the next step or :func:`settle` finishes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32
NONCE_BYTES = 12
SLOT_BYTES = 512
"""A sector, so that one slot's write does not touch the other."""
FILE_BYTES = 2 * SLOT_BYTES
MAX_STEP = 1_000_000
"""More chunks than any session has: a step beyond it is a mistake, not a wish."""

_INDEX_BYTES = 8
_USED = _INDEX_BYTES + NONCE_BYTES + KEY_BYTES + 16


def chunk_key(chain: bytes) -> bytes:
    """The key of the chunk a chain key stands at."""
    return HKDFExpand(SHA256(), KEY_BYTES, b"quietnote audio chunk").derive(chain)


def next_chain(chain: bytes) -> bytes:
    """The chain key one chunk on. There is no way back from it."""
    return HKDFExpand(SHA256(), KEY_BYTES, b"quietnote audio next").derive(chain)


@dataclass(slots=True)
class Walker:
    """A lane's ratchet in memory: where it stands for good, and how far it has been walked."""

    index: int
    chain: bytes
    head_index: int = -1
    head_chain: bytes = b""

    def chain_at(self, index: int) -> bytes:
        """The chain key of chunk ``index``, which must not lie below the ratchet. Raises ValueError."""
        if index < self.index or index - self.index > MAX_STEP:
            raise ValueError("the ratchet cannot be turned there")
        at, chain = self.index, self.chain
        if self.index <= self.head_index <= index:
            at, chain = self.head_index, self.head_chain
        while at < index:
            at, chain = at + 1, next_chain(chain)
        self.head_index, self.head_chain = at, chain
        return chain


@dataclass(frozen=True, slots=True)
class RatchetFile:
    """How a chain key lies in a file: wrapped, bound to its lane and its index."""

    wrap: AESGCM
    context: bytes

    def new(self, index: int, chain: bytes) -> bytes:
        """The whole content of a fresh file."""
        return self._slot(index, chain) + bytes(SLOT_BYTES)

    def read(self, content: bytes) -> tuple[int, bytes] | None:
        """The furthest index and its chain key; None when no slot can be opened."""
        found = [slot for n in (0, 1) if (slot := self._open(content, n)) is not None]
        return max(found, key=lambda slot: slot[0]) if found else None

    def settle(self, fd: int, content: bytes) -> None:
        """Overwrite a slot that an interrupted step left behind."""
        slots = [self._open(content, n) for n in (0, 1)]
        if slots[0] is not None and slots[1] is not None:
            _wipe_slot(fd, 0 if slots[0][0] < slots[1][0] else 1)

    def step(self, fd: int, content: bytes, index: int, chain: bytes) -> None:
        """Move the file on to ``index``: when this returns, nothing on disk leads to an earlier key."""
        first = self._open(content, 0)
        second = self._open(content, 1)
        old = 0 if second is None or (first is not None and first[0] > second[0]) else 1
        os.pwrite(fd, self._slot(index, chain), (1 - old) * SLOT_BYTES)
        os.fsync(fd)
        _wipe_slot(fd, old)

    def _slot(self, index: int, chain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        head = index.to_bytes(_INDEX_BYTES, "big")
        return (head + nonce + self.wrap.encrypt(nonce, chain, self.context + head)).ljust(SLOT_BYTES, b"\0")

    def _open(self, content: bytes, number: int) -> tuple[int, bytes] | None:
        slot = content[number * SLOT_BYTES :][:_USED]
        head, nonce, wrapped = (
            slot[:_INDEX_BYTES],
            slot[_INDEX_BYTES:][:NONCE_BYTES],
            slot[_INDEX_BYTES + NONCE_BYTES :],
        )
        if len(slot) < _USED or not any(slot):
            return None
        try:
            return int.from_bytes(head, "big"), self.wrap.decrypt(nonce, wrapped, self.context + head)
        except InvalidTag:
            return None


def _wipe_slot(fd: int, number: int) -> None:
    os.pwrite(fd, bytes(SLOT_BYTES), number * SLOT_BYTES)
    os.fsync(fd)
