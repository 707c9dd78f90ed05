"""The audit chain: what goes into it, and what shows when it is tampered with."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, text

import bot
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, StorageUnavailable
from bot.events import CaptureState, ConsentState, PauseReason
from bot.store import acting, chain
from bot.store.audit import FIRST, AuditFilter, AuditStore
from bot.store.chain import AuditRow, Deed
from bot.store.db import Database
from bot.store.kepthead import FILE, KeptHead
from bot.store.receipts import ReceiptSigner
from bot.store.sessions import SessionRecord, SessionStore

from .conftest import ON_BOTH, ON_SQLITE

WORDS = "Peter said that the fire frightened him"


@pytest.fixture
def signer(tmp_path: Path) -> ReceiptSigner:
    return ReceiptSigner.load(tmp_path / "data" / "vault")


@pytest.fixture
def audit(db: Database, clock: ManualClock, signer: ReceiptSigner) -> AuditStore:
    return AuditStore(db, clock, signer)


async def six(audit: AuditStore) -> None:
    for n in range(6):
        await audit.append("harbour", f"usr_{n % 2}", "note.read", f"note_{n}", session_id=f"ses_{n % 3}")


async def run(db: Database, *statements: str) -> None:
    async with db.write() as session:
        for statement in statements:
            await session.execute(text(statement))


# -- with the change it tells of ---------------------------------------------------------------------------------------


@ON_SQLITE
async def test_a_change_and_its_entry_are_one(
    store: SessionStore, session: SessionRecord, audit: AuditStore, db: Database
) -> None:
    await store.change(session.id, "capture.consent_pending", capture=CaptureState.CONSENT_PENDING)
    data = {"by": "dr", "effective_at_ms": 3}
    await store.record_capture(session.id, "capture.started", data=data, capture=CaptureState.CAPTURING)
    await run(db, "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'database is locked'); END")
    with pytest.raises(Exception):  # noqa: B017, PT011  whichever way the database refuses
        await store.record_capture(session.id, "capture.paused", data=data, capture=CaptureState.PAUSED)
    assert (await store.get(session.id)).capture is CaptureState.CAPTURING
    assert [event.kind for event in await store.events(session.id)][-1] == "capture.started"
    await run(db, "DROP TRIGGER refuse")
    found = [(e.actor, e.action, e.target, e.session_id) for e in await audit.entries("harbour")]
    assert found[1:] == [
        ("system", "session.created", session.id, session.id),
        ("dr", "capture.started", session.id, session.id),
    ]  # before them, that the clinic was seeded; steps on the way are left out
    assert (await audit.verify()).ok


@ON_BOTH
async def test_who_answered_for_whom_and_how(
    store: SessionStore, session: SessionRecord, audit: AuditStore
) -> None:
    for decision, by in ((ConsentState.REQUESTED, "system"), (ConsentState.GRANTED, "cl")):
        await store.record_consent(
            session.id, "cl", decision, method="in_call", text_version="1-abc", text_sha256="0" * 64, by=by
        )
    await store.admit(session.id, "cl", by="dr")
    found = [(e.actor, e.action, e.target, e.detail) for e in await audit.entries("harbour", after_id=3)]
    assert found == [("cl", "consent.granted", "cl", "in_call"), ("dr", "participant.admitted", "cl", "")]


async def test_a_request_is_its_callers_and_what_it_leaves_behind_is_not(
    store: SessionStore, session: SessionRecord, audit: AuditStore
) -> None:
    async def later() -> None:
        await store.change(session.id, "session.later")

    with acting.request():
        acting.act("key_1", "key_1")
        await store.change(session.id, "session.now")
        await store.change(session.id, "session.named", data={"by": "dr"})
        await store.change(session.id, "session.platform", data={"by": "platform"})
        task = asyncio.create_task(later())
    await task
    await store.change(session.id, "session.after")
    assert acting.acting() is None
    acting.act("nobody", "page")  # outside a request
    assert acting.acting() is None
    found = [(e.action, e.actor, e.through) for e in await audit.entries("harbour", after_id=3)]
    assert found == [
        ("session.now", "key_1", ""),
        ("session.named", "dr", "key_1"),
        ("session.platform", "key_1", ""),
        ("session.later", "system", ""),
        ("session.after", "system", ""),
    ]


# -- nothing but ids ---------------------------------------------------------------------------------------------------


async def test_what_could_hold_words_is_replaced_by_its_hash(audit: AuditStore, db: Database) -> None:
    for deed in (
        Deed("harbour", "note.read", WORDS),
        Deed("harbour", WORDS, "note_1"),
        Deed("harbour", "note.read", "note_1", actor=WORDS),
        Deed("harbour", "note.read", "note_1", session_id=WORDS),
        Deed("harbour", "note.read", "note_1", detail=WORDS),
        Deed(WORDS, "note.read", "x" * 129, detail="\ud800"),
    ):
        async with db.write() as session:
            await chain.record(session, ManualClock().now(), [deed])
    async with db.read() as session:
        rows = (await session.scalars(select(AuditRow))).all()
    assert len(rows) == 6
    for row in rows:
        assert "fire" not in str(chain.told(row))
        assert "withheld:" in str(chain.told(row))
    assert (await audit.verify()).ok


def test_every_action_in_the_package_is_a_name() -> None:
    """Actions are literals of two words: none is made of anything that came from outside."""
    named = re.compile(r"[a-z_]{1,31}\.[a-z_]{1,32}")
    found, faults = set(), []
    for file in sorted(Path(bot.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            appends = ("services.audit.append", "audit.append", "self._services.audit.append")
            place = {"Deed": 1, **dict.fromkeys(appends, 2)}.get(name)
            if place is None or len(node.args) <= place:
                continue
            action = node.args[place]
            if isinstance(action, ast.Constant) and named.fullmatch(str(action.value)):
                found.add(action.value)
            elif ast.unparse(action) not in {"action", "event.kind", "refused"}:
                faults.append(f"{file}:{node.lineno}: {ast.unparse(action)}")
    assert not faults
    assert {"transcript.read", "note.read", "receipt.read", "inputs.read", "user.sign_in_refused"} <= found


# -- tampering ---------------------------------------------------------------------------------------------------------

COLUMNS = "clinic_id, session_id, at, actor, through, action, target, detail, previous_sha256, sha256"
TAMPERED = {
    "changed": (["UPDATE audit SET actor='usr_9' WHERE id=3"], 3),
    "changed, its session": (["UPDATE audit SET session_id='ses_9' WHERE id=3"], 3),
    "changed, its door": (["UPDATE audit SET through='key_9' WHERE id=3"], 3),
    "changed, its detail": (["UPDATE audit SET detail='9' WHERE id=3"], 3),
    "changed, with a hash of its own": ([f"UPDATE audit SET actor='usr_9', sha256='{'a' * 64}' WHERE id=3"], 3),
    "deleted": (["DELETE FROM audit WHERE id=3"], 4),
    "deleted, the first": (["DELETE FROM audit WHERE id=1"], 2),
    "deleted, the others moved up": (
        [
            "DELETE FROM audit WHERE id=3",
            "UPDATE audit SET id=3 WHERE id=4",
            "UPDATE audit SET id=4 WHERE id=5",
            "UPDATE audit SET id=5 WHERE id=6",
        ],
        3,
    ),
    "inserted": (
        [
            "UPDATE audit SET id=100 WHERE id=6",
            f"INSERT INTO audit (id, {COLUMNS}) SELECT 50, clinic_id, session_id, at, 'usr_9', through, action, "
            f"target, detail, '{'b' * 64}', '{'c' * 64}' FROM audit WHERE id=5",
        ],
        50,
    ),
    "reordered": (
        [
            "UPDATE audit SET id=100 WHERE id=3",
            "UPDATE audit SET id=3 WHERE id=4",
            "UPDATE audit SET id=4 WHERE id=100",
        ],
        3,
    ),
    "renumbered": (["UPDATE audit SET id=7 WHERE id=6"], 7),
}


@ON_BOTH
@pytest.mark.parametrize("how", TAMPERED)
async def test_what_was_done_to_the_chain_shows(audit: AuditStore, db: Database, how: str) -> None:
    await six(audit)
    assert (await audit.verify()).ok
    statements, broken_at = TAMPERED[how]
    await run(db, *statements)
    verdict = await audit.verify()
    assert (verdict.ok, verdict.broken_at) == (False, broken_at)
    assert str(broken_at) in verdict.reason


@ON_BOTH
async def test_an_end_that_is_cut_off_shows_by_a_head_that_was_kept(audit: AuditStore, db: Database) -> None:
    await six(audit)
    head = await audit.head()
    document = audit.sign(head)
    await audit.append("harbour", "usr_1", "note.read", "note_7")
    assert (await audit.verify(head.sha256)).ok
    assert await audit.contains(head)
    await run(db, "DELETE FROM audit WHERE id>4")
    assert (await audit.verify()).ok  # by itself it does not show
    verdict = await audit.verify(head.sha256)
    assert (verdict.ok, verdict.entries, verdict.missing_head) == (False, 4, head.sha256)
    assert "cut off" in verdict.reason
    assert not await audit.contains(head)
    for _ in range(3):  # as many again as were cut
        await audit.append("harbour", "usr_1", "note.read", "note_8")
    assert not await audit.contains(head)
    assert not (await audit.verify(head.sha256)).ok
    assert audit.signed_here(document) == head
    assert audit.signed_here(document.replace(b'"entries":6', b'"entries":4')) is None


async def test_a_chain_that_is_written_anew_shows_too(audit: AuditStore, db: Database) -> None:
    await six(audit)
    head = await audit.head()
    await run(db, "DELETE FROM audit")
    await six(audit)
    await run(db, "UPDATE audit SET at='2026-01-05 09:00:01.000000' WHERE id=1")
    async with db.write() as session:  # whoever can do this knows how to make hashes fit
        previous = FIRST
        for row in (await session.scalars(select(AuditRow).order_by(AuditRow.id))).all():
            row.previous_sha256 = previous
            row.sha256 = previous = chain.link(previous, row)
            await session.flush()
    assert (await audit.verify()).ok
    assert not (await audit.verify(head.sha256)).ok


async def test_the_head_that_a_host_keeps(audit: AuditStore, db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "vault"
    kept = KeptHead(audit, folder)
    await kept.keep()
    await six(audit)
    await kept.keep()
    assert await kept.kept() == await audit.head()
    assert await kept.check() is None
    assert (folder / FILE).stat().st_mode & 0o077 == 0
    before = (folder / FILE).read_bytes()
    await kept.keep()
    assert (folder / FILE).read_bytes() == before  # nothing new, nothing written
    await run(db, "DELETE FROM audit WHERE id=6")
    await audit.append("harbour", "usr_1", "note.read", "note_9")
    for again in (kept, KeptHead(audit, folder)):  # the next start says so too: it is never written over
        await again.keep()
        assert "cut off" in str(await again.check())
    assert (folder / FILE).read_bytes() == before
    (folder / FILE).write_bytes(before.replace(b'"entries":6', b'"entries":5'))
    await kept.keep()
    assert kept.broken
    (folder / FILE).unlink()  # an operator who restored a backup knowingly
    await kept.keep()
    assert await kept.check() is None


# -- many at once ------------------------------------------------------------------------------------------------------

APPENDS = """
import asyncio, sys
from bot.clock import SystemClock
from bot.store.audit import AuditStore
from bot.store.db import Database

async def main(url, who):
    db = Database(url)
    await db.open()
    audit = AuditStore(db, SystemClock())
    for n in range(25):
        await audit.append("harbour", who, "note.read", f"note_{n}")
    await db.close()

asyncio.run(main(*sys.argv[1:]))
"""


@ON_BOTH
async def test_tasks_and_processes_together_make_one_chain(audit: AuditStore, db: Database, db_url: str) -> None:
    others = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", APPENDS, db_url, f"usr_{n}", stderr=subprocess.PIPE)
        for n in range(2)
    ]

    async def here(who: str) -> None:
        for n in range(10):
            while True:
                try:
                    await audit.append("harbour", who, "note.read", f"note_{n}")
                    break
                except StorageUnavailable as error:  # this test's own database waits 50 ms for the other processes
                    assert error.cause == "locked"  # noqa: PT017

    await asyncio.gather(*(here(f"usr_here_{n}") for n in range(4)))
    for other in others:
        _, said = await other.communicate()
        assert other.returncode == 0, said.decode()
    verdict = await audit.verify()
    assert (verdict.ok, verdict.entries) == (True, 2 * 25 + 4 * 10)
    async with db.read() as session:
        ids = (await session.scalars(select(AuditRow.id).order_by(AuditRow.id))).all()
    assert list(ids) == list(range(1, verdict.entries + 1))


# -- reading it --------------------------------------------------------------------------------------------------------


@ON_BOTH
async def test_pages_and_filters(audit: AuditStore, clock: ManualClock) -> None:
    await six(audit)
    clock.advance(60)
    await audit.append("other", "usr_0", "note.read", "note_0")
    await audit.append("harbour", "key_1", "transcript.read", "ses_1", session_id="ses_1")
    everything = AuditFilter()
    first, cursor = await audit.page(everything, limit=5)
    rest, end = await audit.page(everything, limit=5, cursor=cursor)
    assert [entry.id for entry in (*first, *rest)] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert end is None

    async def ids(**wanted: object) -> list[int]:
        return [entry.id for entry in (await audit.page(AuditFilter(**wanted)))[0]]  # type: ignore[arg-type]

    assert await ids(clinic_id="other") == [7]
    assert await ids(clinic_id="harbour", object="ses_1") == [8, 5, 2]
    assert await ids(object="note_0") == [7, 1]
    assert await ids(actor="usr_1") == [6, 4, 2]
    assert await ids(action="transcript.read") == [8]
    assert await ids(since=clock.now()) == [8, 7]
    assert await ids(until=clock.now(), actor="usr_0") == [5, 3, 1]
    for wrong in ("x", "-1", "٣", "9" * 16):
        with pytest.raises(ConfigInvalid, match="cursor"):
            await audit.page(everything, cursor=wrong)
    assert [entry.id async for entry in audit.every()] == list(range(1, 9))


def test_a_pause_reason_is_an_id_like_word() -> None:
    for reason in PauseReason:
        assert chain.id_like(reason.value) == reason.value
