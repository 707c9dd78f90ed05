"""What lies on disk of a session's spools, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from bot.media.chunks import SUFFIX, Chunk
from bot.media.disk import write
from bot.store.receipts import MerkleLog

TREE_FILE = "tree.json"


def keep_tree(folder: Path, tree: MerkleLog, following: int) -> None:
    """Store the tree over a lane's chunks, and the index of the next one. Raises OSError."""
    write(folder / TREE_FILE, json.dumps(tree.to_json() | {"next": following}).encode())


def tree_of(folder: Path) -> tuple[MerkleLog, int]:
    """What :func:`keep_tree` stored; an empty tree where there is none."""
    try:
        stored = json.loads((folder / TREE_FILE).read_bytes())
        return MerkleLog.from_json(stored), int(stored["next"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return MerkleLog(), 0


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


def settled(chunks: Sequence[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    """What a process that was killed while it cut a chunk meant to keep, and what it meant to destroy.

    A chunk that is sealed anew, whole or from a sample on, ends where it ended and is younger. Of a younger one that is
    torn the older stays.
    """
    if all(younger.start >= older.end for older, younger in pairwise(chunks)):
        return list(chunks), []
    kept: list[Chunk] = []
    gone: list[Chunk] = []
    for number, chunk in enumerate(chunks):
        anew = any(one.end == chunk.end and one.start >= chunk.start for one in chunks[number + 1 :])
        torn = any(one.start <= chunk.start and chunk.end < one.end for one in chunks[:number])
        (gone if anew or torn else kept).append(chunk)
    return kept, gone


def covered(chunks: Iterable[Chunk], start: int, end: int) -> bool:
    """Whether all of these samples lie in files."""
    at = start
    for chunk in chunks:
        if chunk.sealed is None and chunk.start <= at < chunk.end:
            at = chunk.end
    return at >= end
