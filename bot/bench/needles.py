"""What a forensic search looks for: sound, keys and words, in every form in which they could lie in a file.

Sound and keys are long runs of bytes with nothing to tell them from others, so they go into an index: a 64-bit hash of
32 bytes at every so many bytes. Whatever run of a file is that much longer than 32 bytes holds a whole indexed piece,
wherever it begins, so the search finds it by hashing each place of the file once, however much is looked for. Words are
short; they are looked for whole, by their first eight bytes.

    sound   captured samples as s16 little endian, s16 big endian and float32 (as the recogniser is given them);
            packets as they were received. Of loud sound only: a stretch of near silence lies in any file
    keys    raw, as hexadecimal and as base64, at each of its three alignments
    words   in any case: UTF-8, UTF-16 of both orders, escaped as JSON and as a URL have them, base64
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from bot.events import Pcm

Hashes = npt.NDArray[np.uint64]

PIECE = 32
"""Bytes that are hashed at once: 16 samples, or a key."""
RUN = 32
"""Consecutive samples from which on sound is found: 2 ms."""
PACKET_STEP = 4
"""A run of 35 bytes of a packet is found."""
LOUD = 64
"""Loudest sample of a piece below this (-54 dBFS): it may be anybody's silence."""
DISTINCT = 8
"""Different samples of sixteen below this: as a run of equal bytes, it lies in any file."""
SHORTEST_WORD = 5
"""Characters of a word that is looked for: shorter ones turn up in random bytes."""

TABLE_BITS = 24

_FACTORS = np.random.default_rng(0x51).integers(1, 1 << 63, 4, np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFT = np.uint64(29)


class Kind(StrEnum):
    """What was found."""

    AUDIO = "audio"
    KEY = "key"
    WORD = "word"


def hashed(words: Hashes, count: int, step: int) -> Hashes:
    """The hashes of ``count`` pieces of four 64-bit words each, the next one ``step`` words on."""
    return hashed_at(words, np.arange(0, count * step, step))


def hashed_at(words: Hashes, places: npt.NDArray[np.intp]) -> Hashes:
    """The same of the pieces that begin at these words."""
    total = np.zeros(len(places), np.uint64)
    for number, factor in enumerate(_FACTORS):
        total += words[places + number] * factor
    total ^= total >> _SHIFT
    total *= _FACTORS[0]
    return total


def places(words: Hashes) -> Hashes:
    """Where 64-bit words stand in a table of :data:`TABLE_BITS`."""
    found: Hashes = (words * _FACTORS[1]) >> np.uint64(64 - TABLE_BITS)
    return found


def pieces_of(content: bytes, step: int) -> tuple[Hashes, Hashes]:
    """The hashes of the 32 bytes at every ``step`` bytes of something, and their first words; if shorter, none."""
    found: list[Hashes] = [np.zeros(0, np.uint64)]
    firsts: list[Hashes] = [np.zeros(0, np.uint64)]
    for phase in range(0, 8, step) if step < 8 else (0,):
        usable = (len(content) - phase) // 8
        stride = max(1, step // 8)
        if usable >= 4:
            words = np.frombuffer(content, np.uint64, usable, phase)
            count = (usable - 4) // stride + 1
            found.append(hashed(words, count, stride))
            firsts.append(words[: (count - 1) * stride + 1 : stride])
    return np.concatenate(found), np.concatenate(firsts)


class Needles:
    """All that one search looks for. Sound is kept as hashes only: an index of an hour's call takes some megabytes."""

    def __init__(self) -> None:
        self._parts: dict[Kind, list[Hashes]] = {Kind.AUDIO: [], Kind.KEY: []}
        self.table = np.zeros(1 << TABLE_BITS, np.bool_)
        """Where the first words of all pieces of sound and keys stand: most of a file is ruled out by it."""
        self.texts: dict[bytes, str] = {}
        """Each form of a word, in lower case, with the form's name."""
        self.samples = self.keys = self.words = 0
        """How much was taken in."""

    def _take(self, kind: Kind, content: bytes, step: int, worth: npt.NDArray[np.bool_] | None = None) -> None:
        hashes, firsts = pieces_of(content, step)
        if worth is not None:
            hashes, firsts = hashes[: len(worth)][worth], firsts[: len(worth)][worth]
        self._parts[kind].append(hashes)
        self.table[places(firsts)] = True

    # -- sound ---------------------------------------------------------------------------------------------------------

    def sound(self, pcm: Pcm) -> None:
        """Samples that were captured, as they follow each other."""
        self.samples += len(pcm)
        if len(pcm) < RUN:
            return
        step = RUN - PIECE // 2  # in samples: a run of RUN of them holds one whole piece of 16
        loud = _worth_it(pcm, step)
        native = pcm.astype("<i2")
        for encoded in (native, native.astype(">i2")):
            self._take(Kind.AUDIO, encoded.tobytes(), 2 * step, loud)
        floats = (native.astype(np.float32) / np.float32(32768)).astype("<f4").tobytes()
        self._take(Kind.AUDIO, floats, 4 * step, loud)

    def packet(self, payload: bytes) -> None:
        """An encoded packet as it was received. One that holds no speech is shorter than what is looked for."""
        self._take(Kind.AUDIO, payload, PACKET_STEP)

    # -- keys ----------------------------------------------------------------------------------------------------------

    def key(self, key: bytes) -> None:
        """A key as it was in memory, of 32 bytes or more."""
        self.keys += 1
        for form in _key_forms(key):
            self._take(Kind.KEY, form[:PIECE], 8)

    # -- words ---------------------------------------------------------------------------------------------------------

    def word(self, text: str) -> None:
        """Something that was said, typed or shown: a rare word, or several as they follow each other."""
        if len(text) < SHORTEST_WORD:
            raise ValueError(f"too short to be told from other bytes: {len(text)} characters")
        self.words += 1
        for form, name in _word_forms(text):
            self.texts.setdefault(form, name)

    # -- as it is looked up --------------------------------------------------------------------------------------------

    def hashes(self, kind: Kind) -> Hashes:
        """All hashes of sound or keys, each once, in order."""
        parts = self._parts[kind]
        if len(parts) > 1:
            parts[:] = [np.unique(np.concatenate(parts))]
        return parts[0] if parts else np.zeros(0, np.uint64)

    @property
    def taken(self) -> dict[str, Any]:
        """How much is looked for."""
        return {"samples": self.samples, "keys": self.keys, "words": self.words}


def _worth_it(pcm: Pcm, step: int) -> npt.NDArray[np.bool_]:
    """For the 16 samples at each ``step``: whether they can be told from any other sixteen."""
    count = (len(pcm) - 16) // step + 1
    runs = np.lib.stride_tricks.sliding_window_view(pcm, 16)[: (count - 1) * step + 1 : step]
    ordered = np.sort(runs, axis=1)
    distinct = 1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1)
    loudest = np.maximum(-ordered[:, 0].astype(np.int32), ordered[:, -1])
    worth: npt.NDArray[np.bool_] = (loudest >= LOUD) & (distinct >= DISTINCT)
    return worth


def _key_forms(key: bytes) -> Iterator[bytes]:
    yield key
    yield key.hex().encode()
    yield key.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            yield _inner_base64(key, shift, encode)


def _inner_base64(content: bytes, shift: int, encode: Any) -> bytes:
    """What of the base64 form of something longer depends on ``content`` alone, which begins at ``shift`` of three."""
    whole: bytes = encode(bytes(shift) + content)
    end = (shift + len(content)) // 3 * 4
    return whole[-(-shift * 4 // 3) if shift else 0 : end]


def _word_forms(text: str) -> Iterator[tuple[bytes, str]]:
    for cased in dict.fromkeys((text.lower(), text, text.upper())):  # they differ where a letter is not ASCII
        yield cased.encode().lower(), "utf-8"
        for order in ("le", "be"):
            yield cased.encode(f"utf-16-{order}").lower(), "utf-16"
        yield json.dumps(cased)[1:-1].encode().lower(), "json"
        yield quote(cased).encode().lower(), "url"
    for cased in dict.fromkeys((text, text.lower())):
        for shift in range(3):
            form = _inner_base64(cased.encode(), shift, base64.b64encode).lower()  # looked for in any case, as the rest
            if len(form) > SHORTEST_WORD:
                yield form, "base64"


def phrases(texts: Iterable[str], length: int = 3, characters: int = 14) -> set[str]:
    """Runs of so many words of what was said: long enough that nobody else's file has them by chance."""
    found = set()
    for text in texts:
        words = text.lower().split()
        for at in range(len(words) - length + 1):
            run = " ".join(words[at : at + length])
            if len(run) >= characters:
                found.add(run)
    return found
