"""What every call of a process shares to hear and to write down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bot.asr.scheduler import Scheduler
from bot.clock import Clock
from bot.ice import IceServers
from bot.media.disk import Disk
from bot.media.forgetting import Forgetting
from bot.media.vad import SileroVad
from bot.media.worker import MediaThread
from bot.store.sessions import SessionStore
from bot.store.vault import Vault


@dataclass(frozen=True, slots=True)
class MediaServices:
    """What every call of this process shares."""

    clock: Clock
    store: SessionStore
    vault: Vault
    worker: MediaThread
    vad: SileroVad
    scheduler: Scheduler
    spool_dir: Path
    ptime_ms: int
    ice: IceServers = field(default_factory=IceServers)
    disk: Disk = field(default_factory=Disk)
    """What the spools may take of it."""
    forgetting: Forgetting = field(default_factory=Forgetting)
    """How long sound is kept."""
