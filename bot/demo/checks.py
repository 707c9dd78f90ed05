"""What is looked at after a call, from what the API answered."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.store.receipts import canonical, load_public_keys, verify_receipt

PARTS = ("off", "absent", "captured", "paused", "withheld", "lost")


def lane_ledgers(session: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The lanes' ledgers in a session as the API gives it: a list of lanes, or lanes by participant."""
    lanes = session.get("lanes") or ()
    for lane in lanes.values() if isinstance(lanes, Mapping) else lanes:
        yield lane.get("ledger", lane)


def _part(ledger: Mapping[str, Any], name: str) -> int | None:
    for key in (name, f"{name}_samples"):
        if key in ledger:
            return int(ledger[key])
    return None


def ledger_closes(ledger: Mapping[str, Any]) -> bool:
    """Check the sums; where the answer is in rounded milliseconds its own verdict must do."""
    elapsed = _part(ledger, "elapsed")
    if elapsed is None:
        return ledger.get("closes") is True
    parts = [_part(ledger, name) for name in PARTS]
    captured, speech, silence = (_part(ledger, name) for name in ("captured", "speech", "silence"))
    if None in parts or captured is None or speech is None or silence is None:
        return False
    sums = elapsed == sum(part or 0 for part in parts) and captured == speech + silence
    return sums and ledger.get("closes", True) is True


def ledgers_close(session: Mapping[str, Any]) -> bool:
    """True when there are ledgers and every one closes."""
    ledgers = list(lane_ledgers(session))
    return bool(ledgers) and all(ledger_closes(ledger) for ledger in ledgers)


def lost_ms(session: Mapping[str, Any]) -> float:
    """Sound that was sent and never got, over all lanes."""
    total = 0.0
    for ledger in lane_ledgers(session):
        samples = _part(ledger, "lost")
        total += samples / 16 if samples is not None else float(ledger.get("lost_ms", 0))
    return total


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


def receipt_files(receipts: Mapping[str, Any]) -> Iterator[bytes]:
    """The receipts of a session as files: each is given as its document, as text, or in Base64."""
    for entry in receipts.get("receipts", receipts.get("items", ())):
        held = entry
        for key in ("receipt", "document", "body", "file"):
            held = entry.get(key, held) if held is entry else held
        if isinstance(held, str):
            yield held.encode() if held.lstrip().startswith("{") else base64.b64decode(held)
        elif isinstance(held, Mapping):
            yield canonical(held)


def receipts_valid(receipts: Mapping[str, Any], keys: bytes) -> bool:
    """True when there is a receipt and each one's signature fits one of the public keys."""
    files = list(receipt_files(receipts))
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
