"""Erasure receipts, and the keys that check them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Response

from bot.control.api import answers, views
from bot.control.api.deps import Called, Served, page
from bot.control.api.gives import gives
from bot.control.auth import session_for
from bot.control.capture import Action, permit
from bot.errors import NotFound

router = APIRouter(tags=["receipts"])


@router.get(
    "/v1/sessions/{session_id}/receipts",
    summary="List erasure receipts",
    responses=gives(answers.Receipts, NotFound),
)
async def receipts(session_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """What was destroyed and when; each receipt's exact signed bytes are at its ``href``."""
    await session_for(services, caller, session_id)
    permit(caller.actor, Action.READ_TRANSCRIPT)
    found = await services.store.receipts(session_id)
    await services.audit.append(caller.actor.clinic_id, "", "receipts.read", session_id, session_id=session_id)
    return page([views.receipt(record, json.loads(record.body)) for record in found], None)


@router.get(
    "/v1/sessions/{session_id}/receipts/{receipt_id}",
    summary="Download a receipt",
    responses=gives(answers.AudioReceipt | answers.TranscriptReceipt | answers.DraftReceipt, NotFound),
)
async def receipt(session_id: str, receipt_id: str, caller: Called, services: Served) -> Response:
    """The file as it was signed, for ``quietnote receipt verify``."""
    await session_for(services, caller, session_id)
    permit(caller.actor, Action.READ_TRANSCRIPT)
    for record in await services.store.receipts(session_id):
        if record.id == receipt_id:
            await services.audit.append(caller.actor.clinic_id, "", "receipt.read", record.id, session_id=session_id)
            name = f"quietnote-receipt-{record.kind}-{record.id}.json"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(record.body, media_type="application/json", headers=headers)
    raise NotFound


@router.get(
    "/.well-known/quietnote-receipt-keys.json",
    summary="Public keys of receipts",
    responses=gives(answers.ReceiptKeys),
)
async def keys(services: Served) -> dict[str, Any]:
    """A JSON Web Key Set with the Ed25519 keys this service signs receipts with."""
    return services.signer.public_keys()
