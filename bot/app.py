"""The composition root: settings in, a running service out. The only place where adapters meet.

The server, the demo and the tests all go through :func:`running`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from sqlalchemy import text

from bot import fitness
from bot.aftercall import AfterCall, AfterCallServices
from bot.asr import models, whisper
from bot.asr.leftovers import recognise_rest
from bot.asr.scheduler import Scheduler
from bot.clock import Clock, SystemClock
from bot.control.api.app import create_app
from bot.control.consentform import load_forms
from bot.control.limits import RateLimiter
from bot.control.live import LiveServices
from bot.control.mediaservices import MediaServices
from bot.control.registry import LiveSessions
from bot.control.replicas import Colleagues, Replicas
from bot.control.services import HealthCheck, Services
from bot.control.tokens import SessionTokens
from bot.errors import QuietnoteError, SetupError
from bot.events import SessionEvent
from bot.media import loopback, spool
from bot.media.disk import MEGABYTE, Disk
from bot.media.forgetting import Forgetting
from bot.media.vad import SileroVad
from bot.media.worker import MediaThread
from bot.notes import evidence
from bot.notes.factory import choose
from bot.notes.render import encode
from bot.notes.templates import load_templates
from bot.notes.webhooks import WebhookSender
from bot.settings import LOOPBACK, Settings
from bot.store.audit import AuditStore
from bot.store.bus import Bus
from bot.store.clinic_store import ClinicStore
from bot.store.datafolder import DataFolder, InUse
from bot.store.db import Database
from bot.store.deletions import Deleter
from bot.store.erase import Eraser
from bot.store.kepthead import KeptHead
from bot.store.keys import KeyStore
from bot.store.members import Members, new_process
from bot.store.parts import audio_name
from bot.store.receipts import ReceiptSigner
from bot.store.record_due import RecordsDue
from bot.store.retention import Due
from bot.store.sessions import SessionStore
from bot.store.users import UserStore
from bot.store.valkey import EmbeddedValkey
from bot.store.vault import FileVault, load_master_key
from bot.store.webhook_store import WebhookStore
from bot.store.workflowdb import engine_url, stable_executor_id

log = structlog.get_logger()

SWEEP_EVERY_S = 60.0
SWEEP_WITHIN_S = 900
"""After this long another process may sweep beside one that has not ended, which does no harm."""
HEALTH_WITHIN_S = 3.0


class NotLoopback(SetupError):
    """Development mode was asked for on an address that others can reach."""

    def __init__(self, host: str) -> None:
        super().__init__(f"--dev has a fixed key and is refused on {host}; use 127.0.0.1, or leave --dev out")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: the web application, and what the command line needs of the rest."""

    app: FastAPI
    services: Services
    scheduler: Scheduler
    model: str
    media: MediaServices
    """What its calls share: the measurements play calls through it."""
    warnings: tuple[str, ...] = ()
    """What of the clinics' settings does not work as it stands, a line each, for the terminal."""


@contextlib.asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Build everything, recover what a crash left, and take it down in reverse order.

    Raises :class:`bot.errors.SetupError` or a store error, each with one line for the terminal.
    """
    if settings.dev and settings.host not in LOOPBACK:
        raise NotLoopback(settings.host)
    clock = clock or SystemClock()
    loopback.choose(settings.ice_loopback, own_machine=settings.own_machine)
    async with contextlib.AsyncExitStack() as stack:
        data_dir = settings.data_dir
        await asyncio.to_thread(_private_folder, data_dir)
        files = await asyncio.to_thread(
            models.resolve, settings.asr_model, allow_hub=settings.asr_hub, cache_dir=data_dir / "models"
        )
        shared, process = settings.is_shared, new_process() if settings.is_shared else None
        await _take_folder(stack, data_dir, alone=not shared)
        vault_dir = data_dir / "vault"
        master_key = await asyncio.to_thread(load_master_key, settings)
        vault = FileVault(vault_dir, master_key)
        db = Database(settings.sqlalchemy_url)
        await db.open()
        stack.push_async_callback(db.close)
        if not await db.reserve(alone=not shared):
            raise InUse("this database")
        signer = await asyncio.to_thread(ReceiptSigner.load, vault_dir)
        tokens = await asyncio.to_thread(SessionTokens.load, vault_dir, clock)
        store = SessionStore(db, vault, clock, process=process)
        eraser = Eraser(store, db, vault, signer, clock)
        store.purge_receipt = eraser.purge_receipt
        clinic_store = ClinicStore(db, clock)
        templates = load_templates(settings.config_dir)

        bus = Bus(settings.redis_url or await _embedded_valkey(stack, data_dir), clock=clock)
        await bus.open()
        stack.push_async_callback(bus.close)
        members = Members(process, bus, clock, ttl_s=settings.lease_s) if process is not None else None

        spool_dir = data_dir / "spool"
        await asyncio.to_thread(_private_folder, spool_dir)

        disk = Disk(
            session_bytes=settings.spool_session_mb * MEGABYTE, reserve_bytes=settings.spool_reserve_mb * MEGABYTE
        )

        async def sweep_spool(session_id: str) -> int:
            removed = 0
            for part in range(1, (await store.get(session_id)).part + 1):
                name = audio_name(session_id, part)
                disk.forget(name)
                removed += await asyncio.to_thread(spool.sweep, spool_dir, name)
            return removed

        eraser.register("spool", sweep_spool)

        engine = await asyncio.to_thread(
            whisper.load,
            files,
            device=settings.asr_device,
            compute_type=settings.asr_compute_type,
            threads=settings.asr_threads,
        )
        warnings = await fitness.seed(clinic_store, settings.config_dir, engine.check_language)
        scheduler = Scheduler(engine, clock)
        scheduler.start()
        stack.push_async_callback(scheduler.close)
        worker = MediaThread()
        worker.start()
        stack.push_async_callback(asyncio.to_thread, worker.close)
        vad = SileroVad()

        media = MediaServices(
            clock=clock,
            store=store,
            vault=vault,
            worker=worker,
            vad=vad,
            scheduler=scheduler,
            spool_dir=spool_dir,
            disk=disk,
            ptime_ms=settings.media_ptime_ms,
            ice=replace(settings.all_ice_servers(), now=clock.now),
        )
        webhooks = WebhookSender(
            WebhookStore(db, vault, clock), clock, allow_private=settings.webhooks_private
        )
        stack.push_async_callback(webhooks.close)

        async def rest(session_id: str) -> int:
            async def tell(done: int, total: int) -> None:
                await aftercall.making.came_to(session_id, "transcript", done, max(total, 1))

            return await recognise_rest(
                session_id, store=store, scheduler=scheduler, vad=vad, vault=vault, folder=spool_dir, tell=tell
            )

        async def end_unrecorded(session_id: str) -> None:
            await (await live.of(session_id)).end_unrecorded()

        async def progress(session_id: str, step: str, done: int, total: int) -> None:
            await live.progress(session_id, step, done, total)

        aftercall = AfterCall(
            AfterCallServices(
                store=store,
                eraser=eraser,
                recognise_rest=rest,
                writer_for=lambda choice: choose(choice, templates, os.environ),
                check=evidence.check,
                encode=encode,
                end_unrecorded=end_unrecorded,
                progress=progress,
            ),
            database_url=engine_url(settings.database_url, data_dir),
            executor_id=process or stable_executor_id(data_dir),
            others=Colleagues(store, members) if members is not None else None,
            stalled_s=60.0 * settings.stalled_min,
        )
        live = LiveSessions(
            LiveServices(
                media=media,
                bus=bus,
                begin_aftercall=aftercall.begin,
                discard_session=aftercall.discard,
                members=members,
            )
        )

        async def sweep_memory(session_id: str) -> int:
            scheduler.forget(session_id)
            return await live.let_go(session_id)

        eraser.register("memory", sweep_memory)
        kept_head = KeptHead(AuditStore(db, clock, signer), vault_dir)
        deleter = Deleter(db, vault, signer, clock, eraser)
        records = RecordsDue(store, deleter, signer)
        services = Services(
            settings=settings,
            clock=clock,
            db=db,
            store=store,
            vault=vault,
            users=UserStore(db, clock),
            keys=KeyStore(db, clock),
            clinics=clinic_store,
            bus=bus,
            live=live,
            write_note=aftercall.write_note,
            webhooks=webhooks,
            tokens=tokens,
            limiter=RateLimiter(bus, clock, hashlib.sha256(b"rate limits" + master_key).digest()),
            signer=signer,
            deleter=deleter,
            templates=templates,
            forms=load_forms(settings.config_dir),
            check_language=engine.check_language,
            health=_health(db, bus)
            | {"retention": aftercall.due.check, "records": records.check, "audit": kept_head.check},
        )
        _figures(services, scheduler, worker, media.forgetting)
        _kept_too_long(services, aftercall.due)
        store.listen(_teller(stack, live, webhooks))
        replicas = Replicas(members, signer.key_id, db, store, live, aftercall) if members is not None else None
        if members is not None and replicas is not None:
            await members.join(signer.key_id)
            stack.push_async_callback(replicas.leave)
        await aftercall.launch()
        stack.push_async_callback(aftercall.close)
        await aftercall.due.destroy()  # before anything is served
        await records.destroy()
        await live.recover()
        stack.push_async_callback(live.close)
        await _own(stack, "sweep", _every(SWEEP_EVERY_S, lambda: _in_turn(db, "sweep", aftercall.sweep)))
        await _own(stack, "records", _every(SWEEP_EVERY_S, lambda: _in_turn(db, "records", records.destroy)))
        if replicas is not None:
            await _own(stack, "replicas", replicas.run())
        await _own(stack, "audit_head", _every(SWEEP_EVERY_S, kept_head.keep))
        await _own(stack, "webhooks", webhooks.run())
        yield Running(create_app(services), services, scheduler, engine.name, media, tuple(warnings))
        services.stopping.set()


async def _take_folder(stack: contextlib.AsyncExitStack, data_dir: Path, *, alone: bool) -> None:
    folder = DataFolder(data_dir)
    await asyncio.to_thread(folder.take, alone=alone)
    stack.callback(folder.release)


async def _in_turn(db: Database, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it unless another process does it at this moment."""
    async with db.turn(name, wait=False, at_most_s=SWEEP_WITHIN_S) as mine:
        if mine:
            await work()


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _embedded_valkey(stack: contextlib.AsyncExitStack, data_dir: Path) -> str:
    valkey = EmbeddedValkey(data_dir)
    url = await valkey.start()
    stack.push_async_callback(valkey.close)
    return url


def _health(db: Database, bus: Bus) -> dict[str, HealthCheck]:
    async def database() -> str | None:
        try:
            async with asyncio.timeout(HEALTH_WITHIN_S), db.read() as session:
                await session.execute(text("SELECT 1"))
        except (QuietnoteError, TimeoutError):
            return "The database does not answer."
        return None

    async def live_bus() -> str | None:
        return (
            None if await bus.ping() else "Redis does not answer; calls go on, streams on other machines stand still."
        )

    return {"database": database, "bus": live_bus}


def _figures(services: Services, scheduler: Scheduler, worker: MediaThread, forgetting: Forgetting) -> None:
    """Depths of the queues and ages of the sound, read when the metrics are asked for."""
    observe = services.metrics.observe
    observe("asr_lag_seconds", "Age of the oldest final without words.", lambda: scheduler.stats.lag_ms / 1000)
    observe("asr_waiting_finals", "Finals that wait for the engine.", lambda: scheduler.stats.waiting_finals)
    observe("asr_waiting_seconds", "Sound in waiting finals.", lambda: scheduler.stats.waiting_s)
    observe("asr_busy_share", "Share of the last 10 s that the engine worked.", lambda: scheduler.stats.busy_share)
    observe("asr_finals", "Finals recognised since the start.", lambda: scheduler.stats.finals)
    observe("asr_set_aside", "Finals set aside since the start.", lambda: scheduler.stats.set_aside)
    observe("media_waiting", "Calls that wait for the media thread.", lambda: worker.depth)
    observe("media_refused", "Calls that the media thread refused since the start.", lambda: worker.refused)
    for percent in (50, 95):
        observe(
            f"erasure_delay_p{percent}_seconds",
            f"From the commit of words to the erasure of their audio: {percent} % were done by then.",
            partial(forgetting.delay_s, percent),
        )
    observe("audio_half_life_seconds", "Age at which half of the captured sound was erased.",
            lambda: forgetting.half_life_s)  # fmt: skip
    observe("erasures_measured", "Windows that the erasure delay is of.", lambda: forgetting.count)


def _kept_too_long(services: Services, due: Due) -> None:
    observe = services.metrics.observe
    observe("erase_overdue", "Sessions whose audio is past its time and still there.", lambda: due.overdue.audio)
    observe("purge_overdue", "Sessions whose words are past their time and there.", lambda: due.overdue.transcripts)


def _teller(stack: contextlib.AsyncExitStack, live: LiveSessions, webhooks: WebhookSender) -> Any:
    """Passes each committed event on to the open session and the webhooks, each as an owned task."""
    tasks: set[asyncio.Task[None]] = set()

    async def end() -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)

    async def tell(event: SessionEvent) -> None:
        for told in (live.on_event, webhooks.queue):  # each by itself: one that fails keeps nothing from the other
            try:
                await told(event)
            except Exception as error:  # noqa: BLE001  what failed is read again from session_events
                log.warning("event_not_told", session_id=event.session_id, error=type(error).__name__)

    def listener(event: SessionEvent) -> None:
        task = asyncio.get_running_loop().create_task(tell(event), name=f"tell:{event.session_id}")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return listener


async def _every(pause_s: float, work: Any) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  the next round tries again
            log.warning("round_failed", error=type(error).__name__)
        await asyncio.sleep(pause_s)


async def _own(stack: contextlib.AsyncExitStack, name: str, work: Any) -> None:
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
