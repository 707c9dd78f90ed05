"""A service whose folder is searched afterwards, in this process or in one that is killed.

python -m tests.integration.forensic_world HOME LOG     plays a call and says how far it is, until it is killed
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from bot import app, log
from bot.app import Running, running
from bot.bench.forensics import Report, search
from bot.bench.pause_talk import Talk
from bot.bench.replay import Player, ReplayClock, conversation
from bot.bench.witness import Witness, witnessing
from bot.settings import Settings

LATER_S = 3600.0
"""By so much the clock of a service that comes after a killed one is ahead: no replay of a test is longer."""


@dataclass
class Scene:
    """A service, its clock, and who notes what goes through it."""

    home: Path
    service: Running
    clock: ReplayClock
    talk: Talk
    witness: Witness

    async def enter(self) -> Player:
        """Two people in a session; all that they send is noted, captured or not."""
        player = await Player.enter(self.service, self.clock, self.talk)
        lanes: dict[str, int] = {}

        def sent(who: str, at: int, pcm: object) -> None:
            self.witness.sound(lanes.setdefault(who, id(player) + len(lanes)), at, pcm)  # type: ignore[arg-type]

        player.on_sent = sent
        return player

    async def search(self, *more: Path) -> Report:
        """Look for everything in everything."""
        return await asyncio.to_thread(search, self.witness.done(), self.home, *more)


@asynccontextmanager
async def scene(home: Path, witness: Witness, *, later_s: float = 0.0, database_url: str = "") -> AsyncIterator[Scene]:
    """Run the service with all that it writes below ``home``."""
    for name in ("tmp", "logs"):
        (home / name).mkdir(parents=True, exist_ok=True)
    settings = Settings(data_dir=home / "data", dev=True, database_url=database_url)
    clock = ReplayClock(datetime.now(UTC) + timedelta(seconds=later_s))
    with (
        (home / "logs" / "quietnote.log").open("a") as lines,
        patch.object(tempfile, "tempdir", str(home / "tmp")),
        patch.object(app, "SWEEP_EVERY_S", 0.5),
        witnessing(witness),
    ):
        log.setup(level="DEBUG", json=True, stream=lines)
        try:
            async with running(settings, clock=clock) as service:
                yield Scene(home, service, clock, conversation(), witness)
        finally:
            log.setup(level="INFO", json=False, stream=sys.stderr)


async def main(home: Path, noted: Path) -> None:
    """Play until the end, which does not come."""
    async with scene(home, Witness(noted)) as here:
        player = await here.enter()
        await player.begin()
        sys.stdout.write(f"{player.session_id}\n")
        while True:
            await player.play(2.0)
            sys.stdout.write("2 s more\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
