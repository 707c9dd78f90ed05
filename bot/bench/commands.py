"""``quietnote bench``: each subcommand is a shim over the measurement of that name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import stopping

bench_cli = typer.Typer(help="The figures the project claims.", no_args_is_help=True)

AlwaysJson = Annotated[bool, typer.Option("--json", help="Changes nothing: one JSON object is printed in any case.")]
Model = Annotated[str, typer.Option(help="Speech model: a name or a path.")]


def _print(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@bench_cli.command("live")
def bench_live(
    call: Annotated[Path, typer.Option(help="BASE of BASE.doctor.opus, BASE.patient.opus and BASE.json.")],
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of the call that are played.")] = 60.0,
    model: Model = "tiny.en",
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
    model: Model = "tiny.en",
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
    model: Model = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Pause at random, in virtual time and in real calls: what is kept after it, and which words are lost."""
    from bot.bench import pause

    _print(stopping.run(lambda: pause.run(n, real=real, seed=seed, model=model)))
    _ = as_json


@bench_cli.command("aftercall")
def bench_aftercall(
    minutes: Annotated[float, typer.Option(min=0.1, max=170, help="Length of the call that is replayed.")] = 60.0,
    sessions: Annotated[int, typer.Option(min=1, help="Several: of 5 to 120 minutes, told as p50 and p95.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="Folder in which data, temporary files and logs stay.")] = None,
    model: Model = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Replay a call at speed: from Finish to transcript and draft, how long sound was kept, and what is left of it."""
    from bot.bench import aftercall

    _print(stopping.run(lambda: aftercall.run(minutes, sessions=sessions, model=model, keep=keep)))
    _ = as_json


@bench_cli.command("noise")
def bench_noise(
    folder: Annotated[Path, typer.Option("--dir", help="Folder of audio files that hold no speech.")],
    model: Model = "tiny.en",
    as_json: AlwaysJson = False,
) -> None:
    """Stream noise as a lane and count the words that were written."""
    from bot.bench import noise

    _print(noise.run(folder, model=model))
    _ = as_json
