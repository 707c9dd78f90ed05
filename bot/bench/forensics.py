"""The forensic search: every byte of every file for sound, keys and words that should be gone.

:class:`bot.bench.witness.Witness` notes what there was, :class:`bot.bench.needles.Needles` keeps it, :func:`search`
looks. Files are mapped, not read, and looked at in stretches that overlap; what has been removed from a folder but not
overwritten is outside what a search of files can see (docs/security.md says what the operator does about it).

Cost, on one core: about 35 ns a byte, 28 MB a second, whatever is looked for; building the index takes 80 ms for a
minute of one lane, and 8 bytes of memory for each 16 samples and encoding.

:func:`control` is the positive control: it plants each form of each kind in files of its own and returns what was not
found there. A search that says zero says it only after that.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bot.bench.needles import PIECE, RUN, TABLE_BITS, Hashes, Kind, Needles, hashed_at, places
from bot.events import Pcm

STRETCH = 4 << 20
"""Bytes of a file that are looked at at once."""
CONTROL_STRETCH = 1 << 15
"""The same in the positive control, which plants something across its end."""
OVERLAP = 4096
"""Bytes that two stretches share: more than the longest form of a word."""
PREFIX = 8
MOST_HITS = 1000
"""Hits that are listed; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that should be gone and is not."""

    file: str
    at: int
    kind: Kind
    form: str = ""


@dataclass(slots=True)
class Report:
    """What a search came to."""

    files: int = 0
    bytes: int = 0
    hits: list[Hit] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    """Files that could not be opened: a search that has any is not a search of everything."""

    @property
    def total(self) -> int:
        """Places at which something was found."""
        return sum(self.counts.values())

    @property
    def clean(self) -> bool:
        """Everything was looked at, and nothing was found."""
        return not self.total and not self.unreadable

    def add(self, hit: Hit) -> None:
        """Count one."""
        self.counts[hit.kind] += 1
        if len(self.hits) < MOST_HITS:
            self.hits.append(hit)


class Search:
    """One index, for as many searches as one likes."""

    def __init__(self, needles: Needles, stretch: int = STRETCH) -> None:
        self._stretch = stretch
        self._keys = needles.hashes(Kind.KEY)
        self._long = np.union1d(needles.hashes(Kind.AUDIO), self._keys)
        self._pieces = needles.table
        self._texts: dict[int, list[tuple[bytes, str]]] = {}
        self._short: list[tuple[bytes, str]] = []
        for text, form in needles.texts.items():
            if len(text) < PREFIX:
                self._short.append((text, form))
            else:
                self._texts.setdefault(int.from_bytes(text[:PREFIX], "little"), []).append((text, form))
        self._prefixes = np.zeros(1 << TABLE_BITS, np.bool_)
        self._prefixes[places(np.array(list(self._texts), np.uint64))] = True

    def files(self, places: Iterable[Path]) -> Report:
        """Look through files, and everything below folders. Links are not followed."""
        report = Report()
        for path in _files(places):
            try:
                self._file(path, report)
            except FileNotFoundError:
                continue  # a service that runs removed it meanwhile
            except OSError:
                report.unreadable.append(str(path))
        return report

    def _file(self, path: Path, report: Report) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            report.files += 1
            report.bytes += size
            if not size:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for begin in range(0, len(content), self._stretch):
                    stretch = content[begin : begin + self._stretch + OVERLAP]
                    for at, kind, form in self._in(stretch):
                        if at < self._stretch:  # else it is the next one's
                            report.add(Hit(str(path), begin + at, kind, form))

    def text(self, content: bytes) -> list[Hit]:
        """Look through something that lies in no file: what was printed, what an API said."""
        return [Hit("", at, kind, form) for at, kind, form in self._in(content)]

    def _in(self, content: bytes) -> Iterator[tuple[int, Kind, str]]:
        if not np.frombuffer(content, np.uint8).any():
            return  # room that was made and is not used yet: most of a write-ahead log
        for phase in range(8 if len(self._long) else 0):
            words = _words(content, phase)
            for at in self._pieces_at(words):
                kind = Kind.KEY if hashed_at(words, np.array([at])) in self._keys else Kind.AUDIO
                yield phase + 8 * int(at), kind, ""
        if self._texts or self._short:
            yield from self._words_in(content.lower())

    def _pieces_at(self, words: Hashes) -> npt.NDArray[np.intp]:
        maybe = np.flatnonzero(self._pieces[places(words[: max(0, len(words) - PIECE // 8 + 1)])])
        if not len(maybe):
            return maybe
        hashes = hashed_at(words, maybe)
        at = np.minimum(np.searchsorted(self._long, hashes), len(self._long) - 1)
        found: npt.NDArray[np.intp] = maybe[self._long[at] == hashes]
        return found

    def _words_in(self, content: bytes) -> Iterator[tuple[int, Kind, str]]:
        for phase in range(PREFIX if self._texts else 0):
            words = _words(content, phase)
            for place in np.flatnonzero(self._prefixes[places(words)]):
                at = phase + 8 * int(place)
                for text, form in self._texts.get(int(words[place]), ()):
                    if content.startswith(text, at):
                        yield at, Kind.WORD, form
        for text, form in self._short:
            at = content.find(text)
            while at >= 0:
                yield at, Kind.WORD, form
                at = content.find(text, at + 1)


def _words(content: bytes, phase: int) -> npt.NDArray[np.uint64]:
    """The 64-bit words of something, from a place on."""
    count = max(0, len(content) - phase) // 8
    return np.frombuffer(content, np.uint64, count, phase) if count else np.zeros(0, np.uint64)


def search(needles: Needles, *places: Path) -> Report:
    """Look through files and folders for everything in ``needles``."""
    return Search(needles).files(places)


def said_in(places: Path | Iterable[Path], *words: str) -> list[str]:
    """The files, by name, in which any of these words is found in any form; and those that could not be read."""
    needles = Needles()
    for word in words:
        needles.word(word)
    report = search(needles, *([places] if isinstance(places, Path) else places))
    return sorted({hit.file for hit in report.hits} | set(report.unreadable))


def bytes_in(places: Path | Iterable[Path], *runs: bytes) -> list[str]:
    """The same for runs of bytes, of 32 or more each: what is sealed, for one."""
    needles = Needles()
    for run in runs:
        needles.packet(run)
    report = search(needles, *([places] if isinstance(places, Path) else places))
    return sorted({hit.file for hit in report.hits} | set(report.unreadable))


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink())
        elif place.is_file():
            yield place


# -- the positive control ----------------------------------------------------------------------------------------------


def control(needles: Needles, sound: Pcm, packet: bytes, key: bytes, word: str) -> list[str]:
    """Plant what is given, which is in ``needles``, in every form, each in a file of its own; what was missed."""
    looking = Search(needles, CONTROL_STRETCH)
    with tempfile.TemporaryDirectory(prefix="quietnote-control-") as folder:
        missed = []
        for name, (kind, content) in planted(sound, packet, key, word).items():
            path = Path(folder) / "planted"
            path.write_bytes(content)
            if kind not in looking.files([path]).counts:
                missed.append(name)
        return missed


def planted(sound: Pcm, packet: bytes, key: bytes, word: str) -> dict[str, tuple[Kind, bytes]]:
    """Each form in which something could lie in a file, among bytes of no meaning and across a stretch's end."""
    import base64
    import json

    run = sound[: RUN + 1]
    audio = {
        "s16le": run[1:].astype("<i2").tobytes(),
        "s16be": run[1:].astype(">i2").tobytes(),
        "f32le": (run[1:].astype("<f4") / np.float32(32768)).tobytes(),
        "packet": packet,
    }
    keys = {"raw": key, "hex": key.hex().encode(), "HEX": key.hex().upper().encode()}
    texts = {"utf-8": word.encode(), "upper": word.upper().encode(), "utf-16le": word.encode("utf-16-le"),
             "utf-16be": word.encode("utf-16-be"), "json": json.dumps({"text": word}).encode()}  # fmt: skip
    for shift in range(3):
        keys[f"base64+{shift}"] = base64.b64encode(b"k" * shift + key + b"rest")
        keys[f"base64url+{shift}"] = base64.urlsafe_b64encode(b"k" * shift + key + b"rest")
        texts[f"base64+{shift}"] = base64.b64encode(b"t" * shift + word.encode() + b"rest")
    noise = np.random.default_rng(7).bytes(CONTROL_STRETCH + OVERLAP)
    forms: dict[str, tuple[Kind, bytes]] = {}
    for kind, ways in ((Kind.AUDIO, audio), (Kind.KEY, keys), (Kind.WORD, texts)):
        for number, (name, content) in enumerate(ways.items()):
            for where, at in (("early", 1001 + number), ("late", CONTROL_STRETCH - 5 + number)):
                forms[f"{kind}:{name}:{where}"] = (kind, noise[:at] + content + noise[at : at + 999])
    return forms
