"""Webhook endpoints, and what they were sent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bot.control.api.answers.base import NextCursor, Reply, Time


class Webhook(Reply):
    """A webhook endpoint."""

    id: str
    clinic_id: str
    url: str
    created_at: Time
    disabled_at: Time | None = Field(description="When it was switched off; null: it is on.")
    disabled_reason: Literal["gone"] | None = Field(description="`gone`: it answered 410.")
    old_secret_until: Time | None = Field(
        description="Until when messages are also signed with a secret that was replaced; null: with the newest only."
    )


class NewWebhook(Webhook):
    """An endpoint and its new secret, which no other answer shows."""

    secret: str = Field(pattern=r"^whsec_", description="What its messages are verified with (Standard Webhooks).")


class Webhooks(Reply):
    """The clinic's endpoints, the oldest first."""

    items: list[Webhook]
    next_cursor: NextCursor


class Delivery(Reply):
    """A message to an endpoint, and what came of it."""

    id: str = Field(description="Its `webhook-id`, the same at each attempt.")
    type: str = Field(description="What happened: its kind of event.")
    at: Time = Field(description="When it happened.")
    session_id: str | None = Field(description="Null for a test.")
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int = Field(ge=0)
    tried_at: Time | None = Field(description="The last attempt.")
    next_at: Time | None = Field(description="The next attempt, while it waits.")
    delivered_at: Time | None
    status: int | None = Field(description="HTTP status of the last answer; null: there was none.")
    error: (
        Literal[
            "malformed", "scheme", "port", "private", "not-found",
            "timeout", "tls", "no-connection", "broken-off", "fault",
        ]
        | None
    ) = Field(
        description="Why the last attempt had no answer: an address that may not be called (`malformed`, `scheme`, "
        "`port`, `private`), a name without one (`not-found`), or what came of calling it."
    )  # fmt: skip


class Deliveries(Reply):
    """A page of what an endpoint was sent, newest first."""

    items: list[Delivery]
    next_cursor: NextCursor
