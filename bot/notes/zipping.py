"""A ZIP that is given out while it is written: of its content, one file at a time is in memory."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Any

from bot.store.receipts import MerkleLog

CHUNK = 1 << 16
"""Lines are brought together up to about this many bytes before they are packed."""
_PRIVATE = 0o100600 << 16


class _Sink:
    """Where the packer writes; it cannot seek, so that nothing that was given out is written again."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits behind this one."""

    def close(self) -> None:
        """Nothing is open."""

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


class Packer:
    """Packs files one after the other; what comes out of it is the ZIP, in order."""

    def __init__(self, at: datetime) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)
        self._at = at
        self.tree = MerkleLog()
        """Over the files' contents, in their order."""

    async def file(self, name: str, content: bytes) -> bytes:
        """Pack a file; bytes to give out."""

        def pack() -> bytes:
            self._zip.writestr(self._info(name), content)
            return self._sink.taken()

        self.tree = self.tree.append(content)
        return await asyncio.to_thread(pack)

    async def json(self, name: str, value: Any) -> bytes:
        """Pack a value as a file of JSON; bytes to give out."""
        return await self.file(name, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())

    async def lines(self, name: str, lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Pack a file of lines, however many; bytes to give out. Its content is no leaf of the tree."""
        entry = self._zip.open(self._info(name), "w")
        waiting = bytearray()
        try:
            async for line in lines:
                waiting += line + b"\n"
                if len(waiting) >= CHUNK:
                    await asyncio.to_thread(entry.write, bytes(waiting))
                    waiting.clear()
                    yield self._sink.taken()
            await asyncio.to_thread(entry.write, bytes(waiting))
        finally:
            entry.close()
        yield self._sink.taken()

    def end(self) -> bytes:
        """The ZIP's directory: what comes last."""
        self._zip.close()
        return self._sink.taken()

    def _info(self, name: str) -> zipfile.ZipInfo:
        at = self._at
        info = zipfile.ZipInfo(name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = _PRIVATE
        return info
