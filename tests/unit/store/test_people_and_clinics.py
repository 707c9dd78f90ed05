from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from bot.clinics import load_files
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, NotFound, PreconditionFailed, Unauthorized
from bot.settings import default_config_dir
from bot.store.audit import FIRST, AuditStore
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.keys import KeyStore
from bot.store.users import UserStore

from .conftest import CLINIC

PASSWORD = "correct horse battery"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def users(db: Database, clock: ManualClock, clinics: ClinicStore) -> UserStore:
    return UserStore(db, clock, hasher=QUICK)


@pytest.fixture
def keys(db: Database, clock: ManualClock, clinics: ClinicStore) -> KeyStore:
    return KeyStore(db, clock)


def in_files(folder: Path, needle: str) -> bool:
    return any(needle.encode() in p.read_bytes() for p in folder.rglob("*") if p.is_file())


# -- clinics ----------------------------------------------------------------------------------------------------------


async def test_files_seed_once_and_the_database_is_the_truth(clinics: ClinicStore, clock: ManualClock) -> None:
    changed = CLINIC.model_copy(update={"name": "Renamed"})
    assert await clinics.seed({CLINIC.id: changed}) == []
    assert await clinics.current("harbour") == (1, CLINIC)
    clock.advance(1)
    assert await clinics.save(changed, author="usr_1", expect_version=1) == 2
    assert await clinics.current("harbour") == (2, changed)
    with pytest.raises(PreconditionFailed):
        await clinics.save(CLINIC, author="usr_1", expect_version=1)
    versions = await clinics.versions("harbour")
    assert [(v.version, v.config.name, v.author) for v in versions] == [
        (2, "Renamed", "usr_1"),
        (1, "Harbour Practice", "config file"),
    ]
    assert await clinics.ids() == ["harbour", "other"]
    for attempt in (
        clinics.current("nowhere"),
        clinics.save(CLINIC.model_copy(update={"id": "nowhere"}), author="usr_1"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_the_shipped_files_seed(db: Database, clock: ManualClock) -> None:
    files = load_files(default_config_dir())
    assert "demo" in await ClinicStore(db, clock).seed(files)


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_is_kept_as_a_hash(keys: KeyStore, tmp_path: Path) -> None:
    record, key = await keys.create("harbour", {"sessions", "notes"}, label="the platform")
    assert key.startswith("qn_")
    assert len(key) > 40
    assert await keys.verify(key) == record
    assert not in_files(tmp_path / "data", key)
    for wrong in ("", "dev", key[:-1], key + "x", record.id):
        with pytest.raises(Unauthorized):
            await keys.verify(wrong)
    with pytest.raises(NotFound):
        await keys.revoke(record.id, clinic_id="other")
    await keys.revoke(record.id, clinic_id="harbour")
    await keys.revoke(record.id)
    with pytest.raises(Unauthorized):
        await keys.verify(key)
    assert [k.id for k in await keys.list("harbour")] == [record.id]
    assert await keys.list("other") == []


async def test_a_fixed_key_is_made_once(keys: KeyStore) -> None:
    first, key = await keys.create("harbour", {"admin"}, key="dev")
    assert key == "dev"
    assert (await keys.create("harbour", {"admin"}, key="dev"))[0] == first
    for scopes in (set(), {"root"}, {"admin", "root"}):
        with pytest.raises(ConfigInvalid, match="scopes"):
            await keys.create("harbour", scopes)


# -- users ------------------------------------------------------------------------------------------------------------


async def test_signing_in(users: UserStore, clock: ManualClock, tmp_path: Path) -> None:
    user = await users.add("harbour", " Mina@Example.org ", "Dr. Mina Hale", "clinician", PASSWORD)
    assert user.email == "mina@example.org"
    assert await users.authenticate("MINA@example.org", PASSWORD) == user
    assert await users.by_email("mina@example.org") == user
    assert await users.list("harbour") == [user]
    for email, password in (("mina@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("", "")):
        with pytest.raises(Unauthorized) as caught:
            await users.authenticate(email, password)
        assert "example" not in str(caught.value)
    made = await users.sign_in(user.id)
    known = await users.signed_in(made.cookie)
    assert (known.user, known.csrf, known.cookie) == (user, made.csrf, "")
    assert not in_files(tmp_path / "data", PASSWORD)
    assert not in_files(tmp_path / "data", made.cookie)
    assert made.cookie not in repr(made)
    await users.sign_out(made.cookie)
    await users.sign_out("unknown")
    with pytest.raises(Unauthorized):
        await users.signed_in(made.cookie)


async def test_a_cookie_ends_after_idleness_and_after_a_day_of_work(users: UserStore, clock: ManualClock) -> None:
    user = await users.add("harbour", "m@example.org", "M", "clinician", PASSWORD)
    idle = await users.sign_in(user.id)
    busy = await users.sign_in(user.id)
    for _ in range(11):
        clock.advance(3600)
        await users.signed_in(busy.cookie)
    with pytest.raises(Unauthorized):
        await users.signed_in(idle.cookie)
    clock.advance(3600)
    with pytest.raises(Unauthorized):
        await users.signed_in(busy.cookie)


async def test_a_new_password_or_a_disabled_person_signs_every_browser_out(users: UserStore) -> None:
    user = await users.add("harbour", "m@example.org", "M", "admin", PASSWORD)
    browser = await users.sign_in(user.id)
    await users.set_password(user.id, "another good one")
    with pytest.raises(Unauthorized):
        await users.signed_in(browser.cookie)
    with pytest.raises(Unauthorized):
        await users.authenticate("m@example.org", PASSWORD)
    browser = await users.sign_in((await users.authenticate("m@example.org", "another good one")).id)
    await users.disable(user.id)
    with pytest.raises(Unauthorized):
        await users.signed_in(browser.cookie)
    with pytest.raises(Unauthorized):
        await users.authenticate("m@example.org", "another good one")
    with pytest.raises(Unauthorized):
        await users.sign_in(user.id)
    for attempt in (
        users.get("usr_x"),
        users.sign_in("usr_x"),
        users.disable("usr_x"),
        users.set_password("usr_x", PASSWORD),
    ):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"email": "no-address"}, "email"),
        ({"email": "a b@example.org"}, "email"),
        ({"role": "client"}, "role"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 1001}, "password"),
        ({"display_name": " "}, "display_name"),
        ({"clinic_id": "nowhere"}, "clinic"),
        ({"email": "taken@example.org"}, "email"),
    ],
)
async def test_what_a_person_cannot_be(users: UserStore, change: dict[str, str], path: str) -> None:
    await users.add("harbour", "taken@example.org", "T", "clinician", PASSWORD)
    good = {
        "clinic_id": "harbour",
        "email": "m@example.org",
        "display_name": "M",
        "role": "clinician",
        "password": PASSWORD,
    }
    with pytest.raises(ConfigInvalid, match=path) as caught:
        await users.add(**(good | change))
    assert "taken" not in str(caught.value)


# -- the audit chain --------------------------------------------------------------------------------------------------


async def test_the_chain_shows_what_was_tampered_with(db: Database, clock: ManualClock) -> None:
    audit = AuditStore(db, clock)
    assert (await audit.verify()) == await audit.verify()
    assert (await audit.verify()).head == FIRST
    entries = [await audit.append("harbour", "usr_1", "note.signed", f"note_{n}") for n in range(5)]
    await audit.append("other", "key_1", "config.changed", "other")
    verdict = await audit.verify()
    assert (verdict.ok, verdict.entries) == (True, 6)
    assert await audit.entries("harbour") == entries
    assert await audit.entries("harbour", after_id=entries[2].id, limit=1) == [entries[3]]
    for tampering, broken_at in (
        ("UPDATE audit SET actor='usr_2' WHERE id=3", 3),
        ("UPDATE audit SET at='2020-01-01 00:00:00.000000' WHERE id=3", 3),
        ("DELETE FROM audit WHERE id=3", 4),
        ("DELETE FROM audit WHERE id=1", 2),  # each upon the one before
    ):
        async with db.write() as session:
            await session.execute(text(tampering))
        broken = await audit.verify()
        assert (broken.ok, broken.broken_at) == (False, broken_at)
