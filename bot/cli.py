"""The ``quietnote`` command. Each subcommand is a shim: it reads settings and calls the part that does the work."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from bot import __version__, log, stopping
from bot.errors import ProblemError, QuietnoteError, StorageUnavailable
from bot.settings import Settings, explain

cli = typer.Typer(
    name="quietnote",
    help="A session scribe for telehealth calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
receipt_cli = typer.Typer(help="Erasure receipts.", no_args_is_help=True)
config_cli = typer.Typer(help="The configuration files.", no_args_is_help=True)
user_cli = typer.Typer(help="People who sign in.", no_args_is_help=True)
key_cli = typer.Typer(help="API keys of platforms.", no_args_is_help=True)
bench_cli = typer.Typer(help="The figures the project claims.", no_args_is_help=True)
cli.add_typer(receipt_cli, name="receipt")
cli.add_typer(config_cli, name="config")
cli.add_typer(user_cli, name="user")
cli.add_typer(key_cli, name="key")
cli.add_typer(bench_cli, name="bench")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
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
AlwaysJson = Annotated[bool, typer.Option("--json", help="Changes nothing: one JSON object is printed in any case.")]


def _version(asked: bool) -> None:
    if asked:
        print(f"quietnote {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    _ = version


def main() -> None:
    """Run the command; every failure is one line on the terminal and exit code 1 (2 for wrong usage)."""
    log.setup(level="ERROR", json=False)
    try:
        _command()
    except SystemExit as end:
        stopping.leave(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def _command() -> None:
    try:
        cli()
    except ProblemError as error:
        _fail(error.detail)
    except QuietnoteError as error:
        _fail(str(error))
    except (ValidationError, SettingsError) as error:
        _fail(explain(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _fail(StorageUnavailable.of("data folder", error).detail)
        _fail(f"{error.strerror or type(error).__name__}{f': {error.filename}' if error.filename else ''}")
    except Exception as error:  # noqa: BLE001  its text may hold what somebody said: only where it happened is shown
        _fail(f"a fault of ours: {type(error).__name__} at {log.where(error.__traceback__)}")


def _fail(line: str) -> NoReturn:
    print(f"quietnote: {line}", file=sys.stderr)
    raise SystemExit(1)


def _print(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@cli.command()
def serve(
    dev: Annotated[bool, typer.Option(help="Development mode: the fixed key `dev`. Loopback only.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve everything in one process: API, pages, rooms, recognition, notes."""
    from bot import server

    settings = Settings()
    given = {"dev": dev or settings.dev, "host": host or settings.host, "port": settings.port if port is None else port}
    settings = Settings.model_validate(settings.model_dump() | given)
    log.setup(level=settings.log_level, json=settings.log_json)
    stopping.run(lambda: server.serve(settings))


@cli.command()
def demo(
    as_json: Json = False,
    leave: Annotated[bool, typer.Option("--exit", help="End after the call instead of keeping the pages up.")] = False,
    host: Annotated[str, typer.Option(help="Address of the pages.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="Port of the pages; 0 takes a free one.", show_default="8080, else a free one"),
    ] = None,
) -> None:
    """Play a whole call, spoken by two synthetic participants over real WebRTC, on a fresh data directory."""
    from bot.demo import command

    folder = Path(tempfile.mkdtemp(prefix="quietnote-demo-"))
    try:
        settings = Settings(data_dir=folder, dev=True, host=host, port=command.port_for(host, port, leave=leave))
        log.setup(level="ERROR", json=False)
        result = stopping.run(lambda: command.run(settings, as_json=as_json, leave=leave))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json and result is not None:
        _print(result)


@cli.command()
def transcribe(
    file: Annotated[Path, typer.Argument(help="Any audio or video file.")],
    as_json: Json = False,
    model: Annotated[str | None, typer.Option(help="Speech model: a name or a path.")] = None,
    language: Annotated[str, typer.Option(help="Language spoken.")] = "en",
) -> None:
    """Recognise a recording on this machine; nothing is stored."""
    from bot.asr import command

    settings = Settings() if model is None else Settings(asr_model=model)
    command.transcribe(file, settings, as_json=as_json, language=language)


@cli.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, reachable and missing; exit 1 if the main job would fail."""
    from bot import doctor as checks

    report = asyncio.run(checks.examine(Settings()))
    if as_json:
        _print([check.as_json() for check in report])
    else:
        for check in report:
            print(check.line())
    if any(check.fatal for check in report):
        raise SystemExit(1)


@receipt_cli.command("verify")
def receipt_verify(
    file: Annotated[Path, typer.Argument(help="The receipt, as it was downloaded.")],
    key: Annotated[Path, typer.Option(help="The public key, or the key set the service publishes.")],
    as_json: Json = False,
) -> None:
    """Check a receipt's signature, offline."""
    from bot.store import receipts

    try:
        body, keys = file.read_bytes(), receipts.load_public_keys(key.read_bytes())
    except OSError as error:
        _fail(f"cannot be read: {error.filename}")
    if not keys:
        _fail(f"cannot be read: {key} holds no public key")
    verdict = receipts.verify_receipt(body, keys)
    if as_json:
        _print({"valid": verdict.valid, "reason": verdict.reason})
    else:
        print("valid" if verdict.valid else f"NOT valid: {verdict.reason}")
    if not verdict.valid:
        raise SystemExit(1)


@config_cli.command("check")
def config_check() -> None:
    """Validate the configuration files, and that what they name is there."""
    from bot import clinics, fitness
    from bot.asr import models
    from bot.control.consentform import load_forms
    from bot.notes.templates import load_templates

    settings = Settings()
    forms = load_forms(settings.config_dir)
    found = clinics.load_files(settings.config_dir)
    templates = load_templates(settings.config_dir)
    for line in fitness.check(found.values(), templates, partial(models.check_language, settings.asr_model)):
        print(f"Warning: {line}", file=sys.stderr)
    named = ", ".join(found)
    print(f"{len(found)} clinics ({named}), {len(templates)} templates and {len(forms)} consent forms are valid")


@config_cli.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a clinic's configuration."""
    from bot.clinics import ClinicConfig

    _print(ClinicConfig.model_json_schema())


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
        _print(made.as_json() | {"key": key})
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
        _print([key.as_json() for key in found])
    else:
        for key in found:
            print(key.line())


@key_cli.command("revoke")
def key_revoke(key_id: Annotated[str, typer.Argument(help="Its id, as `key list` shows it.")]) -> None:
    """Refuse a key from now on, for good."""
    from bot import people

    asyncio.run(people.revoke_key(Settings(), key_id))
    print(f"revoked {key_id}")


@bench_cli.command("live")
def bench_live(
    call: Annotated[Path, typer.Option(help="BASE of BASE.doctor.opus, BASE.patient.opus and BASE.json.")],
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of the call that are played.")] = 60.0,
    model: Annotated[str, typer.Option(help="Speech model: a name or a path.")] = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Play a recorded call over real WebRTC in real time and score what comes back."""
    from bot.bench import live

    result = asyncio.run(live.run(call, seconds=seconds, model=model))
    _print(result)
    _ = as_json


@bench_cli.command("start")
def bench_start(
    starts: Annotated[int, typer.Option(min=1, help="How often Start is pressed, in a session each.")] = 20,
    model: Annotated[str, typer.Option(help="Speech model: a name or a path.")] = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Press Start in the middle of a conversation: how soon sound is captured, and which words are lost."""
    from bot.bench import start

    _print(asyncio.run(start.run(starts, model=model)))
    _ = as_json


@bench_cli.command("pause")
def bench_pause(
    n: Annotated[int, typer.Option("--n", min=1, help="How many pauses.")] = 1000,
    real: Annotated[int, typer.Option(min=0, help="How many of them in real calls.")] = 50,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same virtual pauses.")] = None,
    model: Annotated[str, typer.Option(help="Speech model: a name or a path.")] = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Pause at random, in virtual time and in real calls: what is kept after it, and which words are lost."""
    from bot.bench import pause

    _print(stopping.run(lambda: pause.run(n, real=real, seed=seed, model=model)))
    _ = as_json


@bench_cli.command("noise")
def bench_noise(
    folder: Annotated[Path, typer.Option("--dir", help="Folder of audio files that hold no speech.")],
    model: Annotated[str, typer.Option(help="Speech model: a name or a path.")] = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Stream noise as a lane and count the words that were written."""
    from bot.bench import noise

    _print(noise.run(folder, model=model))
    _ = as_json
