"""``quietnote user`` and ``key``: who may come in."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from bot.commands.shared import Json, print_json
from bot.settings import Settings

user_cli = typer.Typer(help="People who sign in.", no_args_is_help=True)
key_cli = typer.Typer(help="API keys of platforms.", no_args_is_help=True)

Password = Annotated[
    str | None,
    typer.Option(
        help="At least 10 characters; asked for if it is not given. On the command line, others of this machine "
        "can read it in the list of processes: leave it out, or use --password-stdin."
    ),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]


@user_cli.command("add")
def user_add(
    email: Annotated[str, typer.Argument(help="The address they sign in with.")],
    name: Annotated[str, typer.Option(help="Their name, as clients see it.")],
    password: Password = None,
    password_stdin: PasswordStdin = False,
    clinic: Annotated[str, typer.Option(help="The clinic's id.")] = "demo",
    role: Annotated[str, typer.Option(help="clinician or admin.")] = "clinician",
) -> None:
    """Add somebody who signs in to the pages."""
    from bot import people

    chosen = _password(password, password_stdin)
    user_id = asyncio.run(people.add(Settings(), email, name, clinic, role, chosen))
    print(f"added {user_id}")


@user_cli.command("set-password")
def user_set_password(
    email: Annotated[str, typer.Argument(help="The address they sign in with.")],
    password: Password = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Give somebody another password; every browser of theirs is signed out."""
    from bot import people

    chosen = _password(password, password_stdin)
    user_id = asyncio.run(people.set_password(Settings(), email, chosen))
    print(f"changed {user_id}")


def _password(given: str | None, from_stdin: bool) -> str:
    if from_stdin:
        if given is not None:
            raise typer.BadParameter("give one of --password and --password-stdin")
        return sys.stdin.readline().rstrip("\r\n")
    if given is not None:
        return given
    return str(typer.prompt("Password, at least 10 characters", hide_input=True, confirmation_prompt=True))


@key_cli.command("add")
def key_add(
    clinic: Annotated[str, typer.Option(help="The clinic's id.")] = "demo",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="sessions, notes or admin; give it once for each.", show_default="all of them"),
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for, as `key list` shows it.")] = "",
    as_json: Json = False,
) -> None:
    """Make a key and print it, once: it is kept as a hash only."""
    from bot import people

    made, key = asyncio.run(people.add_key(Settings(), clinic, scope or ("sessions", "notes", "admin"), label))
    if as_json:
        print_json(made.as_json() | {"key": key})
    else:
        print(f"added {made.id} of clinic {made.clinic_id}, shown once: {key}")


@key_cli.command("list")
def key_list(
    clinic: Annotated[str | None, typer.Option(help="One clinic's only.", show_default="every clinic's")] = None,
    as_json: Json = False,
) -> None:
    """Say which keys there are. The keys themselves cannot be read again."""
    from bot import people

    found = asyncio.run(people.list_keys(Settings(), clinic))
    if as_json:
        print_json([key.as_json() for key in found])
    else:
        for key in found:
            print(key.line())


@key_cli.command("revoke")
def key_revoke(key_id: Annotated[str, typer.Argument(help="Its id, as `key list` shows it.")]) -> None:
    """Refuse a key from now on, for good."""
    from bot import people

    asyncio.run(people.revoke_key(Settings(), key_id))
    print(f"revoked {key_id}")
