"""Session tokens and their secret. What a forged token gets is in the integration tests."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from bot.clock import ManualClock
from bot.control.tokens import SECRET_FILE, SessionTokens, TokenSecretUnusable
from bot.errors import Unauthorized
from bot.events import Role

SECRET = b"s" * 32


def issue(tokens: SessionTokens, **more: timedelta) -> str:
    return tokens.issue(session_id="ses_1", participant_id="cl-1", role=Role.CLIENT, clinic_id="demo", **more)


def test_a_token_says_who_somebody_is_until_it_ends() -> None:
    clock = ManualClock()
    tokens = SessionTokens(SECRET, clock)
    token = issue(tokens, lifetime=timedelta(seconds=10))
    claims = tokens.check(token)
    assert (claims.session_id, claims.participant_id, claims.role, claims.clinic_id) == (
        "ses_1", "cl-1", Role.CLIENT, "demo"
    )  # fmt: skip
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    clock.advance(9.9)
    tokens.check(token)
    clock.advance(0.1)
    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(token)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "\x00", "\ud800", "x" * 5000, "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        SessionTokens(SECRET, ManualClock()).check(token)


def test_the_secret_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    clock = ManualClock()
    token = issue(SessionTokens.load(folder, clock))
    assert stat.S_IMODE((folder / SECRET_FILE).stat().st_mode) == 0o600
    assert SessionTokens.load(folder, clock).check(token).session_id == "ses_1"
    assert [path.name for path in folder.iterdir()] == [SECRET_FILE]


@pytest.mark.parametrize("content", [b"", b"zz", b"ab" * 31, b"\xff\xfe"])
def test_a_damaged_secret_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SECRET_FILE).write_bytes(content)
    with pytest.raises(TokenSecretUnusable, match=SECRET_FILE):
        SessionTokens.load(tmp_path, ManualClock())


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="short"):
        SessionTokens(b"short", ManualClock())
