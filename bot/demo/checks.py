"""What is looked at after a call, from what the API answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.events import SAMPLE_RATE_HZ
from bot.store.receipts import load_public_keys, verify_receipt

PARTS = ("off", "absent", "captured", "paused", "withheld", "lost")


def lane_ledgers(session: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The accounts of a session's lanes, in samples."""
    return [lane["ledger"] for lane in session["lanes"]]


def ledgers_close(session: Mapping[str, Any]) -> bool:
    """Add up every lane's account again. False when there is no lane."""
    ledgers = lane_ledgers(session)
    return bool(ledgers) and all(
        ledger["elapsed"] == sum(ledger[part] for part in PARTS)
        and ledger["captured"] == ledger["speech"] + ledger["silence"]
        for ledger in ledgers
    )


def lost_ms(session: Mapping[str, Any]) -> float:
    """Sound that was sent and never got, over all lanes."""
    return sum(int(ledger["lost"]) for ledger in lane_ledgers(session)) * 1000 / SAMPLE_RATE_HZ


def sentences_of(note: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every sentence of every section."""
    return [sentence for section in note["sections"] for sentence in section["sentences"]]


def evidence_missing(note: Mapping[str, Any], transcript: Mapping[str, Any]) -> int:
    """Sentences without evidence, or whose cited segments are not in the transcript as they were cited."""
    texts = {segment["id"]: segment["text"] for segment in transcript["segments"]}

    def holds(evidence: Mapping[str, Any]) -> bool:
        if evidence["source"] != "segment":
            return True
        text = texts.get(evidence["source_id"])
        return text is not None and hashlib.sha256(text.encode()).hexdigest() == evidence["sha256"]

    return sum(
        not sentence["evidence"] or not all(holds(evidence) for evidence in sentence["evidence"])
        for sentence in sentences_of(note)
        if sentence["status"] != "clinician_entered"
    )


def receipts_valid(files: Sequence[bytes], keys: bytes) -> bool:
    """True when there is a receipt and each one's signature fits one of the public keys."""
    known = load_public_keys(keys)
    return bool(files) and all(verify_receipt(file, known).valid for file in files)


def said_in_files(word: str, folder: Path) -> bool:
    """True when any file under ``folder`` holds the word, in any case, in UTF-8 or UTF-16."""
    wanted = [word.encode(), word.encode("utf-16-le")]
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                content = path.read_bytes().lower()
            except OSError:
                continue
            if any(needle in content for needle in wanted):
                return True
    return False
