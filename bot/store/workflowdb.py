"""Where the workflow engine keeps its records, and under which name a process works them off."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from bot.store.postgres import sync_url


def embedded_database_url(data_dir: Path) -> str:
    """The engine's own SQLite file in the data folder."""
    return URL.create("sqlite", database=str(data_dir / "workflows.db")).render_as_string(hide_password=False)


def shared_database_url(url: str) -> str:
    """The same PostgreSQL database that everything else is in, as the engine's driver takes it."""
    return sync_url(make_url(url)).set(drivername="postgresql").render_as_string(hide_password=False)


def engine_url(database_url: str, data_dir: Path) -> str:
    """Where the engine keeps its records beside what is kept at ``database_url``; empty: in the data folder."""
    shared = database_url.startswith("postgresql")
    return shared_database_url(database_url) if shared else embedded_database_url(data_dir)


def stable_executor_id(data_dir: Path) -> str:
    """This data folder's name for itself, made at first use: a restarted process takes up its own workflows only."""
    path = data_dir / "executor_id"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".executor_id.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    draft.write_text(f"exec_{secrets.token_hex(16)}", "ascii")
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    return path.read_text("ascii").strip()


def make_private_file(url: str) -> None:
    """Create the file of a SQLite URL for its owner alone."""
    database = make_url(url).database if url.startswith("sqlite") else None
    if database:
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.open(database, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(made, 0o600)  # also one that was made otherwise
        os.close(made)
