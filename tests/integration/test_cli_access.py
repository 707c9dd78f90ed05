"""Who may come in, from the command line: platforms with their keys, people with their passwords."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.clock import SystemClock
from bot.errors import Unauthorized
from bot.settings import Settings, default_config_dir
from bot.store.db import Database
from bot.store.users import UserStore
from tests.integration.forks import Ended, Forks
from tests.integration.test_cli import ADD, PASSWORD, WITHIN_S, environment

GIVEN = ("--password", PASSWORD)
FIRST = "First API key of clinic "


class Quietnote:
    """The command, on one data directory and one configuration."""

    def __init__(self, forks: Forks, folder: Path) -> None:
        self._forks = forks
        self._config = folder / "config"
        shutil.copytree(default_config_dir(), self._config)
        self._environ = environment(folder, QUIETNOTE_CONFIG_DIR=str(self._config), QUIETNOTE_LOG_LEVEL="ERROR")

    async def __call__(self, *args: str, said: str = "") -> Ended:
        return await asyncio.to_thread(self._forks.run, args, self._environ, said, within_s=WITHIN_S)

    def add_clinic(self, name: str) -> None:
        (self._config / "clinics" / f"{name}.toml").write_text(f'name = "{name}"\n')

    async def keys(self, *args: str) -> list[dict[str, Any]]:
        told = await self("key", "list", "--json", *args)
        assert (told.code, told.err) == (0, "")
        return list(json.loads(told.out))

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.StreamReader]]:
        """The service in a process of its own, and what it says after where it listens."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve", "--port", "0",
            env=self._environ, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(WITHIN_S):
                said = (await process.stderr.readline()).decode()
                assert said.startswith("Quietnote listens on "), said
                async with httpx.AsyncClient(base_url=said.split()[3], trust_env=False) as http:
                    yield http, process.stderr
                process.terminate()
                assert FIRST.encode() not in await process.stderr.read(), "each is told once"
                assert await process.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture
def quietnote(forks: Forks, tmp_path: Path) -> Quietnote:
    return Quietnote(forks, tmp_path)


async def status(http: httpx.AsyncClient, key: str) -> int:
    return (await http.get("/v1/sessions", headers={"Authorization": f"Bearer {key}"})).status_code


async def test_a_clinic_that_comes_later_gets_its_first_key_too(quietnote: Quietnote) -> None:
    made = json.loads((await quietnote("key", "add", "--label", "the platform", "--json")).out)
    revoked = (await quietnote("key", "revoke", made["id"])).out
    assert revoked == f"revoked {made['id']}\n"
    quietnote.add_clinic("harbour")
    async with quietnote.serving() as (http, told):
        line = (await told.readline()).decode()
        assert line.startswith(f"{FIRST}harbour, shown once: qn_"), "the other had its first one, though it is revoked"
        assert await status(http, line.split()[-1]) == 200
        assert await status(http, made["key"]) == 401
        again = json.loads((await quietnote("key", "add", "--scope", "sessions", "--json")).out)
        assert await status(http, again["key"]) == 200, "a service that runs knows of it at once"
        await quietnote("key", "revoke", again["id"])
        assert await status(http, again["key"]) == 401


async def test_keys_are_added_listed_and_revoked_and_shown_once(quietnote: Quietnote) -> None:
    added = await quietnote("key", "add", "--scope", "notes", "--scope", "sessions", "--label", "the platform")
    assert added.code == 0
    key = added.out.split()[-1]
    assert key.startswith("qn_")
    [known] = await quietnote.keys()
    assert added.out == f"added {known['id']} of clinic demo, shown once: {key}\n"
    assert known["scopes"] == ["notes", "sessions"]
    assert (known["clinic_id"], known["label"], known["revoked_at"]) == ("demo", "the platform", None)
    assert (await quietnote("key", "revoke", known["id"])).code == 0
    shown = (await quietnote("key", "list")).out
    assert shown.startswith(f"{known['id']}  demo  notes,sessions  created {known['created_at']}  revoked ")
    assert key not in shown
    quietnote.add_clinic("harbour")
    assert (await quietnote("key", "add", "--clinic", "harbour")).code == 0
    assert len(await quietnote.keys()) == 2
    assert [one["scopes"] for one in await quietnote.keys("--clinic", "harbour")] == [["admin", "notes", "sessions"]]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("key", "add", "--clinic", "nowhere"), "There is no such clinic."),
        (("key", "list", "--clinic", "nowhere"), "There is no such clinic."),
        (("key", "add", "--scope", "root"), "scopes: must be among admin, notes, sessions."),
        (("key", "revoke", "key_x"), "There is no such key."),
        (("user", "set-password", "nobody@harbour.example", *GIVEN), "There is nobody with that address."),
    ],
)
async def test_what_is_not_there_is_one_line(quietnote: Quietnote, args: tuple[str, ...], line: str) -> None:
    assert (await quietnote(*args)).line == line


async def test_another_password(quietnote: Quietnote, tmp_path: Path) -> None:
    person = (await quietnote(*ADD, *GIVEN)).out.split()[-1]
    change = ("user", "set-password", "Mina@Harbour.example")
    assert "password" in (await quietnote(*change, "--password", "short")).line
    changed = await quietnote(*change, "--password-stdin", said="another good one\n")
    assert (changed.code, changed.out) == (0, f"changed {person}\n")
    assert (await quietnote(*change, "--password-stdin", "--password", PASSWORD)).code == 2
    db = Database(Settings(data_dir=tmp_path / "data").sqlalchemy_url)
    await db.open()
    try:
        users = UserStore(db, SystemClock())
        assert (await users.authenticate("mina@harbour.example", "another good one")).id == person
        with pytest.raises(Unauthorized):
            await users.authenticate("mina@harbour.example", PASSWORD)
    finally:
        await db.close()
