"""``quietnote export``, ``hold`` and ``delete``: whole records of clients and clinics."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.commands.shared import Json, print_json
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.store.clinic_receipts import ClinicReceipt
    from bot.store.holds import Hold

export_cli = typer.Typer(help="The whole record of a client, or of a clinic, as a ZIP.", no_args_is_help=True)
hold_cli = typer.Typer(help="Legal holds.", no_args_is_help=True)
delete_cli = typer.Typer(help="Delete the whole record of a client, or of a clinic, for good.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(help="The client's reference: `client_ref`, or without one the participant's id.")]
Clinic = Annotated[str, typer.Option(help="The clinic's id.")]
Out = Annotated[Path | None, typer.Option(help="File to write, mode 600.", show_default="named by the time")]
Shared = Annotated[bool, typer.Option(help="With sessions in which another client took part too.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ReceiptFile = Annotated[Path | None, typer.Option("--receipt", help="Write the signed receipt to this file too.")]


@export_cli.command("client")
def export_client(client_ref: Ref, clinic: Clinic = "demo", out: Out = None, with_shared: Shared = False) -> None:
    """Notes with their evidence, consent, receipts, session facts, and the audit's entries about one client."""
    from bot import records

    print(f"wrote {asyncio.run(records.export(Settings(), clinic, client_ref, out, shared=with_shared))}")


@export_cli.command("clinic")
def export_clinic(clinic: Annotated[str, typer.Argument(help="The clinic's id.")], out: Out = None) -> None:
    """The same of every client, with the clinic's configurations, people and keys; no secret of any."""
    from bot import records

    print(f"wrote {asyncio.run(records.export(Settings(), clinic, None, out, shared=True))}")


@hold_cli.command("place")
def hold_place(
    matter: Annotated[str, typer.Option(help="Id of the case it is for, without spaces; never what it is about.")],
    client: Annotated[str | None, typer.Option(help="Hold everything of this client.")] = None,
    session: Annotated[str | None, typer.Option(help="Hold this session.")] = None,
    clinic: Clinic = "demo",
) -> None:
    """Keep retention and deletion from the notes of one client or session, until it is lifted."""
    from bot import records

    print(f"placed {asyncio.run(records.place_hold(Settings(), clinic, client, session, matter)).id}")


@hold_cli.command("lift")
def hold_lift(hold_id: Annotated[str, typer.Argument(help="Its id, as `hold list` shows it.")]) -> None:
    """End a hold; it stays in the list."""
    from bot import records

    print(f"lifted {asyncio.run(records.lift_hold(Settings(), hold_id)).id}")


@hold_cli.command("list")
def hold_list(
    clinic: Annotated[str | None, typer.Option(help="One clinic's only.", show_default="every clinic's")] = None,
    as_json: Json = False,
) -> None:
    """Say which holds there are, the newest first."""
    from bot import records

    found = asyncio.run(records.list_holds(Settings(), clinic))
    if as_json:
        print_json([_told(one) for one in found])
    for one in [] if as_json else found:
        on = f"client {one.client_ref}" if one.client_ref is not None else f"session {one.session_id}"
        ended = f", lifted {_when(one.lifted_at)}" if one.lifted_at is not None else ""
        print(f"{one.id}  {one.clinic_id}  {on}  matter {one.matter}  since {_when(one.placed_at)}{ended}")


@delete_cli.command("client")
def delete_client(
    client_ref: Ref, clinic: Clinic = "demo", with_shared: Shared = False, yes: Yes = False, receipt: ReceiptFile = None
) -> None:
    """Delete all sessions of a client: notes, typed text, names, answers on consent. Receipts and the audit stay."""
    from bot import records
    from bot.errors import NotFound

    settings, sessions = Settings(), 0
    try:
        found = asyncio.run(records.client_summary(settings, clinic, client_ref))
    except NotFound:
        pass  # deleted already, or begun: then it is carried through
    else:
        sessions = found.sessions
        also = f", {found.shared} of them with another client" if found.shared else ""
        _ask(f"{sessions} sessions{also} and {found.notes} notes of this client are deleted for good.", yes)
    work = records.delete_client(settings, clinic, client_ref, expect=sessions, shared=with_shared)
    _done(asyncio.run(work), receipt)


@delete_cli.command("clinic")
def delete_clinic(
    clinic: Annotated[str, typer.Argument(help="The clinic's id.")], yes: Yes = False, receipt: ReceiptFile = None
) -> None:
    """Delete a clinic with everything in it, its key first. Its id is not used again. Receipts and the audit stay."""
    from bot import records
    from bot.errors import NotFound

    settings, sessions = Settings(), 0
    try:
        sessions = asyncio.run(records.clinic_sessions(settings, clinic))
    except NotFound:
        pass
    else:
        _ask(f"The clinic {clinic} with its {sessions} sessions, people and keys is deleted for good.", yes)
    _done(asyncio.run(records.delete_clinic(settings, clinic, expect=sessions)), receipt)


def _ask(what: str, yes: bool) -> None:
    if not yes:
        typer.confirm(f"{what} Go on?", abort=True)


def _done(made: ClinicReceipt, path: Path | None) -> None:
    if path is not None:
        path.write_bytes(made.body)
    print(f"deleted {json.loads(made.body)['sessions']['count']} sessions; receipt {made.id}")


def _told(one: Hold) -> dict[str, str | None]:
    return {
        "id": one.id,
        "clinic_id": one.clinic_id,
        "client_ref": one.client_ref,
        "session_id": one.session_id,
        "matter": one.matter,
        "placed_by": one.placed_by,
        "placed_at": _when(one.placed_at),
        "lifted_by": one.lifted_by,
        "lifted_at": _when(one.lifted_at) if one.lifted_at is not None else None,
    }


def _when(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
