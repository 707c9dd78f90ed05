from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bot.store.receipts import (
    KEY_FILE,
    MerkleLog,
    ReceiptKeyUnusable,
    ReceiptSigner,
    canonical,
    key_id,
    load_public_keys,
    verify_receipt,
)

STATEMENT = {
    "id": "rc_1",
    "session_id": "se_1",
    "kind": "audio",
    "held": {"lanes": [{"lane_id": "la_1", "chunks": 3, "tree_root": "00" * 32}], "chunks": 3},
    "destroyed_at": "2026-01-05T09:00:00.000Z",
    "method": "é",
}


def tree_head(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_head(entries[:k]) + tree_head(entries[k:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_peaks_give_the_tree_head_of_the_standard(entries: list[bytes]) -> None:
    log = MerkleLog()
    for entry in entries:
        log = MerkleLog.from_json(json.loads(json.dumps(log.append(entry).to_json())))
    assert (log.count, log.root) == (len(entries), tree_head(entries))


@pytest.mark.parametrize(
    "stored", [{"count": 2, "peaks": []}, {"count": 1, "peaks": ["00"]}, {"count": -1, "peaks": []}]
)
def test_what_cannot_be_a_tree_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="hash tree"):
        MerkleLog.from_json(stored)


def test_canonical_json_sorts_by_utf16_and_leaves_no_choice() -> None:
    # the example of RFC 8785, section 3.2.3: U+FB33 sorts after the surrogates of an emoji
    assert list(json.loads(canonical({"\ufb33": 1, "\U0001f600": 2, "1": 3, "\u20ac": 4}))) == [
        "1",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]
    assert canonical({"b": [True, None, "é\n"], "a": 1}) == '{"a":1,"b":[true,null,"é\\n"]}'.encode()


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, {1: 2}, b"x", object(), "\ud800"])
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_every_changed_byte_fails(tmp_path: Path) -> None:
    signer = ReceiptSigner.load(tmp_path)
    receipt = signer.sign(STATEMENT)
    assert verify_receipt(receipt, signer.public_key).valid
    for position in range(len(receipt)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(receipt)
            changed[position] ^= flip
            assert not verify_receipt(bytes(changed), signer.public_key).valid, (position, flip)
        assert not verify_receipt(receipt[:position], signer.public_key).valid
        assert not verify_receipt(receipt[:position] + b" " + receipt[position:], signer.public_key).valid
    assert not verify_receipt(receipt + b"\n", signer.public_key).valid


@given(st.binary(max_size=200))
def test_noise_is_never_valid_and_never_raises(data: bytes) -> None:
    assert not verify_receipt(data, Ed25519PrivateKey.generate().public_key()).valid


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"{}",
        b"null",
        b'{"key_id":{},"signature":1,"type":"quietnote.erasure-receipt","version":1}',
        b"9" * 10_000,
    ],
)
def test_hostile_files_are_refused(data: bytes) -> None:
    verdict = verify_receipt(data, Ed25519PrivateKey.generate().public_key())
    assert not verdict.valid
    assert verdict.reason


def test_another_key_does_not_verify_and_a_set_of_keys_does(tmp_path: Path) -> None:
    signer, other = ReceiptSigner.load(tmp_path / "a"), ReceiptSigner.load(tmp_path / "b")
    receipt = signer.sign(STATEMENT)
    assert "another key" in verify_receipt(receipt, other.public_key).reason
    verdict = verify_receipt(receipt, [other.public_key, signer.public_key])
    assert verdict.valid
    assert verdict.statement["session_id"] == "se_1"
    assert verdict.statement["key_id"] == signer.key_id


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first, second = ReceiptSigner.load(tmp_path / "vault"), ReceiptSigner.load(tmp_path / "vault")
    assert first.key_id == second.key_id
    assert stat.S_IMODE((tmp_path / "vault" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "vault").iterdir()] == [KEY_FILE]


def test_a_broken_key_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("not a key")
    with pytest.raises(ReceiptKeyUnusable, match="does not hold an Ed25519 private key"):
        ReceiptSigner.load(tmp_path)


def test_public_keys_are_read_back_in_every_form(tmp_path: Path) -> None:
    signer = ReceiptSigner.load(tmp_path)
    keys = signer.public_keys()
    pem = signer.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for data in (json.dumps(keys).encode(), json.dumps(keys["keys"][0]).encode(), pem):
        assert [key_id(key) for key in load_public_keys(data)] == [signer.key_id]
    for junk in (b"", b"{}", b"[]", b"-----BEGIN", b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}'):
        assert load_public_keys(junk) == []
