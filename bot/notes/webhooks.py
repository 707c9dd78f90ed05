"""Webhooks by Standard Webhooks 1.0: thin signed messages, at least once, with the specification's retries.

A message holds ids and states, never a word that anybody said or wrote. What is to be delivered lies in the deliveries
table, so a restart loses nothing, and nothing here asks Redis; each attempt is one request, and the next one is a time
in that table.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from standardwebhooks.webhooks import Webhook

from bot.clock import Clock
from bot.errors import NotFound, QuietnoteError
from bot.events import SessionEvent
from bot.notes.addresses import MOST_TRIED, AddressRefused, Resolve, Resolver, Target, check_url, target_of
from bot.store.webhook_store import PUBLIC_KINDS, DeliveryRecord, WebhookRecord, WebhookStore

log = structlog.get_logger()

RETRY_AFTER = tuple(timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""Wait before each further attempt, by the specification: 5 s, 5 and 30 min, 2, 5, 10, 14, 20 and 24 h."""
JITTER_SHARE = 0.1
"""Attempts come up to this share later, so that many do not come at once."""
ANSWER_WITHIN_S = 15.0
HOLD = timedelta(seconds=60)
"""How long a process that took a delivery may take over it; more than one whole attempt."""
AT_ONCE = 16
EACH = 2
"""Of one endpoint at once: one that answers slowly takes no more of the places than these."""
LOOK_AGAIN_S = 5.0
"""Longest wait before it is seen that something has become due."""
TEND_EVERY_S = 60.0
OVERLAP = timedelta(minutes=10)
"""How far a later search for what was never queued goes back before the one it follows."""
GONE = 410
BUSY = frozenset({429, 502, 503, 504})

SAFE_KEYS = frozenset(
    {
        *("note_id", "inbox_id", "input_id", "receipt_id", "participant_id", "lane_id"),
        *("version", "kind", "state", "bot", "capture", "audio", "transcript", "note", "reason", "reasons"),
        *("end_reason", "pause_reasons", "segments", "count", "at_ms", "effective_at_ms", "from", "to", "slug", "part"),
    }
)
"""Keys of an event's data that may leave the house."""
_ID_LIKE = re.compile(r"[A-Za-z0-9_.:\-]{0,128}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt."""

    status: int | None = None
    """The answer's status; None without an answer."""
    error: str | None = None
    """A word for why there was none."""
    wait_s: float = 0.0
    """For how long the receiver asks not to be called."""


class WebhookSender:
    """Queues events, delivers what is due. ``allow_private`` is for a network where every host is the clinic's own."""

    def __init__(
        self,
        store: WebhookStore,
        clock: Clock,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.store = store
        self._clock = clock
        self._allow_private = allow_private
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver
        self._answer_within_s = answer_within_s
        self._tls = tls
        self._client: httpx.AsyncClient | None = None
        self._making_client = asyncio.Lock()
        self._wake = asyncio.Event()
        self._caught_up_at: datetime | None = None

    async def register(self, clinic_id: str, url: str) -> WebhookRecord:
        """Add an endpoint; its secret is shown this once. Raises ConfigInvalid for an address that cannot be called."""
        check_url(url, allow_private=self._allow_private)
        return await self.store.add(clinic_id, url)

    async def queue(self, event: SessionEvent) -> int:
        """Make the event's deliveries; how many are new. The same event again makes none."""
        if event.kind not in PUBLIC_KINDS:
            return 0
        new = await self.store.queue(event)
        if new:
            self.wake()
        return new

    def wake(self) -> None:
        """Something is due: do not wait to see it."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver, and look after what is kept, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._delivering(), name="webhooks-deliver")
            group.create_task(self._tending(), name="webhooks-tend")

    async def _delivering(self) -> None:
        while True:
            try:
                await self.deliver_due()
            except Exception as error:  # noqa: BLE001  the next round tries again
                log.warning("webhook_round_failed", error=type(error).__name__)
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            await self._woken(LOOK_AGAIN_S)

    async def _tending(self) -> None:
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            try:
                await self.tend()
            except Exception as error:  # noqa: BLE001  the next round tries again
                log.warning("webhook_tending_failed", error=type(error).__name__)

    async def tend(self) -> None:
        """Queue what a crash or a failing database kept from being queued, and forget what is kept no longer."""
        before = self._clock.now()
        since = self._caught_up_at - OVERLAP if self._caught_up_at is not None else None
        while await self.store.catch_up(since=since):
            self.wake()
        self._caught_up_at = before
        await self.store.sweep()

    async def deliver_due(self) -> int:
        """Try everything that is due, until nothing is; how many were taken by their receivers.

        The first call also queues what a crash kept from being queued.
        """
        if self._caught_up_at is None:
            await self.tend()
        delivered = 0
        running: dict[asyncio.Task[bool], str] = {}
        try:
            while True:
                self._wake.clear()
                if free := AT_ONCE - len(running):
                    busy = set(running.values())
                    for delivery in await self.store.claim(limit=free, each=EACH, but=busy, hold=HOLD):
                        task = asyncio.create_task(self._guarded(delivery), name="webhook-attempt")
                        running[task] = delivery.webhook_id
                if not running:
                    return delivered
                done = await self._one_done(running)
                delivered += sum(task.result() for task in done)
                running = {task: hook for task, hook in running.items() if task not in done}
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _one_done(self, running: dict[asyncio.Task[bool], str]) -> set[asyncio.Task[bool]]:
        """Wait until an attempt is over or something new is due; what is over."""
        woken = asyncio.create_task(self._woken(LOOK_AGAIN_S), name="webhooks-woken")
        try:
            done, _ = await asyncio.wait({*running, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            await asyncio.gather(woken, return_exceptions=True)
        return {task for task in running if task in done}

    async def _woken(self, at_most_s: float) -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
        self._resolver.close()

    async def _guarded(self, delivery: DeliveryRecord) -> bool:
        try:
            return await self._attempt(delivery)
        except Exception as error:  # noqa: BLE001  a fault of ours: it counts, so that it ends
            log.warning("webhook_attempt_failed", delivery_id=delivery.id, error=type(error).__name__)
            next_at = next_attempt(delivery.id, delivery.tries, self._clock.now())
            with contextlib.suppress(QuietnoteError):  # without a database it is tried again when its hold has passed
                await self.store.failed(delivery.id, None, error="fault", next_at=next_at)
            return False

    async def _attempt(self, delivery: DeliveryRecord) -> bool:
        try:
            hook = await self.store.get(delivery.webhook_id)
        except NotFound:  # deleted meanwhile, and its deliveries with it
            return False
        body = body_of(hook, delivery)
        if hook.disabled_at is not None or body is None:
            await self.store.give_up(delivery.id)
            return False
        outcome = await self._send(hook, delivery.id, body)
        status = outcome.status
        if status is not None and 200 <= status < 300:
            await self.store.delivered(delivery.id, status)
            return True
        if status == GONE:
            await self.store.failed(delivery.id, status, next_at=None)
            await self.store.disable(hook.id)
            log.info("webhook_disabled", webhook_id=hook.id, status=status)
            return False
        next_at = next_attempt(delivery.id, delivery.tries, self._clock.now(), outcome.wait_s)
        await self.store.failed(delivery.id, status, error=outcome.error, next_at=next_at)
        if next_at is None:
            log.warning("webhook_given_up", delivery_id=delivery.id, webhook_id=hook.id, attempts=delivery.attempts + 1)
        return False

    async def _send(self, hook: WebhookRecord, message_id: str, body: str) -> Outcome:
        """One request, to the first address of its endpoint that takes a connection."""
        try:
            async with asyncio.timeout(self._answer_within_s):
                target = await target_of(hook.url, self._resolve, allow_private=self._allow_private)
                for url in target.urls[:-1]:
                    try:
                        return await self._post(url, target, hook, message_id, body)
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        continue
                return await self._post(target.urls[-1], target, hook, message_id, body)
        except AddressRefused as error:
            log.warning("webhook_address_refused", webhook_id=hook.id, reason=error.reason)
            return Outcome(error=error.reason)
        except Exception as error:  # noqa: BLE001  whatever a receiver brings about is a failed attempt
            log.info("webhook_no_answer", webhook_id=hook.id, delivery_id=message_id, error=type(error).__name__)
            return Outcome(error=_why(error))

    async def _post(self, url: str, target: Target, hook: WebhookRecord, message_id: str, body: str) -> Outcome:
        now, client = self._clock.now(), await self._http()
        request = client.build_request(
            "POST",
            url,
            content=body.encode(),
            headers={
                "host": target.authority,
                "content-type": "application/json",
                "user-agent": "Quietnote-Webhooks/1",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signatures(hook.signs_with(now), message_id, now, body),
            },
            extensions={"sni_hostname": target.host},
        )
        answer = await client.send(request, stream=True)  # nothing of the answer's body is read
        await answer.aclose()
        wait_s = _retry_after_s(answer) if answer.status_code in BUSY else 0.0
        return Outcome(answer.status_code, wait_s=wait_s)

    async def _http(self) -> httpx.AsyncClient:
        async with self._making_client:
            if self._client is None:
                if self._tls is None:
                    self._tls = await asyncio.to_thread(httpx.create_ssl_context)
                # no proxy of the environment: it would connect to an address nobody judged; no redirects: the same
                self._client = httpx.AsyncClient(
                    trust_env=False,
                    follow_redirects=False,
                    timeout=httpx.Timeout(self._answer_within_s, connect=self._answer_within_s / MOST_TRIED),
                    limits=_NO_REUSE,
                    verify=self._tls,
                )
            return self._client


_NO_REUSE = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
"""Each request connects anew: a pooled connection is known by its address, and names may share one."""


def signatures(secrets: tuple[str, ...], message_id: str, at: datetime, body: str) -> str:
    """The ``webhook-signature`` header: a signature by each secret, with spaces between."""
    return " ".join(Webhook(secret).sign(message_id, at.astimezone(UTC), body) for secret in secrets)


def body_of(hook: WebhookRecord, delivery: DeliveryRecord) -> str | None:
    """The body of a delivery, the same at each attempt; None when its event is there no more."""
    if delivery.event is not None:
        said = message(hook.clinic_id, delivery.event)
    elif delivery.session_id is None:
        data = {"clinic_id": hook.clinic_id, "webhook_id": hook.id}
        said = {"type": delivery.kind, "timestamp": _when(delivery.at), "data": data}
    else:
        return None
    return json.dumps(said, separators=(",", ":"), sort_keys=True)


def message(clinic_id: str, event: SessionEvent) -> dict[str, Any]:
    """The body: what happened, when, to which session. Ids, numbers and states only."""
    data = {key: value for key, value in event.data.items() if key in SAFE_KEYS and _is_safe(value)}
    return {
        "type": event.kind,
        "timestamp": _when(event.at),
        "data": {**data, "session_id": event.session_id, "clinic_id": clinic_id, "seq": event.seq},
    }


def next_attempt(delivery_id: str, tries: int, now: datetime, wait_s: float = 0.0) -> datetime | None:
    """When to try again after ``tries`` earlier attempts and the one that just failed; None to give up."""
    if tries >= len(RETRY_AFTER):
        return None
    spread = int(hashlib.sha256(f"{delivery_id}:{tries}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    wait = RETRY_AFTER[tries] * (1 + JITTER_SHARE * spread)
    return now + max(wait, timedelta(seconds=wait_s))


def _retry_after_s(answer: httpx.Response) -> float:
    asked = answer.headers.get("retry-after", "")
    return float(min(int(asked), 86_400)) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0.0


def _when(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _why(error: BaseException) -> str:
    """A word for an attempt without an answer: never what the error says, which may hold anything."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "timeout"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "no-connection"
    return "broken-off" if isinstance(error, httpx.HTTPError | OSError) else "fault"


def _is_safe(value: object) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        return _ID_LIKE.fullmatch(value) is not None
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) and _is_safe(item) for item in value)
    return False
