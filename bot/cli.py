"""The ``quietnote`` command. Each subcommand is a shim: it reads settings and calls the part that does the work."""

from __future__ import annotations

import asyncio
import errno
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from bot import __version__, log, stopping
from bot.bench.commands import bench_cli
from bot.commands.access import key_cli, user_cli
from bot.commands.proofs import audit_cli, receipt_cli
from bot.commands.records import delete_cli, export_cli, hold_cli
from bot.commands.shared import Json, print_json
from bot.errors import ProblemError, QuietnoteError, StorageUnavailable
from bot.settings import Settings, explain

cli = typer.Typer(
    name="quietnote",
    help="A session scribe for telehealth calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_cli = typer.Typer(help="The configuration files.", no_args_is_help=True)
cli.add_typer(receipt_cli, name="receipt")
cli.add_typer(config_cli, name="config")
cli.add_typer(user_cli, name="user")
cli.add_typer(key_cli, name="key")
cli.add_typer(audit_cli, name="audit")
cli.add_typer(export_cli, name="export")
cli.add_typer(hold_cli, name="hold")
cli.add_typer(delete_cli, name="delete")
cli.add_typer(bench_cli, name="bench")
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


@cli.command()
def serve(
    dev: Annotated[bool, typer.Option(help="Development mode: the fixed key `dev`. Loopback only.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve everything in one process: API, pages, rooms, recognition, notes."""
    from bot import dumps, server

    dumps.refuse()
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
        print_json(result)


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
        print_json([check.as_json() for check in report])
    else:
        for check in report:
            print(check.line())
    if any(check.fatal for check in report):
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

    print_json(ClinicConfig.model_json_schema())
