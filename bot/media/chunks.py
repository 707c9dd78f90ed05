"""A sealed chunk of sound: its form, its name, and what it is bound to."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.events import Pcm

FORM = b"\x01"
"""First byte of a sealed chunk: AES-256-GCM, 12-byte nonce, s16 samples in native little-endian order."""
NONCE_BYTES = 12
TAG_BYTES = 16
SUFFIX = ".chunk"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, wherever it lies."""

    index: int
    start: int
    samples: int
    sealed: bytes | None
    """The sealed bytes when they are in memory, None when they are in a file."""

    @property
    def end(self) -> int:
        """Just after its last sample."""
        return self.start + self.samples

    @property
    def size(self) -> int:
        """Bytes in its sealed form."""
        return len(FORM) + NONCE_BYTES + 2 * self.samples + TAG_BYTES

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.index:08d}.{self.start}{SUFFIX}"

    def filed(self) -> Chunk:
        """The same, in a file."""
        return Chunk(self.index, self.start, self.samples, None)


def named(name: str, size: int) -> Chunk | None:
    """The chunk that a file of this name and size is; None: it is none."""
    index, _, start = name.removesuffix(SUFFIX).partition(".")
    if not (name.endswith(SUFFIX) and index.isdecimal() and start.isdecimal()):
        return None
    return Chunk(int(index), int(start), max(0, size - len(FORM) - NONCE_BYTES - TAG_BYTES) // 2, None)


def seal(key: bytes, pcm: Pcm, bound_to: bytes) -> bytes:
    """Seal samples."""
    nonce = os.urandom(NONCE_BYTES)
    return FORM + nonce + AESGCM(key).encrypt(nonce, pcm.astype("<i2").tobytes(), bound_to)


def unseal(key: bytes, sealed: bytes, bound_to: bytes) -> Pcm:
    """The samples. Raises ValueError when these bytes are not what was sealed so."""
    if sealed[:1] != FORM:
        raise ValueError("not the form of a chunk")
    try:
        plain = AESGCM(key).decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], bound_to)
    except InvalidTag:
        raise ValueError("the chunk fails its check") from None
    return np.frombuffer(plain, "<i2").astype(np.int16, copy=False)


def binding(session_id: str, lane_id: str, index: int, start: int) -> bytes:
    """What a chunk is bound to: it opens as this chunk of this lane only."""
    return f"quietnote chunk:{session_id}:{lane_id}:{index}:{start}".encode()
