"""Webhooks by Standard Webhooks 1.0: thin signed messages, at least once, with the specification's retries.

A message holds ids and states, never a word that anybody said or wrote. What is to be delivered lies in the deliveries
table, so a restart loses nothing; each attempt is one request, and the next one is a time in that table.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from standardwebhooks.webhooks import Webhook

from bot.clock import Clock
from bot.errors import NotFound
from bot.events import SessionEvent
from bot.notes.addresses import AddressRefused, Resolve, check_url, look_up, target_of
from bot.store.webhook_store import PUBLIC_KINDS, DeliveryRecord, WebhookRecord, WebhookStore

log = structlog.get_logger()

RETRY_AFTER = tuple(timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""Wait before each further attempt, by the specification: 5 s, 5 and 30 min, 2, 5, 10, 14, 20 and 24 h."""
JITTER_SHARE = 0.1
"""Attempts come up to this share later, so that many do not come at once."""
ANSWER_WITHIN_S = 15.0
HOLD = timedelta(seconds=60)
"""How long a process that took a delivery may take over it; more than one whole attempt."""
AT_ONCE = 8
BATCH = 3 * AT_ONCE
"""Taken at once; three rounds that time out end before the hold does."""
GONE = 410
BUSY = frozenset({429, 502, 503, 504})

SAFE_KEYS = frozenset(
    {
        *("note_id", "inbox_id", "input_id", "receipt_id", "participant_id", "lane_id"),
        *("version", "kind", "state", "bot", "capture", "audio", "transcript", "note", "reason", "reasons"),
        *("end_reason", "pause_reasons", "segments", "count", "at_ms", "effective_at_ms", "from", "to", "slug"),
    }
)
"""Keys of an event's data that may leave the house."""
_ID_LIKE = re.compile(r"[A-Za-z0-9_.:\-]{0,128}")


class WebhookSender:
    """Queues events, delivers what is due. ``allow_private`` is for a network where every host is the clinic's own."""

    def __init__(
        self,
        store: WebhookStore,
        clock: Clock,
        *,
        allow_private: bool = False,
        resolve: Resolve = look_up,
        answer_within_s: float = ANSWER_WITHIN_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._allow_private = allow_private
        self._resolve = resolve
        self._answer_within_s = answer_within_s
        self._tls = tls
        self._client: httpx.AsyncClient | None = None
        self._caught_up = False

    async def register(self, clinic_id: str, url: str) -> WebhookRecord:
        """Add an endpoint; its secret is shown this once. Raises ConfigInvalid for an address that cannot be called."""
        check_url(url, allow_private=self._allow_private)
        return await self._store.add(clinic_id, url)

    async def queue(self, event: SessionEvent) -> int:
        """Make the event's deliveries; how many are new. The same event again makes none."""
        return await self._store.queue(event) if event.kind in PUBLIC_KINDS else 0

    async def deliver_due(self) -> int:
        """Try everything that is due once; how many were taken by their receivers.

        The first call also queues what a crash kept from being queued.
        """
        if not self._caught_up:
            while await self._store.catch_up():
                pass
            self._caught_up = True
        delivered = 0
        slots = asyncio.Semaphore(AT_ONCE)
        while due := await self._store.claim(limit=BATCH, hold=HOLD):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._within(slots, delivery)) for delivery in due]
            delivered += sum(task.result() for task in tasks)
            if len(due) < BATCH:
                break
        return delivered

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _within(self, slots: asyncio.Semaphore, delivery: DeliveryRecord) -> bool:
        async with slots:
            try:
                return await self._attempt(delivery)
            except Exception as error:  # noqa: BLE001  it is tried again when its hold has passed
                log.warning("webhook_attempt_failed", delivery_id=delivery.id, error=type(error).__name__)
                return False

    async def _attempt(self, delivery: DeliveryRecord) -> bool:
        try:
            hook = await self._store.get(delivery.webhook_id)
        except NotFound:
            return False
        if hook.disabled_at is not None:
            await self._store.failed(delivery.id, delivery.last_status, next_at=None)
            return False
        status, wait_s = await self._send(hook, delivery)
        if status is not None and 200 <= status < 300:
            await self._store.delivered(delivery.id, status)
            return True
        if status == GONE:
            await self._store.failed(delivery.id, status, next_at=None)
            await self._store.disable(hook.id)
            log.info("webhook_disabled", webhook_id=hook.id, status=status)
            return False
        next_at = next_attempt(delivery.id, delivery.attempts, self._clock.now(), wait_s)
        await self._store.failed(delivery.id, status, next_at=next_at)
        if next_at is None:
            log.warning("webhook_given_up", delivery_id=delivery.id, webhook_id=hook.id, attempts=delivery.attempts + 1)
        return False

    async def _send(self, hook: WebhookRecord, delivery: DeliveryRecord) -> tuple[int | None, float]:
        """One request: the answer's status (None without an answer), and for how long it asks not to be called."""
        body = json.dumps(message(hook.clinic_id, delivery.event), separators=(",", ":"), sort_keys=True)
        now = self._clock.now()
        try:
            async with asyncio.timeout(self._answer_within_s):
                target = await target_of(hook.url, self._resolve, allow_private=self._allow_private)
                request = self._http().build_request(
                    "POST",
                    target.url,
                    content=body.encode(),
                    headers={
                        "host": target.authority,
                        "content-type": "application/json",
                        "user-agent": "Quietnote-Webhooks/1",
                        "webhook-id": delivery.id,
                        "webhook-timestamp": str(int(now.timestamp())),
                        "webhook-signature": Webhook(hook.secret).sign(delivery.id, now.astimezone(UTC), body),
                    },
                    extensions={"sni_hostname": target.host},
                )
                answer = await self._http().send(request, stream=True)  # nothing of the answer's body is read
                await answer.aclose()
        except AddressRefused as error:
            log.warning("webhook_address_refused", webhook_id=hook.id, reason=error.reason)
            return None, 0.0
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            log.info("webhook_no_answer", webhook_id=hook.id, delivery_id=delivery.id, error=type(error).__name__)
            return None, 0.0
        return answer.status_code, _retry_after_s(answer) if answer.status_code in BUSY else 0.0

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # no proxy of the environment: it would connect to an address nobody judged; no redirects: the same
            self._client = httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                timeout=self._answer_within_s,
                limits=_NO_REUSE,
                verify=self._tls or True,
            )
        return self._client


_NO_REUSE = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
"""Each request connects anew: a pooled connection is known by its address, and names may share one."""


def message(clinic_id: str, event: SessionEvent) -> dict[str, Any]:
    """The body: what happened, when, to which session. Ids, numbers and states only."""
    data = {key: value for key, value in event.data.items() if key in SAFE_KEYS and _is_safe(value)}
    return {
        "type": event.kind,
        "timestamp": event.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {**data, "session_id": event.session_id, "clinic_id": clinic_id, "seq": event.seq},
    }


def next_attempt(delivery_id: str, attempts: int, now: datetime, wait_s: float = 0.0) -> datetime | None:
    """When to try again after ``attempts`` earlier attempts and the one that just failed; None to give up."""
    if attempts >= len(RETRY_AFTER):
        return None
    spread = int(hashlib.sha256(f"{delivery_id}:{attempts}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    wait = RETRY_AFTER[attempts] * (1 + JITTER_SHARE * spread)
    return now + max(wait, timedelta(seconds=wait_s))


def _retry_after_s(answer: httpx.Response) -> float:
    asked = answer.headers.get("retry-after", "")
    return float(min(int(asked), 86_400)) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0.0


def _is_safe(value: object) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        return _ID_LIKE.fullmatch(value) is not None
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) and _is_safe(item) for item in value)
    return False
