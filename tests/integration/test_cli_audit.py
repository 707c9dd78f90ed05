"""The audit from the command line: checked, and exported for somebody else to keep."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store.receipts import ReceiptSigner, load_public_keys, public_jwk, verify_receipt
from tests.integration.forks import Ended, Forks
from tests.integration.test_cli import WITHIN_S, environment


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


class Quietnote:
    """The command on one data directory, and what an intruder may do to its database."""

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.folder, self._forks, self._environ = folder, forks, environment(folder, QUIETNOTE_LOG_LEVEL="ERROR")

    def __call__(self, *args: str) -> Ended:
        return self._forks.run(args, self._environ, "", within_s=WITHIN_S)

    def tamper(self, statement: str) -> None:
        db = sqlite3.connect(self.folder / "data" / "quietnote.db")
        with db:
            db.execute(statement)
        db.close()


@pytest.fixture
def quietnote(forks: Forks, tmp_path: Path) -> Quietnote:
    made = Quietnote(forks, tmp_path)
    for label in ("one", "two", "three"):
        assert made("key", "add", "--label", label).code == 0
    return made


def test_export_and_verify(quietnote: Quietnote, tmp_path: Path) -> None:
    told = quietnote("audit", "export")
    assert (told.code, told.err) == (0, "")
    *entries, head = map(json.loads, told.out.splitlines())
    assert [one["action"] for one in entries] == ["config.seeded", *["key.made"] * 3, "audit.exported"]
    assert {one["actor"] for one in entries} == {"operator"}
    assert [one["id"] for one in entries] == [1, 2, 3, 4, 5]
    assert (head["entries"], head["sha256"]) == (5, entries[-1]["sha256"])
    keys = load_public_keys(json.dumps({"keys": [jwk_of(quietnote)]}).encode())
    assert verify_receipt(told.out.splitlines()[-1].encode(), keys, kind=head["type"]).valid
    kept = tmp_path / "kept.jsonl"
    kept.write_text(told.out)
    for given in ([], ["--head", head["sha256"]], ["--head", str(kept)]):
        found = quietnote("audit", "verify", *given)
        assert (found.code, found.out) == (0, "holds: 5 entries. Every entry follows from the one before it.\n")
    assert quietnote("audit", "verify", "--head", "f" * 64).code == 1
    assert quietnote("audit", "verify", "--head", str(tmp_path / "none")).line.startswith("--head: neither a hash")
    (tmp_path / "other").write_text(told.out.replace(head["sha256"], "e" * 64))
    assert "not a head that was signed" in quietnote("audit", "verify", "--head", str(tmp_path / "other")).line
    mine = quietnote("audit", "export", "--clinic", "demo").out.splitlines()
    assert {json.loads(line)["clinic_id"] for line in mine[:-1]} == {"demo"}


def jwk_of(quietnote: Quietnote) -> dict[str, str]:
    return public_jwk(ReceiptSigner.load(quietnote.folder / "data" / "vault").public_key)


def test_what_was_tampered_with_is_said(quietnote: Quietnote) -> None:
    head = json.loads(quietnote("audit", "export").out.splitlines()[-1])
    quietnote.tamper("DELETE FROM audit WHERE id=5")
    assert quietnote("audit", "verify").code == 0  # nothing was kept on this host: no service ran
    found = quietnote("audit", "verify", "--head", head["sha256"], "--json")
    verdict = json.loads(found.out)
    assert (found.code, verdict["ok"], verdict["missing_head"]) == (1, False, head["sha256"])
    quietnote.tamper("UPDATE audit SET actor='usr_9' WHERE id=3")
    found = quietnote("audit", "verify", "--json")
    verdict = json.loads(found.out)
    assert (found.code, verdict["broken_at"], verdict["entries"]) == (1, 3, 2)
    assert quietnote("audit", "verify").out.startswith("DOES NOT HOLD: 2 entries. Entry 3 does not follow")
