"""``quietnote receipt`` and ``audit``: what can be shown to others."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot.commands.shared import Json, print_json
from bot.settings import Settings

receipt_cli = typer.Typer(help="Receipts.", no_args_is_help=True)
audit_cli = typer.Typer(help="The audit chain.", no_args_is_help=True)


@receipt_cli.command("verify")
def receipt_verify(
    file: Annotated[Path, typer.Argument(help="The receipt, as it was downloaded.")],
    key: Annotated[Path, typer.Option(help="The public key, or the key set the service publishes.")],
    as_json: Json = False,
) -> None:
    """Check a receipt's signature, offline."""
    from bot.errors import SetupError
    from bot.store import clinic_receipts, receipts

    try:
        body, keys = file.read_bytes(), receipts.load_public_keys(key.read_bytes())
    except OSError as error:
        raise SetupError(f"cannot be read: {error.filename}") from None
    if not keys:
        raise SetupError(f"cannot be read: {key} holds no public key")
    verdict = receipts.verify_receipt(body, keys)
    if not verdict.valid:
        other = receipts.verify_receipt(body, keys, kind=clinic_receipts.RECORD_TYPE)
        verdict = other if other.valid else verdict
    if as_json:
        print_json({"valid": verdict.valid, "reason": verdict.reason})
    else:
        print("valid" if verdict.valid else f"NOT valid: {verdict.reason}")
    if not verdict.valid:
        raise SystemExit(1)


@receipt_cli.command("list")
def receipt_list(
    clinic: Annotated[str | None, typer.Option(help="One clinic's only.", show_default="every clinic's")] = None,
    as_json: Json = False,
) -> None:
    """Say which receipts there are of deletions, exports and holds, and of sessions that were deleted; newest first."""
    from bot import records

    found = asyncio.run(records.list_receipts(Settings(), clinic))
    if as_json:
        print_json([json.loads(one.body) | {"receipt_id": one.id} for one in found])
    for one in [] if as_json else found:
        print(f"{one.id}  {one.clinic_id}  {one.kind}  {one.created_at:%Y-%m-%d %H:%M} UTC  {one.session_id}".rstrip())


@receipt_cli.command("show")
def receipt_show(receipt_id: Annotated[str, typer.Argument(help="Its id, as `receipt list` shows it.")]) -> None:
    """Print such a receipt, byte by byte as it was signed."""
    from bot import records

    body = asyncio.run(records.show_receipt(Settings(), receipt_id))
    sys.stdout.buffer.write(body)


@audit_cli.command("verify")
def audit_verify(
    head: Annotated[
        str | None,
        typer.Option(help="One kept elsewhere: a hash, or an export.", show_default="the one this host keeps"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that nothing in the audit was changed, removed, inserted, reordered or cut off; exit 1 if it was."""
    from bot import auditing

    found = asyncio.run(auditing.verify(Settings(), head))
    if as_json:
        print_json(found)
    else:
        print(f"{'holds' if found['ok'] else 'DOES NOT HOLD'}: {found['entries']} entries. {found['reason']}")
    if not found["ok"]:
        raise SystemExit(1)


@audit_cli.command("export")
def audit_export(
    clinic: Annotated[str | None, typer.Option(help="One clinic's only.", show_default="every clinic's")] = None,
) -> None:
    """Print the audit, oldest first, a line of JSON each; the last line is its signed head."""
    from bot import auditing

    asyncio.run(auditing.export(Settings(), clinic, print))
