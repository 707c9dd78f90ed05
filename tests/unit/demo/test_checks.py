"""What is looked at after a call."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.demo.checks import evidence_missing, ledgers_close, lost_ms, receipts_valid, said_in_files, sentences_of
from bot.store.receipts import ReceiptSigner, canonical

LEDGER = {
    "elapsed": 100, "off": 10, "absent": 20, "captured": 40, "paused": 15, "withheld": 10, "lost": 5,
    "speech": 30, "silence": 10,
}  # fmt: skip


def session(**changed: int) -> dict[str, Any]:
    return {"lanes": [{"ledger": LEDGER}, {"ledger": LEDGER | changed}]}


def test_every_lane_is_added_up_again() -> None:
    assert ledgers_close(session())
    assert not ledgers_close(session(lost=6))
    assert not ledgers_close(session(speech=29))
    assert not ledgers_close({"lanes": []})
    assert lost_ms(session()) == 10 / 16


def test_receipts_are_checked_byte_by_byte() -> None:
    signer = ReceiptSigner(Ed25519PrivateKey.generate())
    other = ReceiptSigner(Ed25519PrivateKey.generate())
    keys = canonical(signer.public_keys())
    receipt = signer.sign({"session_id": "ses_1", "chunks": 3})
    assert receipts_valid([receipt], keys)
    assert not receipts_valid([receipt.replace(b":3", b":4")], keys)
    assert not receipts_valid([receipt, other.sign({"session_id": "ses_1"})], keys)
    assert not receipts_valid([], keys)


def sentence(text: str, *evidence: dict[str, Any], status: str = "supported") -> dict[str, Any]:
    return {"id": "n1", "text": text, "status": status, "evidence": list(evidence)}


def cited(segment: str, text: str) -> dict[str, Any]:
    return {"source": "segment", "source_id": segment, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def test_evidence_must_be_in_the_transcript_as_it_was_cited() -> None:
    transcript = {"segments": [{"id": "s1", "text": "I slept well."}]}
    note = {
        "sections": [
            {
                "sentences": [
                    sentence("holds", cited("s1", "I slept well.")),
                    sentence("none"),
                    sentence("elsewhere", cited("s2", "I slept well.")),
                    sentence("altered", cited("s1", "I slept.")),
                    sentence("typed", status="clinician_entered"),
                    sentence("from an input", {"source": "input", "source_id": "i1", "sha256": ""}),
                ]
            },
            {"sentences": []},
        ]
    }
    assert len(sentences_of(note)) == 6
    assert evidence_missing(note, transcript) == 3


def test_a_word_is_found_in_any_file_and_case(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "words.db").write_bytes(b"\x00\x01 nothing here")
    assert not said_in_files("pomegranate", tmp_path)
    (tmp_path / "a" / "late.log").write_bytes("Pomegranate".encode("utf-16-le"))
    assert said_in_files("pomegranate", tmp_path)
