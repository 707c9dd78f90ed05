"""Process settings: read once from the environment, typed, each with its meaning.

What a clinic may choose is not here but in :mod:`bot.clinics`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bot import ice
from bot.ice import IceServer, IceServers


def default_config_dir() -> Path:
    """``config/`` beside the package in a checkout, the copy inside the package when installed."""
    beside = Path(__file__).resolve().parent.parent / "config"
    return beside if beside.is_dir() else Path(__file__).resolve().parent / "_config"


def default_data_dir() -> Path:
    """``$XDG_DATA_HOME/quietnote``, or ``~/.local/share/quietnote``."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "quietnote"


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """Every field is an environment variable ``QUIETNOTE_<NAME>``, ``REDIS_URL`` and ``DATABASE_URL`` stand bare."""

    model_config = SettingsConfigDict(env_prefix="QUIETNOTE_", env_file=None, extra="ignore", populate_by_name=True)

    data_dir: Path = Field(default_factory=default_data_dir, description="Folder for everything that is kept.")
    config_dir: Path = Field(
        default_factory=default_config_dir, description="Folder of default.toml, clinics/, templates/ and consent/."
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the web server listens on; 0 takes a free one.")
    dev: bool = Field(False, description="Development mode: the fixed key `dev`, a demo sign-in. Loopback only.")
    public_url: str = Field("", description="Address people use to reach the pages; empty: taken from host and port.")
    database_url: str = Field(
        "",
        description="SQLAlchemy async URL; empty: SQLite in the data folder.",
        validation_alias="DATABASE_URL",
        pattern=r"^$|^(sqlite\+aiosqlite|postgresql\+asyncpg)://",
    )
    redis_url: str = Field(
        "", description="Redis or Valkey URL; empty: an embedded Valkey.", validation_alias="REDIS_URL"
    )
    lease_s: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Where several processes share a database: seconds after which one that says nothing is dead.",
    )
    master_key: str = Field(
        "",
        description="Base64 of 32 bytes that wrap all keys; empty: a file made in the data folder's vault, mode 600.",
    )
    asr_model: str = Field("tiny.en", description="Speech model: a path, or a name the model resolver knows.")
    asr_compute_type: Literal["int8", "int8_float16", "float16", "float32"] = Field(
        "int8", description="Number type of the weights: int8, int8_float16, float16, float32."
    )
    asr_device: Literal["cpu", "cuda"] = Field("cpu", description="Where recognition runs: cpu or cuda.")
    asr_threads: int = Field(1, ge=1, le=64, description="Processor threads a single decode may use.")
    asr_hub: bool = Field(
        False, description="Allow weights to be fetched from a model hub when they are not on this machine."
    )
    media_ptime_ms: int = Field(
        60, ge=20, le=60, multiple_of=20, description="Packet length asked of browsers, in milliseconds: 20, 40 or 60."
    )
    spool_session_mb: int = Field(
        1024, ge=1, description="Most megabytes of sealed sound that one session may hold on disk."
    )
    spool_reserve_mb: int = Field(
        100, ge=0, description="Megabytes of free disk that sealed sound leaves to everything else."
    )
    ice_servers: Annotated[tuple[IceServer, ...], BeforeValidator(ice.read)] = Field(
        default_factory=tuple, repr=False, description="STUN and TURN servers given to browsers and the bot; see below."
    )
    turn_secret: Annotated[str, AfterValidator(ice.read_secret)] = Field(
        "", repr=False, description="Secret shared with the TURN servers of QUIETNOTE_TURN_URLS; see below."
    )
    turn_secret_file: Path | None = Field(
        default_factory=lambda: None, description="File that holds the secret instead."
    )
    turn_urls: Annotated[tuple[str, ...], BeforeValidator(ice.read_turn)] = Field(
        default_factory=tuple,
        description="TURN servers on which an account that ends by itself is made for each participant; see below.",
    )
    turn_lifetime_s: int = Field(
        43_200, ge=600, le=604_800, description="Seconds for which such an account opens connections."
    )
    ice_loopback: Literal["auto", "on", "off"] = Field(
        "auto",
        description=(
            "Take calls on 127.0.0.1: auto (where the machine has no other address, or only its own browsers reach the "
            "pages), on, off."
        ),
    )
    stalled_min: int = Field(
        5,
        ge=1,
        le=60,
        description="Minutes without any progress after which a note that is being made has failed and may be asked "
        "for again; one answer of a note model may take its clinic's note.timeout_s on top.",
    )
    webhooks_private: bool = Field(
        False, description="Let webhooks reach this machine and networks of one's own, over plain http too."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING, ERROR."
    )
    log_json: bool = Field(True, description="Log JSON lines; otherwise lines for a person.")
    cookie_secure: bool = Field(
        False, description="Mark cookies Secure; set it wherever the pages are served over HTTPS."
    )

    @field_validator("turn_secret_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not _secret_in(path):
            raise ValueError("holds nothing")
        return path

    @field_validator("turn_urls")
    @classmethod
    def _with_a_secret(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if urls and not (info.data.get("turn_secret") or info.data.get("turn_secret_file")):
            raise ValueError(f"needs {variable('turn_secret')} or {variable('turn_secret_file')}")
        return urls

    def all_ice_servers(self) -> IceServers:
        """All STUN and TURN servers, with the secret from where it lies."""
        secret = _secret_in(self.turn_secret_file) if self.turn_secret_file is not None else self.turn_secret
        return IceServers(self.ice_servers, self.turn_urls, secret, self.turn_lifetime_s)

    @property
    def sqlalchemy_url(self) -> str:
        """The database, embedded unless one is named."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'quietnote.db'}"

    @property
    def is_shared(self) -> bool:
        """True when several processes may share the work: one PostgreSQL and one Redis between them."""
        return self.database_url.startswith("postgresql") and bool(self.redis_url)

    @property
    def own_machine(self) -> bool:
        """True when only browsers of this machine reach the pages: no other address, and no proxy before this one."""
        return self.host in LOOPBACK and not self.public_url

    @property
    def base_url(self) -> str:
        """Where the pages are reached."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


def _secret_in(path: Path) -> str:
    """The secret in a file. Raises ValueError, which names neither."""
    try:
        return ice.read_secret(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ValueError("cannot be read") from None


def variable(field: str) -> str:
    """The environment variable of a field, which is given by its name or its alias."""
    return field if field.isupper() else f"QUIETNOTE_{field.upper()}"


def explain(error: ValidationError | SettingsError) -> str:
    """What is wrong with which variable, as one line, without the value: it may be a secret."""
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        return f"{variable(named[1]) if named else 'a setting'}: must be JSON"
    wrong = []
    for one in error.errors(include_input=False, include_context=False, include_url=False):
        what = one["msg"].removeprefix("Value error, ")
        wrong.append(f"{variable(str(one['loc'][0]))}: {what[:1].lower()}{what[1:]}")
    return "; ".join(wrong)
