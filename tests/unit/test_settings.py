"""Settings from the environment: typed, and when wrong named without their value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from bot.ice import IceServer
from bot.settings import Settings, explain


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("QUIETNOTE_PORT", "secret", "QUIETNOTE_PORT: input should be a valid integer"),
        ("QUIETNOTE_PORT", "70000", "QUIETNOTE_PORT: input should be less than or equal to 65535"),
        ("QUIETNOTE_ICE_SERVERS", "secret", "QUIETNOTE_ICE_SERVERS: must be JSON"),
        ("QUIETNOTE_MEDIA_PTIME_MS", "33", "QUIETNOTE_MEDIA_PTIME_MS: input should be a multiple of 20"),
        ("QUIETNOTE_LOG_LEVEL", "secret", "QUIETNOTE_LOG_LEVEL: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("QUIETNOTE_ASR_DEVICE", "secret", "QUIETNOTE_ASR_DEVICE: input should be 'cpu' or 'cuda'"),
        ("QUIETNOTE_TURN_URLS", '["stun:secret"]', "QUIETNOTE_TURN_URLS: entry 1: must be a turn: or turns: URL"),
        ("QUIETNOTE_TURN_URLS", '["turn:secret"]', "QUIETNOTE_TURN_URLS: needs QUIETNOTE_TURN_SECRET or "),
        ("QUIETNOTE_TURN_SECRET", "secret", "QUIETNOTE_TURN_SECRET: must have at least 16 characters"),
        ("QUIETNOTE_TURN_SECRET_FILE", "/nowhere/secret", "QUIETNOTE_TURN_SECRET_FILE: cannot be read"),
        ("QUIETNOTE_TURN_LIFETIME_S", "5", "QUIETNOTE_TURN_LIFETIME_S: input should be greater than or equal to 600"),
        ("DATABASE_URL", "mysql://secret@host/db", "DATABASE_URL: string should match pattern"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, SettingsError)) as raised:
        Settings()
    assert isinstance(raised.value, ValidationError | SettingsError)
    said = explain(raised.value)
    assert said.startswith(line)
    assert "\n" not in said
    assert "secret" not in said


def test_every_variable_is_read_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIETNOTE_MEDIA_PTIME_MS", "20")
    monkeypatch.setenv("QUIETNOTE_ICE_SERVERS", '["stun:stun.example:3478"]')
    monkeypatch.setenv("REDIS_URL", "redis://cache.example/1")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://db.example/quietnote")
    settings = Settings()
    assert settings.media_ptime_ms == 20
    assert settings.ice_servers == (IceServer(("stun:stun.example:3478",)),)
    assert settings.redis_url == "redis://cache.example/1"
    assert settings.sqlalchemy_url == "postgresql+asyncpg://db.example/quietnote"


def test_without_any_everything_is_embedded_and_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    settings = Settings()
    assert settings.sqlalchemy_url == "sqlite+aiosqlite:////somewhere/quietnote/quietnote.db"
    assert settings.base_url == "http://127.0.0.1:8080"
    assert not settings.dev
    assert not settings.asr_hub
    assert not settings.redis_url


def test_the_turn_secret_comes_from_the_environment_or_a_file_and_does_not_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUIETNOTE_TURN_URLS", '["turn:turn.example"]')
    monkeypatch.setenv("QUIETNOTE_TURN_SECRET", "sixteen-or-more-words")
    assert Settings().all_ice_servers().turn_secret == "sixteen-or-more-words"
    assert "sixteen" not in repr(Settings())
    monkeypatch.delenv("QUIETNOTE_TURN_SECRET")
    (tmp_path / "secret").write_text("a-secret-that-lies-in-a-file\n")
    monkeypatch.setenv("QUIETNOTE_TURN_SECRET_FILE", str(tmp_path / "secret"))
    assert Settings().all_ice_servers().turn_secret == "a-secret-that-lies-in-a-file"
    assert Settings().all_ice_servers().turn_urls == ("turn:turn.example",)
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert explain(raised.value).startswith("QUIETNOTE_TURN_SECRET_FILE: holds nothing")
