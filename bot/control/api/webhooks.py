"""Webhook endpoints: added, listed, deleted, tried out, their secrets replaced, and what they were sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response

from bot.control.api import answers, bodies, views
from bot.control.api.deps import Answer, Called, Cursor, Limit, Once, Served, page
from bot.control.api.gives import gives
from bot.control.auth import Caller, need_scope
from bot.control.capture import ActorKind
from bot.control.services import Services
from bot.errors import Forbidden, InvalidTransition, NotFound
from bot.store.webhook_store import DeliveryRecord, WebhookRecord

router = APIRouter(prefix="/v1/clinics/{clinic_id}/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    summary="Add a webhook endpoint",
    responses=gives(answers.NewWebhook, NotFound, InvalidTransition, status=201),
)
async def add(clinic_id: str, body: bodies.WebhookBody, caller: Called, services: Served, once: Once) -> Response:
    """It is told of what happens from now on. Its secret is in this answer and in no other."""
    _administers(caller, clinic_id)

    async def work() -> Answer:
        hook = await services.webhooks.register(clinic_id, body.url)
        return 201, webhook_view(services, hook) | {"secret": hook.secret}

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.get("", summary="List webhook endpoints, the oldest first", responses=gives(answers.Webhooks, NotFound))
async def endpoints(clinic_id: str, caller: Called, services: Served) -> dict[str, Any]:
    """A clinic has ten at most, so that this is one page."""
    _administers(caller, clinic_id)
    found = await services.webhooks.store.endpoints(clinic_id)
    return page([webhook_view(services, hook) for hook in found], None)


@router.delete(
    "/{webhook_id}", status_code=204, summary="Delete a webhook endpoint", responses=gives(None, NotFound, status=204)
)
async def delete(clinic_id: str, webhook_id: str, caller: Called, services: Served) -> Response:
    """Its secret, what waits for it and its log of deliveries go with it."""
    _administers(caller, clinic_id)
    await services.webhooks.store.remove(webhook_id, clinic_id=clinic_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/rotate",
    summary="Replace an endpoint's secret",
    responses=gives(answers.NewWebhook, NotFound, InvalidTransition),
)
async def rotate(
    clinic_id: str,
    webhook_id: str,
    caller: Called,
    services: Served,
    once: Once,
    body: bodies.RotateBody | None = None,
) -> Response:
    """The new secret is in this answer and in no other.

    For `overlap_hours` each message carries a signature by either secret; with 0 the old one ends at once.
    """
    _administers(caller, clinic_id)
    overlap = timedelta(hours=(body or bodies.RotateBody()).overlap_hours)

    async def work() -> Answer:
        hook = await services.webhooks.store.rotate(webhook_id, clinic_id=clinic_id, overlap=overlap)
        return 200, webhook_view(services, hook) | {"secret": hook.secret}

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.post(
    "/{webhook_id}/enable",
    summary="Switch an endpoint on again",
    responses=gives(answers.Webhook, NotFound),
)
async def enable(clinic_id: str, webhook_id: str, caller: Called, services: Served, once: Once) -> Response:
    """One that answered 410 was switched off. It is told of what happens from now on; what it missed may be replayed.

    What happened while it was off was not queued for it. Again: no change.
    """
    _administers(caller, clinic_id)

    async def work() -> Answer:
        hook = await services.webhooks.store.enable(webhook_id, clinic_id=clinic_id)
        return 200, webhook_view(services, hook)

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send an endpoint a test message",
    responses=gives(answers.Delivery, NotFound, InvalidTransition, status=202),
)
async def test(clinic_id: str, webhook_id: str, caller: Called, services: Served, once: Once) -> Response:
    """A signed `webhook.test`, by the way of every other message. What came of it is in the log of deliveries."""
    _administers(caller, clinic_id)

    async def work() -> Answer:
        sent = await services.webhooks.store.add_test(webhook_id, clinic_id=clinic_id)
        services.webhooks.wake()
        return 202, delivery_view(sent)

    return await once(work, clinic_id=clinic_id, who=caller.who)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List what an endpoint was sent, newest first",
    responses=gives(answers.Deliveries, NotFound),
)
async def deliveries(
    clinic_id: str, webhook_id: str, caller: Called, services: Served, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """Delivered, waiting for its next attempt, or given up. No body is kept; entries go 30 days after their event."""
    _administers(caller, clinic_id)
    store = services.webhooks.store
    await store.get(webhook_id, clinic_id=clinic_id)
    found, following = await store.log(webhook_id, limit=limit, cursor=cursor)
    return page([delivery_view(one) for one in found], following)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Deliver a message again",
    responses=gives(answers.Delivery, NotFound, InvalidTransition, status=202),
)
async def replay(
    clinic_id: str, webhook_id: str, delivery_id: str, caller: Called, services: Served, once: Once
) -> Response:
    """At once, whatever became of it, with the same `webhook-id`; if need be by the whole schedule of retries."""
    _administers(caller, clinic_id)

    async def work() -> Answer:
        again = await services.webhooks.store.replay(delivery_id, webhook_id=webhook_id, clinic_id=clinic_id)
        services.webhooks.wake()
        return 202, delivery_view(again)

    return await once(work, clinic_id=clinic_id, who=caller.who)


def _administers(caller: Caller, clinic_id: str) -> None:
    """Raise Forbidden or NotFound unless the caller administers the clinic: an admin, or a key with that scope."""
    if caller.actor.kind is ActorKind.PARTICIPANT:
        raise Forbidden("A session token does not reach the clinic's webhooks.")
    if caller.user is not None and caller.user.role != "admin":
        raise Forbidden("Webhooks are an administrator's to see to.")
    need_scope(caller, "admin")
    if clinic_id != caller.actor.clinic_id:
        raise NotFound("There is no such clinic.")


def webhook_view(services: Services, hook: WebhookRecord) -> dict[str, Any]:
    """An endpoint as its administrator reads it: without its secret."""
    return {
        "id": hook.id,
        "clinic_id": hook.clinic_id,
        "url": hook.url,
        "created_at": views.when(hook.created_at),
        "disabled_at": views.when(hook.disabled_at),
        "disabled_reason": hook.disabled_reason,
        "old_secret_until": views.when(hook.overlap_until(services.clock.now())),
    }


def delivery_view(one: DeliveryRecord) -> dict[str, Any]:
    """A line of the log of deliveries."""
    return {
        "id": one.id,
        "type": one.kind,
        "at": views.when(one.at),
        "session_id": one.session_id,
        "state": "waiting" if one.next_at is not None else "delivered" if one.delivered_at is not None else "given_up",
        "attempts": one.attempts,
        "tried_at": views.when(one.tried_at),
        "next_at": views.when(one.next_at),
        "delivered_at": views.when(one.delivered_at),
        "status": one.last_status,
        "error": one.last_error,
    }
