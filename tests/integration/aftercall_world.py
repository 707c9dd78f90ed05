"""A whole store with sealed audio in it, a scripted recogniser and writer, and places at which a process can be killed.

Run as a program it makes the session of a data folder, or takes it up again, carries the after-call workflow to its end
and prints what came of it. With ``PAUSE_AT`` set it says ``at <place>`` there and waits to be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.aftercall import AfterCall, AfterCallServices
from bot.clinics import ClinicConfig, NoteChoice
from bot.clock import Clock, SystemClock
from bot.durable import Others
from bot.errors import QuietnoteError
from bot.events import (
    AudioState,
    CaptureState,
    Ledger,
    NoteDraft,
    NoteRequest,
    NoteSection,
    NoteSentence,
    Role,
    Segment,
    SentenceStatus,
    TranscriptState,
)
from bot.notes.contract import NoteWriter, Progress
from bot.store.db import Database
from bot.store.erase import Eraser
from bot.store.models import ClinicRow, ClinicVersionRow
from bot.store.receipts import MerkleLog, ReceiptSigner
from bot.store.records import NewParticipant, NewSession
from bot.store.sessions import SessionStore
from bot.store.vault import FileVault
from bot.store.workflowdb import engine_url, stable_executor_id

SAMPLES = 16_000
"""In each chunk: one second."""
PLACES = (
    "drain",
    "before-erase",
    "keys-gone",
    "swept",
    "receipt-stored",
    "before-draft",
    "draft-saved",
    "delivered",
)
"""Where a process can be killed, in the order a session passes them."""


class ScriptedWriter(NoteWriter):
    """Fails as often as it is told to, then writes a note of one sentence."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def write(self, request: NoteRequest, progress: Progress) -> NoteDraft:
        """Write, or raise the next planned failure."""
        self._world.written += 1
        await self._world.place("before-draft")
        progress("sections", 1, 2)
        if self._world.writer_failures:
            raise self._world.writer_failures.pop(0)
        words = " ".join([*(s.text for s in request.transcript.segments), *(i.text for i in request.inputs)])
        sentence = NoteSentence("s1", words, SentenceStatus.SUPPORTED)
        return NoteDraft("soap", 1, "scripted/1", (NoteSection("subjective", "Subjective", (sentence,)),))


@dataclass(slots=True)
class World:
    """Everything the after-call workflow stands on, in one folder."""

    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    database_url: str = ""
    """PostgreSQL; empty: SQLite in the folder."""
    process: str | None = None
    others: Others | None = None
    """With the name of this process: what it knows of those that share the database."""
    pause_at: str | None = None
    on_place: Callable[[str], Awaitable[None]] | None = None
    writer_failures: list[Exception] = field(default_factory=list)
    recogniser_failures: list[Exception] = field(default_factory=list)
    sweeper_failures: list[Exception] = field(default_factory=list)
    told: list[tuple[str, int, int]] = field(default_factory=list)
    written: int = 0
    recognised: list[str] = field(default_factory=list)
    db: Database = field(init=False)
    vault: FileVault = field(init=False)
    signer: ReceiptSigner = field(init=False)
    store: SessionStore = field(init=False)
    eraser: Eraser = field(init=False)
    aftercall: AfterCall = field(init=False)

    async def open(self) -> None:
        """Open the store, and make the clinic at first."""
        self.db = Database(self.database_url or f"sqlite+aiosqlite:///{self.folder / 'quietnote.db'}")
        await self.db.open()
        self.vault = FileVault(self.folder / "vault", b"m" * 32)
        self.signer = ReceiptSigner.load(self.folder / "vault")
        self.store = SessionStore(self.db, self.vault, self.clock, process=self.process)
        self.eraser = Eraser(self.store, self.db, self.vault, self.signer, self.clock)
        self.store.purge_receipt = self.eraser.purge_receipt
        self.eraser.register("recogniser", self._sweep_recogniser)
        self.eraser.register("spool", self._sweep_spool)
        self._put_places_into_the_store()
        config = ClinicConfig(id="demo", name="Demo").model_dump(mode="json")
        async with self.db.write() as db:
            if await db.get(ClinicRow, "demo") is None:
                now = self.clock.now()
                db.add(ClinicRow(id="demo", version=1))
                await db.flush()
                db.add(ClinicVersionRow(clinic_id="demo", version=1, config=config, author="test", created_at=now))

    async def launch(self) -> None:
        """Start the workflow engine."""
        services = AfterCallServices(
            store=self.store,
            eraser=self.eraser,
            recognise_rest=self._recognise_rest,
            writer_for=self._writer_for,
            check=lambda draft, request: draft,
            encode=lambda draft: json.dumps(draft.sections[0].sentences[0].text).encode(),
            end_unrecorded=self._end_unrecorded,
            progress=self._progress,
            deliver=lambda session_id: self.place("delivered"),
        )
        self.aftercall = AfterCall(
            services,
            database_url=engine_url(self.database_url, self.folder),
            executor_id=self.process or stable_executor_id(self.folder),
            retry_after_s=0.01,
            others=self.others,
        )
        await self.aftercall.launch()

    async def close(self) -> None:
        """End everything."""
        await self.aftercall.close()
        await self.db.close()

    # -- a session -----------------------------------------------------------------------------------------------------

    async def capture(self, seconds: int = 3, committed: int = 1, *, words: str = "needle") -> str:
        """A session with two captured lanes of ``seconds`` chunks, of which the first ``committed`` are in words."""
        people = (NewParticipant("doc", Role.CLINICIAN, "Dr Who"), NewParticipant("pat", Role.CLIENT, "Pat"))
        session = await self.store.create(NewSession("demo", clinician_user_id="u1", participants=people))
        for state in (CaptureState.CONSENT_PENDING, CaptureState.CAPTURING):
            await self.store.change(session.id, f"capture.{state.value}", capture=state)
        await self.store.change(
            session.id,
            "capture.started",
            data={"effective_at_ms": 0},
            audio=AudioState.HELD,
            transcript=TranscriptState.LIVE,
            captured_from=self.clock.now(),
        )
        for person in people:
            lane = await self.store.ensure_lane(session.id, person.id, person.role)
            tree = MerkleLog()
            for index in range(seconds):
                text = f"{words} {person.id} {index}" if words else ""
                tree = tree.append(self._write_chunk(session.id, lane.id, index, text.encode()))
            samples = seconds * SAMPLES
            ledger = Ledger(elapsed=samples, captured=samples, speech=samples)
            await self.store.save_ledger(session.id, lane.id, ledger, tree.to_json())
        for _ in range(committed):
            await self._recognise(session.id, limit=2)
        self.recognised.clear()
        return session.id

    async def finish(self, session_id: str, *, discard: bool = False) -> None:
        """End the capture."""
        state = CaptureState.DISCARDED if discard else CaptureState.FINISHED
        await self.store.change(session_id, f"capture.{state.value}", capture=state, ended_at=self.clock.now())

    async def typed(self, *texts: str) -> str:
        """A session that was never recorded, for which something was typed."""
        people = (NewParticipant("doc", Role.CLINICIAN, "Dr Who"), NewParticipant("pat", Role.CLIENT, "Pat"))
        session = await self.store.create(NewSession("demo", clinician_user_id="u1", participants=people))
        for text in texts:
            await self.store.add_input(session.id, "clinician_summary", text, "u1")
        return session.id

    def chunks(self, session_id: str) -> list[Path]:
        """The sealed chunks that are left."""
        return sorted((self.folder / "spool" / session_id).rglob("*.chunk"))

    def _write_chunk(self, session_id: str, lane_id: str, index: int, plain: bytes) -> bytes:
        path = self.folder / "spool" / session_id / lane_id / f"{index:06}.chunk"
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed = AESGCM(self.vault.audio_key(session_id, lane_id, index)).encrypt(b"\0" * 12, plain, path.name.encode())
        path.write_bytes(sealed)
        return sealed

    # -- what the workflow is given ------------------------------------------------------------------------------------

    async def _recognise_rest(self, session_id: str) -> int:
        if self.recogniser_failures:
            raise self.recogniser_failures.pop(0)
        return await self._recognise(session_id)

    async def _recognise(self, session_id: str, limit: int = 10_000) -> int:
        done = 0
        people = {person.id: person for person in await self.store.participants(session_id)}
        for path in sorted(self.chunks(session_id), key=lambda path: (path.name, path.parent.name)):
            lane = next(lane for lane in await self.store.lanes(session_id) if lane.id == path.parent.name)
            index = int(path.stem)
            if index * SAMPLES < lane.committed_through_sample or done == limit:
                continue
            key = self.vault.audio_key(session_id, lane.id, index)
            text = AESGCM(key).decrypt(b"\0" * 12, path.read_bytes(), path.name.encode()).decode()
            self.recognised.append(text)
            segment = Segment(
                segment_id=f"seg-{lane.id[-24:]}-{index}",
                rev=1,
                final=True,
                lane_id=lane.id,
                participant_id=lane.participant_id,
                role=people[lane.participant_id].role,
                start_ms=index * 1000,
                end_ms=index * 1000 + 1000,
                text=text,
                committed_through_sample=(index + 1) * SAMPLES,
            )
            await self.store.commit_final(session_id, segment)
            done += 1
            await self.place("drain")
        return done

    async def _end_unrecorded(self, session_id: str) -> None:
        await self.finish(session_id)
        await self.place("ended")

    def _writer_for(self, choice: NoteChoice) -> NoteWriter:
        return ScriptedWriter(self)

    async def _progress(self, session_id: str, step: str, done: int, total: int) -> None:
        self.told.append((step, done, total))

    async def _sweep_recogniser(self, session_id: str) -> int:
        await self.place("keys-gone")
        if self.sweeper_failures:
            raise self.sweeper_failures.pop(0)
        return 0

    async def _sweep_spool(self, session_id: str) -> int:
        removed = self.chunks(session_id)
        for path in removed:
            path.unlink()
        await self.place("swept")
        return len(removed)

    def _put_places_into_the_store(self) -> None:
        erase, add_receipt, save_note = self.eraser.erase_audio, self.store.add_receipt, self.store.save_note
        queue_note = self.store.queue_note

        async def erase_audio(session_id: str, **named: Any) -> bytes | None:
            await self.place("before-erase")
            return await erase(session_id, **named)

        async def add_receipt_then(*arguments: Any, **named: Any) -> Any:
            receipt = await add_receipt(*arguments, **named)
            await self.place("receipt-stored")
            return receipt

        async def save_note_then(*arguments: Any, **named: Any) -> Any:
            note = await save_note(*arguments, **named)
            await self.place("draft-saved")
            return note

        async def queue_note_then(session_id: str, *, by: str) -> Any:
            record = await queue_note(session_id, by=by)
            await self.place("queued")
            return record

        steps = (add_receipt_then, save_note_then, queue_note_then)
        for owner, method in ((self.eraser, erase_audio), *((self.store, step) for step in steps)):
            setattr(owner, method.__name__.removesuffix("_then"), method)

    async def place(self, name: str) -> None:
        """The process has come to ``name``."""
        if self.on_place is not None:
            await self.on_place(name)
        if name == self.pause_at:
            sys.stdout.write(f"at {name}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


async def ask_for_a_note(folder: Path) -> None:
    """One life of the process, of a session that was not recorded: what a life before left undone goes on by itself."""
    world = World(folder)
    await world.open()
    await world.launch()
    noted, world.pause_at = folder / "session", os.environ.get("PAUSE_AT")
    if noted.exists():
        session_id = noted.read_text()
        for record in await world.store.unfinished():  # as the live sessions do at a start
            await world.aftercall.begin(record.id)
        await world.aftercall.sweep()
    else:
        session_id = await world.typed("needle")
        noted.write_text(session_id)
        await world.aftercall.write_note(session_id, "u1")
    await world.aftercall.wait(session_id)
    record = await world.store.get(session_id)
    note, (items, _) = await world.store.note_of(session_id), await world.store.inbox("demo")
    result = {
        "states": [record.capture, record.audio, record.transcript, record.note],
        "inbox": [item.kind for item in items],
        "kinds": [event.kind for event in await world.store.events(session_id, 0)],
        "note": json.loads(note.content),
        "version": note.version,
    }
    await world.close()
    sys.stdout.write(json.dumps(result) + "\n")


async def main(folder: Path) -> None:
    """One life of the process."""
    world = World(folder)
    await world.open()
    await world.launch()
    noted = folder / "session"
    if noted.exists():
        session_id = noted.read_text()
        await world.aftercall.sweep()
    else:
        session_id = await world.capture()
        await world.finish(session_id)
        noted.write_text(session_id)
    world.pause_at = os.environ.get("PAUSE_AT")
    await world.aftercall.begin(session_id)
    await world.aftercall.wait(session_id)
    record = await world.store.get(session_id)
    items, _ = await world.store.inbox("demo")
    events = await world.store.events(session_id, 0)
    receipts = await world.store.receipts(session_id)
    result = {
        "session_id": session_id,
        "states": [record.audio, record.transcript, record.note],
        "segments": [segment.text for segment in (await world.store.transcript(session_id)).segments],
        "inbox": [item.kind for item in items],
        "kinds": [event.kind for event in events],
        "receipts": [receipt.body.decode() for receipt in receipts],
        "chunks": len(world.chunks(session_id)),
        "note": json.loads((await world.store.note_of(session_id)).content),
        "version": (await world.store.note_of(session_id)).version,
        "keys": world.signer.public_keys(),
    }
    await world.close()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    try:
        asyncio.run((main if len(sys.argv) == 2 else ask_for_a_note)(Path(sys.argv[1])))
    except QuietnoteError as error:
        sys.exit(type(error).__name__)
