"""Erasure receipts: what was held, where it lay and when it was destroyed, signed so that anybody can check it offline.

A receipt is one line of canonical JSON (sorted keys, no spaces, integers only: the part of RFC 8785 that receipts need)
with an Ed25519 signature over the same document without its ``signature``. The verifier writes what it read down again
and compares every byte, so that no changed byte, not even a space, passes.

The sealed chunks of a lane are counted and fixed by an append-only hash tree (RFC 6962, section 2.1). Only its peaks
are kept, so it can grow after its chunks are gone and never needs one of them again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bot.errors import SetupError

RECEIPT_TYPE = "quietnote.erasure-receipt"
RECEIPT_VERSION = 1
KEY_FILE = "receipt-key.pem"
MAX_RECEIPT_BYTES = 1 << 20
METHOD = "NIST SP 800-88 Rev. 2: Purge (cryptographic erase)"
"""The standard's name for destroying the only key of sealed data; the sealed bytes are removed as well."""

_LEAF, _NODE = b"\x00", b"\x01"
_MAX_INT = 2**53 - 1
"""The largest whole number every JSON reader agrees on (RFC 8785, section 3.2.2.3)."""


# -- canonical JSON ---------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """The one way to write ``value`` as JSON. Raises ValueError for what has no single form (floats, other types)."""
    _check(value)
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _check(value: Any) -> None:
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) > _MAX_INT:
            raise ValueError("a whole number outside 2^53 has no canonical form")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("canonical JSON has string keys")  # noqa: TRY004  callers ask one question: canonical?
            _check(item)
        return
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for item in value:
            _check(item)
        return
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _ordered(value: Any) -> Any:
    """``value`` with its keys in the order of their UTF-16 code units."""
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda k: k.encode("utf-16-be"))}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def timestamp(at: datetime) -> str:
    """A time as RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- the hash tree ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MerkleLog:
    """An append-only hash tree, held as the roots of its full subtrees, largest first. ``append`` gives a new one."""

    count: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, entry: bytes) -> MerkleLog:
        """The tree with one more leaf: the SHA-256 of ``entry``, as RFC 6962 hashes leaves."""
        return self.append_hash(leaf_hash(entry))

    def append_hash(self, leaf: bytes) -> MerkleLog:
        """The tree with one more leaf of which only the :func:`leaf_hash` is still known."""
        peaks, merging = list(self.peaks), self.count
        while merging & 1:
            leaf = _node(peaks.pop(), leaf)
            merging >>= 1
        return MerkleLog(self.count + 1, (*peaks, leaf))

    @property
    def root(self) -> bytes:
        """The tree's root; of an empty tree the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256().digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _node(peak, root)
        return root

    def to_json(self) -> dict[str, Any]:
        """As stored with a lane: ``{"count": n, "peaks": [hex, ...]}``."""
        return {"count": self.count, "peaks": [peak.hex() for peak in self.peaks]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> MerkleLog:
        """The tree that was stored; an empty mapping is the empty tree. Raises ValueError when it cannot be one."""
        log = cls(int(stored.get("count", 0)), tuple(bytes.fromhex(peak) for peak in stored.get("peaks", ())))
        if log.count < 0 or len(log.peaks) != log.count.bit_count() or any(len(peak) != 32 for peak in log.peaks):
            raise ValueError("not the peaks of a hash tree")
        return log


def leaf_hash(entry: bytes) -> bytes:
    """The hash under which ``entry`` stands in a tree."""
    return hashlib.sha256(_LEAF + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


# -- signing ----------------------------------------------------------------------------------------------------------


class ReceiptKeyUnusable(SetupError):
    """The file of the signing key is not an Ed25519 key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} does not hold an Ed25519 private key; restore it from a backup or move it away")


class ReceiptSigner:
    """Holds the key that signs receipts."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key = private_key.public_key()
        self.key_id = key_id(self.public_key)

    @classmethod
    def load(cls, folder: Path) -> ReceiptSigner:
        """The key of ``folder``, made at first use, for the owner alone. Raises :class:`ReceiptKeyUnusable`."""
        path = folder / KEY_FILE
        if not path.exists():
            _write_new_key(path)
        path.chmod(0o600)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ReceiptKeyUnusable(path) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ReceiptKeyUnusable(path)
        return cls(key)

    def sign(self, statement: Mapping[str, Any], *, kind: str = RECEIPT_TYPE) -> bytes:
        """The receipt that says ``statement``, or another ``kind`` of document: the exact bytes to store and send."""
        document = dict(statement) | {"type": kind, "version": RECEIPT_VERSION, "key_id": self.key_id}
        document.pop("signature", None)
        signature = self._private_key.sign(canonical(document))
        return canonical(document | {"signature": _b64(signature)})

    def public_keys(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set (RFC 8037), for ``/.well-known/quietnote-receipt-keys.json``."""
        return {"keys": [public_jwk(self.public_key)]}


def _write_new_key(path: Path) -> None:
    """Write a new key so that a crash leaves either none or a whole one, and of two processes one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """A public key as a JSON Web Key."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _b64url(raw)}
    return jwk | {"kid": _thumbprint(jwk), "alg": "EdDSA", "use": "sig"}


def key_id(key: Ed25519PublicKey) -> str:
    """The key's name: its RFC 7638 thumbprint."""
    return public_jwk(key)["kid"]


def _thumbprint(jwk: Mapping[str, str]) -> str:
    return _b64url(hashlib.sha256(canonical(jwk)).digest())


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


# -- verifying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking a receipt. ``statement`` is only there when it is valid."""

    valid: bool
    reason: str
    """One plain sentence."""
    statement: Mapping[str, Any] = field(default_factory=dict)


def load_public_keys(data: bytes) -> list[Ed25519PublicKey]:
    """The Ed25519 keys in a PEM file, a JSON Web Key or a key set; empty when there are none."""
    try:
        if data.lstrip().startswith(b"-----"):
            key = serialization.load_pem_public_key(data)
            return [key] if isinstance(key, Ed25519PublicKey) else []
        document = json.loads(data)
        entries = document.get("keys", [document])
        return [
            Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(entry["x"] + "=" * (-len(entry["x"]) % 4)))
            for entry in entries
            if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519"
        ]
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return []


CHANGED = "This is not a receipt as it was written: its bytes were changed. If a program reformatted it, save it again."


def verify_receipt(
    file_bytes: bytes, public_key: Ed25519PublicKey | Sequence[Ed25519PublicKey], *, kind: str = RECEIPT_TYPE
) -> Verdict:
    """Check a receipt, or another ``kind`` of signed document, against one public key or several. Never raises."""
    keys = [public_key] if isinstance(public_key, Ed25519PublicKey) else list(public_key)
    if len(file_bytes) > MAX_RECEIPT_BYTES:
        return Verdict(valid=False, reason="This is too large to be a receipt.")
    try:
        document = json.loads(file_bytes.decode("utf-8"))
        unchanged = isinstance(document, dict) and canonical(document) == file_bytes
    except (ValueError, RecursionError):
        return Verdict(valid=False, reason="This is not a receipt: it is not canonical JSON.")
    if not unchanged:
        return Verdict(valid=False, reason=CHANGED)
    if document.get("type") != kind or document.get("version") != RECEIPT_VERSION:
        return Verdict(valid=False, reason="This is not a receipt of a version this program knows.")
    key = next((key for key in keys if key_id(key) == document.get("key_id")), None)
    if key is None:
        return Verdict(valid=False, reason="This receipt was signed with another key than the one given.")
    encoded = document.pop("signature", None)
    try:
        signature = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
        if _b64(signature) != encoded:
            return Verdict(valid=False, reason="The signature is not written as it was made.")
        key.verify(signature, canonical(document))
    except (InvalidSignature, binascii.Error, ValueError):
        return Verdict(valid=False, reason="The signature does not fit: something in this receipt was changed.")
    return Verdict(valid=True, reason="Every byte of this receipt is as it was signed.", statement=document)
