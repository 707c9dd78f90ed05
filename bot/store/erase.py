"""The end of a session's audio: keys first, then every copy, then a signed receipt.

The order makes a crash harmless. Each line can be run again, and running all of them again ends at the same single
receipt:

    1 the epoch rises         writers under way can commit nothing any more
    2 the audio keys go       whatever else is left, anywhere, cannot be opened again
    3 the sweepers run        each place that held a copy removes it and says how much it was
    4 the log is emptied      SQLite's write-ahead log holds no deleted row
    5 the receipt is stored   the first one stays
    6 the audio is "erased"

Parts of the house that hold copies register a sweeper; nothing here knows them by name.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import structlog

from bot.clock import Clock
from bot.events import SAMPLES_PER_MS, AudioState
from bot.store.db import Database
from bot.store.parts import audio_name
from bot.store.receipts import METHOD, MerkleLog, ReceiptSigner, timestamp
from bot.store.records import LaneRecord, SessionRecord, TranscriptPurge
from bot.store.sessions import SessionStore
from bot.store.vault import Vault

log = structlog.get_logger()

Sweeper = Callable[[str], Awaitable[int]]
"""Removes all that one place holds of a session's audio; how many things that were. Raises when something is left.

Called again after a crash or a failure, and for sessions the place never held anything of."""

KEY_STORE = "key store"
KIND_AUDIO = "audio"
KIND_TRANSCRIPT = "transcript"


class Eraser:
    """Erases the audio of sessions, and states what was destroyed."""

    def __init__(self, store: SessionStore, db: Database, vault: Vault, signer: ReceiptSigner, clock: Clock) -> None:
        self._store = store
        self._db = db
        self._vault = vault
        self._signer = signer
        self._clock = clock
        self._sweepers: dict[str, Sweeper] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def register(self, place: str, sweeper: Sweeper) -> None:
        """Add a place that may hold copies, by the name it has on receipts."""
        if place in self._sweepers or place == KEY_STORE:
            raise ValueError(f"{place} is registered already")
        self._sweepers[place] = sweeper

    async def sweep(self, session_id: str) -> dict[str, int]:
        """Have every place remove what it holds of a session, keys aside; how much that was, by place."""
        return {place: await sweep(session_id) for place, sweep in self._sweepers.items()}

    async def erase_audio(self, session_id: str, *, part: int | None = None) -> bytes | None:
        """Destroy the audio of the session's newest part for good; the receipt, or None when it never had any.

        Of a ``part`` that is not the newest everything was destroyed before the next one began: that receipt is given.
        Idempotent. Raises what a sweeper or the store raised; the keys are gone by then, and the next call goes on.
        """
        turn = self._turns.setdefault(session_id, asyncio.Lock())
        async with turn, self._db.turn(f"erase:{session_id}"):
            return await self._erase(session_id, part)

    async def _erase(self, session_id: str, part: int | None) -> bytes | None:
        session = await self._store.get(session_id)
        receipts = {one.part: one for one in await self._store.receipts(session_id, kind=KIND_AUDIO)}
        if part not in {None, session.part} or session.audio is not AudioState.HELD:
            mine = receipts.get(part or session.part)
            return mine.body if mine is not None else None
        epoch = await self._store.raise_epoch(session_id)
        name = audio_name(session_id, session.part)
        places = {KEY_STORE: await asyncio.to_thread(self._vault.destroy_audio, name)}
        destroyed_at = self._clock.now()
        places |= await self.sweep(session_id)
        await self._db.checkpoint()
        lanes = await self._store.lanes(session_id)
        before = [json.loads(one.body) for number, one in receipts.items() if number < session.part]
        statement = _statement(session, lanes, places, before) | {
            "captured_from": await self._captured_from(session),
            "destroyed_at": timestamp(destroyed_at),
            "epoch": epoch,
        }
        body = self._signer.sign(statement)
        receipt = await self._store.add_receipt(session_id, KIND_AUDIO, body, part=session.part)
        held, data = {"audio": AudioState.HELD}, {"receipt_id": receipt.id}
        await self._store.change(session_id, "audio.erased", data=data, only_from=held, audio=AudioState.ERASED)
        log.info("audio_erased", session_id=session_id, count=len(lanes), epoch=epoch)
        return receipt.body

    async def _captured_from(self, session: SessionRecord) -> str | None:
        at = session.captured_from if session.part == 1 else await self._store.part_began(session.id)
        return timestamp(at) if at else None

    def purge_receipt(self, purge: TranscriptPurge) -> bytes:
        """The receipt of a transcript's destruction; the store calls it at the end of a purge."""
        return self._signer.sign(
            {
                "kind": KIND_TRANSCRIPT,
                "session_id": purge.session_id,
                "clinic_id": purge.clinic_id,
                "reason": purge.reason,
                "held": {"segments": purge.segments, "gaps": purge.gaps, "drafts": purge.drafts},
                "places": [
                    {"place": KEY_STORE, "removed": int(purge.words_key_destroyed)},
                    {"place": "database", "removed": purge.segments + purge.gaps + purge.drafts},
                ],
                "committed_at": timestamp(purge.transcript_ready_at) if purge.transcript_ready_at else None,
                "destroyed_at": timestamp(purge.destroyed_at),
                "method": METHOD,
            }
        )


def _statement(
    session: SessionRecord, lanes: list[LaneRecord], places: Mapping[str, int], before: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What is stated of one part; ``before`` are the receipts of earlier parts."""
    stated = Counter[str]()
    for receipt in before:
        stated.update({lane["lane_id"]: lane["captured_ms"] for lane in receipt["held"]["lanes"]})
    held = [_lane(lane, stated[lane.id]) for lane in lanes]
    return {
        "kind": KIND_AUDIO,
        "session_id": session.id,
        "part": session.part,
        "clinic_id": session.clinic_id,
        "held": {"lanes": held, "chunks": sum(lane["chunks"] for lane in held)},
        "places": [{"place": place, "removed": removed} for place, removed in places.items()],
        "transcript": session.transcript.value,
        "committed_at": timestamp(session.transcript_ready_at) if session.transcript_ready_at else None,
        "method": METHOD,
    }


def _lane(lane: LaneRecord, stated_ms: int) -> dict[str, Any]:
    """What a receipt says of one lane; ``stated_ms`` of its captured sound stand on receipts of earlier parts.

    A tree that cannot be read is stated as such, never made up.
    """
    try:
        tree = MerkleLog.from_json(lane.hash_tree)
        chunks, root = tree.count, tree.root.hex()
    except (ValueError, TypeError):
        log.warning("hash_tree_unreadable", lane_id=lane.id)
        chunks, root = 0, "unreadable"
    return {
        "lane_id": lane.id,
        "chunks": chunks,
        "tree_root": root,
        "captured_ms": lane.ledger.captured // SAMPLES_PER_MS - stated_ms,
        "committed_through_ms": lane.committed_through_sample // SAMPLES_PER_MS,
    }
