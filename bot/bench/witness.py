"""Who was there: what a service captured, which keys it had, and which words it made of it.

:func:`witnessing` notes it from outside while it runs, in this process; nothing of the service is changed. A process
that will be killed notes into a file beside its data (``log``), from which whoever killed it reads on.

Not noted, because it lies in a file by design: the master key (``vault/master.key``, or in the environment), and every
key in the form that it wraps, which is worth nothing without it. A key that was destroyed has no such form any more.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bot.asr import scheduler
from bot.asr.engine import Recognition
from bot.bench.needles import RUN, SHORTEST_WORD, Needles, phrases
from bot.events import SAMPLE_RATE_HZ, CapturedAudio, Pcm
from bot.media.spool import Spool
from bot.media.stream import LaneStream
from bot.store import ratchet, vault

_SOUND, _PACKET, _KEY, _TEXT = b"s", b"p", b"k", b"t"
_HEAD = struct.Struct("<cI")


class Witness:
    """Takes everything into :attr:`needles`. Any thread may tell it."""

    def __init__(self, log: Path | None = None) -> None:
        self.needles = Needles()
        self._log = log.open("ab", buffering=0) if log is not None else None
        self.captured = 0
        """Samples that were noted."""
        self._lock = threading.Lock()
        self._sound: dict[int, list[Pcm]] = {}
        """By lane: what is not in the needles yet."""
        self._ends: dict[int, int] = {}
        self._known: set[bytes] = set()
        self._phrases: set[str] = set()

    def sound(self, lane: int, start: int, pcm: Pcm) -> None:
        """A lane's samples were captured."""
        with self._lock:
            self.captured += len(pcm)
            self._write(_SOUND, struct.pack("<QQ", lane, start) + pcm.astype("<i2").tobytes())
            if self._ends.get(lane) != start:
                self._take_in(lane)
            self._sound.setdefault(lane, []).append(pcm.copy())
            self._ends[lane] = start + len(pcm)
            if sum(map(len, self._sound[lane])) >= SAMPLE_RATE_HZ:
                self._take_in(lane, keep=RUN)

    def packet(self, payload: bytes) -> None:
        """A packet was received, and its sound may be captured."""
        with self._lock:
            self._write(_PACKET, payload)
            self.needles.packet(payload)

    def key(self, key: bytes) -> None:
        """A key was in memory."""
        with self._lock:
            if key not in self._known:
                self._known.add(key)
                self._write(_KEY, key)
                self.needles.key(key)

    def text(self, text: str) -> None:
        """Something was recognised, typed or written."""
        with self._lock:
            self._write(_TEXT, text.encode())
            for phrase in phrases([text]) - self._phrases:
                self._phrases.add(phrase)
                self.needles.word(phrase)

    def word(self, word: str) -> None:
        """Something rare was said."""
        if len(word) >= SHORTEST_WORD:
            with self._lock:
                self.needles.word(word)

    def done(self) -> Needles:
        """What was noted so far."""
        with self._lock:
            for lane in self._sound:
                self._take_in(lane)
            return self.needles

    def read(self, log: Path) -> None:
        """Take in what another process noted; it may have been killed at any byte."""
        content, at = log.read_bytes(), 0
        while at + _HEAD.size <= len(content):
            kind, size = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            body, at = content[at : at + size], at + size
            if len(body) < size:
                return
            if kind == _SOUND:
                lane, start = struct.unpack_from("<QQ", body)
                self.sound(lane, start, np.frombuffer(body, "<i2", offset=16).astype(np.int16))
            elif kind == _PACKET:
                self.packet(body)
            elif kind == _KEY:
                self.key(body)
            else:
                self.text(body.decode())

    def close(self) -> None:
        """No more is noted."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _take_in(self, lane: int, *, keep: int = 0) -> None:
        """Index what waits; the last ``keep`` samples stay, for runs that go on in what comes next."""
        parts = self._sound.get(lane)
        if not parts:
            return
        whole = np.concatenate(parts)
        self.needles.sound(whole)
        self._sound[lane] = [whole[-keep:]] if keep else []

    def _write(self, kind: bytes, body: bytes) -> None:
        if self._log is not None:
            self._log.write(_HEAD.pack(kind, len(body)) + body)


@contextmanager
def witnessing(witness: Witness) -> Iterator[Witness]:
    """Note everything that goes through this process."""

    def spooled(real: Callable[..., Any]) -> Callable[..., Any]:
        def append(self: Spool, audio: CapturedAudio) -> Any:
            witness.sound(id(self), audio.start_sample, audio.pcm)
            return real(self, audio)

        return append

    def received(real: Callable[..., Any]) -> Callable[..., Any]:
        def packet(self: LaneStream, packet: Any) -> Any:
            witness.packet(packet.payload)
            return real(self, packet)

        return packet

    def opened(real: Callable[..., Any]) -> Callable[..., Any]:
        def init(self: Any, fd: int, wrapped: bytes, key: bytes) -> None:
            witness.key(key)
            real(self, fd, wrapped, key)

        return init

    def chunk_key(real: Callable[..., Any]) -> Callable[..., Any]:
        def derive(chain: bytes) -> bytes:
            key: bytes = real(chain)
            witness.key(chain)
            witness.key(key)
            return key

        return derive

    def next_chain(real: Callable[..., Any]) -> Callable[..., Any]:
        def derive(chain: bytes) -> bytes:
            following: bytes = real(chain)
            witness.key(following)
            return following

        return derive

    def heard(real: Callable[..., Any]) -> Callable[..., Any]:
        def hear(*args: Any) -> Recognition:
            found: Recognition = real(*args)
            witness.text(found.text)
            return found

        return hear

    around: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (Spool, "append", spooled),
        (LaneStream, "packet", received),
        (vault._OpenKey, "__init__", opened),  # noqa: SLF001  the one place where a scope's key is in the clear
        (vault, "chunk_key", chunk_key),
        (ratchet, "next_chain", next_chain),
        (scheduler, "hear", heard),
    )
    with ExitStack() as stack:
        for owner, name, wrap in around:
            stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
        try:
            yield witness
        finally:
            witness.close()
