"""Whole records, for whoever administers a clinic: clients, exports, legal holds, deletion, receipts."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import Responses, gives
from bot.control.auth import Caller, need_scope
from bot.control.capture import ActorKind
from bot.errors import Forbidden, NotFound, PreconditionFailed, SessionLocked
from bot.notes.export import Export, Exporter
from bot.store.clinic_receipts import ClinicReceipt
from bot.store.holds import ClientSummary, Hold

router = APIRouter(prefix="/v1", tags=["records"])

ZIP = "application/zip"
EveryReceipt = (
    answers.AudioReceipt
    | answers.TranscriptReceipt
    | answers.DraftReceipt
    | answers.DeletionReceipt
    | answers.HoldReceipt
    | answers.ExportReceipt
)
GIVES_ZIP: Responses = {
    200: {"content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}, "description": "Given out as made."}
}
ADMIN = "admin"
Ref = Annotated[str, Path(description="The client's reference: `client_ref`, or without one their id.")]
WithShared = Annotated[bool, Query(description="With sessions in which another client took part too.")]


@router.get("/clients/{client_ref}", summary="What there is of a client", responses=gives(answers.Client, NotFound))
async def client(client_ref: Ref, caller: Called, services: Served) -> dict[str, Any]:
    """Counts, of one clinic. `sessions` is what a deletion is asked for with."""
    clinic_id = _administers(caller)
    return client_view(await services.holds.client(clinic_id, client_ref))


@router.delete(
    "/clients/{client_ref}",
    summary="Delete a client's whole record",
    responses=gives(answers.ClinicReceipt, NotFound, SessionLocked, PreconditionFailed),
)
async def delete_client(
    client_ref: Ref,
    caller: Called,
    services: Served,
    sessions: Annotated[int, Query(ge=0, le=1_000_000, description="How many sessions there are, as it was read.")],
    with_shared: WithShared = False,
) -> dict[str, Any]:
    """Sessions, names, answers on consent, typed text, notes: all of it, for good. The answer is the signed receipt.

    Again, it gives the same receipt. Refused while a legal hold stands on any of it, while a session is under way
    (`session-locked`, with `sessions`), and where another client took part, unless `with_shared` says to delete those
    sessions too. What stays are ids: the audit and the receipts.
    """
    clinic_id = _administers(caller)
    done = await services.deleter.client(clinic_id, client_ref, expect=sessions, with_shared=with_shared)
    return receipt_view(done)


@router.get(
    "/clients/{client_ref}/export",
    summary="Export a client's whole record",
    responses=gives(None, NotFound) | GIVES_ZIP,
    response_class=Response,
)
async def export_client(
    client_ref: Ref, caller: Called, services: Served, with_shared: WithShared = False
) -> Response:
    """Notes with their evidence, consent, receipts, session facts, audit entries; JSON, and a page for each note."""
    clinic_id = _administers(caller)
    export = await services.exporter.client(clinic_id, client_ref, with_shared=with_shared)
    return _zip(services.exporter, export)


@router.get(
    "/clinics/{clinic_id}/export",
    summary="Export a whole clinic",
    responses=gives(None, NotFound) | GIVES_ZIP,
    response_class=Response,
)
async def export_clinic(clinic_id: str, caller: Called, services: Served) -> Response:
    """The record of every client, the configuration, people and keys (no secret of any), receipts and audit."""
    if _administers(caller) != clinic_id:
        raise NotFound("There is no such clinic.")
    return _zip(services.exporter, await services.exporter.clinic(clinic_id))


@router.post(
    "/holds",
    status_code=201,
    summary="Place a legal hold",
    responses=gives(answers.Hold, NotFound, SessionLocked, status=201),
)
async def place(body: bodies.HoldBody, caller: Called, services: Served, once: Once) -> Response:
    """On everything of one client, or on one session: neither retention nor a deletion takes its notes while it stands.

    Sound and transcript go on their day all the same: that is what clients were promised. Export them before.
    """
    clinic_id = _administers(caller)

    async def work() -> Answer:
        held, receipt = await services.holds.place(
            clinic_id, client_ref=body.client_ref, session_id=body.session_id, matter=body.matter
        )
        return 201, hold_view(held) | {"receipt_id": receipt.id}

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.get("/holds", summary="List legal holds, newest first", responses=gives(answers.Holds))
async def holds(
    caller: Called,
    services: Served,
    standing: Annotated[bool, Query(description="Only those that stand.")] = False,
) -> dict[str, Any]:
    """Of the caller's clinic, lifted ones too."""
    found = await services.holds.list(_administers(caller), standing=standing)
    return page([hold_view(one) for one in found], None)


@router.delete("/holds/{hold_id}", summary="Lift a legal hold", responses=gives(answers.Hold, NotFound))
async def lift(hold_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """It stays in the list. Again: no change."""
    held, receipt = await services.holds.lift(hold_id, clinic_id=_administers(caller))
    return hold_view(held) | {"receipt_id": receipt.id if receipt is not None else None}


@router.get("/receipts", summary="List the clinic's receipts, newest first", responses=gives(answers.ClinicReceipts))
async def receipts(caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Of deletions, exports and holds, and those of sessions that were deleted. Reading them is on record."""
    clinic_id = _administers(caller)
    found, following = await services.deleter.receipts.page(clinic_id, limit=limit, cursor=cursor)
    await services.audit.append(clinic_id, "", "receipts.read", clinic_id)
    return page([receipt_view(one) for one in found], following)


@router.get(
    "/receipts/{receipt_id}",
    summary="Download one of the clinic's receipts",
    responses=gives(EveryReceipt, NotFound),
)
async def receipt(receipt_id: str, caller: Called, services: Served) -> Response:
    """The file as it was signed, for `quietnote receipt verify`."""
    clinic_id = _administers(caller)
    found = await services.deleter.receipts.get(receipt_id, clinic_id=clinic_id)
    await services.audit.append(clinic_id, "", "receipt.read", found.id, session_id=found.session_id)
    name = f"quietnote-receipt-{found.kind}-{found.id}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(found.body, media_type="application/json", headers=headers)


def _administers(caller: Caller) -> str:
    """The clinic that the caller administers. Raises Forbidden."""
    if caller.actor.kind is ActorKind.PARTICIPANT or (caller.user is not None and caller.user.role != ADMIN):
        raise Forbidden("Only an administrator of the clinic does this.")
    need_scope(caller, ADMIN)
    return caller.actor.clinic_id


def _zip(exporter: Exporter, export: Export) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{export.file_name}"', "Cache-Control": "no-store"}
    return StreamingResponse(exporter.stream(export), media_type=ZIP, headers=headers)


def client_view(found: ClientSummary) -> dict[str, Any]:
    """What there is of a client."""
    return {
        "client_ref": found.client_ref,
        "sessions": found.sessions,
        "shared": found.shared,
        "notes": found.notes,
        "under_way": found.under_way,
        "held": found.held,
        "first_at": views.when(found.first_at),
        "last_at": views.when(found.last_at),
    }


def hold_view(one: Hold) -> dict[str, Any]:
    """A legal hold."""
    return {
        "id": one.id,
        "client_ref": one.client_ref,
        "session_id": one.session_id,
        "matter": one.matter,
        "placed_by": one.placed_by,
        "placed_at": views.when(one.placed_at),
        "lifted_by": one.lifted_by,
        "lifted_at": views.when(one.lifted_at),
    }


def receipt_view(one: ClinicReceipt) -> dict[str, Any]:
    """A receipt: where its exact bytes are, and what it says."""
    return {
        "id": one.id,
        "session_id": one.session_id or None,
        "kind": one.kind,
        "created_at": views.when(one.created_at),
        "href": f"/v1/receipts/{one.id}",
        "receipt": json.loads(one.body),
    }
