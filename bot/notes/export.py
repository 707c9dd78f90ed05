"""The whole record of one client, or of a clinic, as a ZIP: JSON for machines, a page for each note for people.

    manifest.json            what this is, and how much of it there is
    clinic/                  of a clinic: its configurations, people, keys and endpoints, none with a secret
    sessions/<id>/           session.json, consents.json, inputs.json, note.json, note.html, transcript.json, receipts/
    receipts/                those that belong to no session that is there
    audit.jsonl              the audit's entries about it
    receipt.json             signed: who asked is on record, this is what they were given

It is given out while it is made, one session at a time. Each session is on record before anything of it is given out;
what cannot be put on record is not exported. No key, hash of a credential or secret of an endpoint is in it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

from bot.asr.transcript import to_json
from bot.clock import Clock
from bot.errors import NotFound, TranscriptPurged
from bot.notes.readable import note_page
from bot.notes.render import decode
from bot.notes.zipping import Packer
from bot.store.audit import AuditFilter, AuditStore
from bot.store.clinic_receipts import RECORD_TYPE, ClinicReceiptStore
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.endpoints import EndpointStore
from bot.store.holds import HoldStore, who_asks
from bot.store.keys import KeyStore
from bot.store.receipts import ReceiptSigner, canonical, timestamp
from bot.store.records import NoteRecord, SessionRecord
from bot.store.sessions import SessionStore
from bot.store.users import UserStore
from bot.store.vault import Vault

SCHEMA = 1
"""Version of the files' form."""
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Export:
    """An export that is on record and may be given out."""

    clinic_id: str
    client_ref: str | None
    """None: the whole clinic."""
    session_ids: tuple[str, ...]
    """Of a client; a clinic's are read as they are given out."""
    with_shared: bool
    by: str
    """Who asked for it."""
    at: datetime

    @property
    def file_name(self) -> str:
        """A name for the file, without the client's reference: names of files are seen by many."""
        return f"quietnote-{'clinic' if self.client_ref is None else 'client'}-{self.at:%Y%m%d-%H%M%S}.zip"


class Exporter:
    """Exports records."""

    def __init__(self, store: SessionStore, db: Database, vault: Vault, signer: ReceiptSigner, clock: Clock) -> None:
        self._store = store
        self._db = db
        self._vault = vault
        self._signer = signer
        self._clock = clock
        self._audit = AuditStore(db, clock, signer)
        self._holds = HoldStore(db, clock, signer)
        self._receipts = ClinicReceiptStore(db)

    async def client(self, clinic_id: str, client_ref: str, *, with_shared: bool = False, by: str = "") -> Export:
        """Put the export of a client's record on record. Raises NotFound, StorageUnavailable.

        Sessions in which another client took part are in it only ``with_shared``.
        """
        found = await self._holds.sessions(clinic_id, client_ref, with_shared=with_shared)
        await self._audit.append(clinic_id, by, "client.exported", client_ref)
        return Export(clinic_id, client_ref, tuple(found), with_shared, who_asks(by), self._clock.now())

    async def clinic(self, clinic_id: str, *, by: str = "") -> Export:
        """Put the export of a clinic's records on record. Raises NotFound, StorageUnavailable."""
        await ClinicStore(self._db, self._clock).current(clinic_id)
        await self._audit.append(clinic_id, by, "clinic.exported", clinic_id)
        return Export(clinic_id, None, (), True, who_asks(by), self._clock.now())

    async def stream(self, export: Export) -> AsyncGenerator[bytes, None]:
        """The ZIP's bytes. What breaks off, as when the audit takes no more, leaves a ZIP without an end."""
        packer = Packer(export.at)
        sessions = notes = 0
        try:
            if export.client_ref is None:
                async for chunk in self._clinic(packer, export.clinic_id):
                    yield chunk
            async with aclosing(self._sessions(export)) as records:
                async for record in records:
                    sessions += 1
                    notes += record.note_id is not None
                    target, of = record.id, {"session_id": record.id}
                    await self._audit.append(export.clinic_id, export.by, "session.exported", target, **of)
                    async for chunk in self._session(packer, record):
                        yield chunk
            async with aclosing(self._clinic_receipts(packer, export)) as chunks:
                async for chunk in chunks:
                    yield chunk
            async with aclosing(packer.lines("audit.jsonl", self._entries(export))) as chunks:
                async for chunk in chunks:
                    yield chunk
            about = {"clinic_id": export.clinic_id, "client_ref": export.client_ref, "with_shared": export.with_shared}
            told = {"schema": SCHEMA, **about, "at": timestamp(export.at), "sessions": sessions, "notes": notes}
            yield await packer.json("manifest.json", told)
            files = {"count": packer.tree.count, "tree_root": packer.tree.root.hex()}
            made = {"kind": "export", **about, "at": timestamp(export.at), "sessions": sessions, "notes": notes}
            body = self._signer.sign(made | {"files": files}, kind=RECORD_TYPE)
            await self._receipts.add(export.clinic_id, "export", body, self._clock.now())
            yield await packer.file("receipt.json", body)
            yield packer.end()
        finally:
            packer.end()

    async def _sessions(self, export: Export) -> AsyncGenerator[SessionRecord, None]:
        for session_id in export.session_ids:
            try:
                yield await self._store.get(session_id, clinic_id=export.clinic_id)
            except NotFound:  # deleted since this began
                continue
        cursor: str | None = None
        while export.client_ref is None:
            found, cursor = await self._store.list(export.clinic_id, limit=_PAGE, cursor=cursor)
            for record in found:
                yield record
            if cursor is None:
                return

    async def _session(self, packer: Packer, record: SessionRecord) -> AsyncGenerator[bytes, None]:
        folder, store = f"sessions/{record.id}", self._store
        people = await store.participants(record.id)
        told = _plain(asdict(record))
        told |= {"participants": [_plain(asdict(one)) for one in people]}
        told |= {"lanes": [_plain(asdict(one)) for one in await store.lanes(record.id)]}
        yield await packer.json(f"{folder}/session.json", told)
        answers = await store.consents(record.id)
        texts = await store.consent_texts({one.text_sha256 for one in answers if one.text_sha256})
        given = {"answers": [_plain(asdict(one)) for one in answers], "texts": texts}
        yield await packer.json(f"{folder}/consents.json", given)
        yield await packer.json(f"{folder}/inputs.json", [asdict(one) for one in await store.inputs(record.id)])
        for receipt in await store.receipts(record.id):
            yield await packer.file(f"{folder}/receipts/{receipt.kind}-{receipt.id}.json", receipt.body)
        try:
            words = await store.transcript(record.id)
            named = {one.id: one.display_name for one in people}
            yield await packer.json(f"{folder}/transcript.json", to_json(words, named))
        except TranscriptPurged:
            pass
        try:
            note = await store.note_of(record.id)
        except NotFound:
            return
        yield await packer.json(f"{folder}/note.json", _note(note))
        page = _page_of(note, record)
        if page is not None:
            yield await packer.file(f"{folder}/note.html", page.encode())

    async def _clinic(self, packer: Packer, clinic_id: str) -> AsyncGenerator[bytes, None]:
        db, clock = self._db, self._clock
        for version in await ClinicStore(db, clock).versions(clinic_id):
            told = {"version": version.version, "author": version.author, "at": timestamp(version.created_at)}
            config = version.config.model_dump(mode="json")
            yield await packer.json(f"clinic/configuration-{version.version}.json", told | {"config": config})
        people = await UserStore(db, clock).list(clinic_id)
        yield await packer.json("clinic/people.json", [_plain(asdict(one)) for one in people])
        keys = await KeyStore(db, clock).list(clinic_id)
        yield await packer.json("clinic/keys.json", [key.as_json() for key in keys])
        hooks = await EndpointStore(db, self._vault, clock).endpoints(clinic_id)
        shown = [{"id": one.id, "url": one.url, "created_at": timestamp(one.created_at)} for one in hooks]
        yield await packer.json("clinic/webhooks.json", shown)
        holds = await self._holds.list(clinic_id)
        yield await packer.json("clinic/holds.json", [_plain(asdict(one)) for one in holds])

    async def _clinic_receipts(self, packer: Packer, export: Export) -> AsyncGenerator[bytes, None]:
        async for one in self._receipts.every(export.clinic_id):
            about = json.loads(one.body).get("client_ref")
            if export.client_ref in {None, about}:
                yield await packer.file(f"receipts/{one.kind}-{one.id}.json", one.body)

    async def _entries(self, export: Export) -> AsyncGenerator[bytes, None]:
        whole = AuditFilter(export.clinic_id)
        one_by_one = [AuditFilter(export.clinic_id, object=one) for one in (export.client_ref, *export.session_ids)]
        for wanted in [whole] if export.client_ref is None else one_by_one:
            async for entry in self._audit.every(wanted):
                yield canonical(entry.as_json())


def _note(note: NoteRecord) -> dict[str, Any]:
    facts = _plain({name: value for name, value in asdict(note).items() if name != "content"})
    return {**facts, "note": json.loads(note.content)}


def _page_of(note: NoteRecord, record: SessionRecord) -> str | None:
    try:
        draft = decode(note.content)
    except ValueError:  # a form that this version does not know: its JSON is there as it is
        return None
    facts = [
        ("Session", record.id),
        ("Appointment", record.appointment_external_id or ""),
        ("Ended", timestamp(record.ended_at) if record.ended_at else ""),
        ("State", note.state.value),
        ("Signed", timestamp(note.signed_at) if note.signed_at else ""),
        ("Signed by", note.signed_by or ""),
    ]
    return note_page(draft, "Session note", facts)


def _plain(value: Any) -> Any:
    """Values as JSON has them."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(one) for one in value)
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value
