from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from bot.asr import models
from bot.asr.models import ModelSpec, read_checked, resolve
from bot.errors import ModelHashMismatch, ModelMissing


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in two installed packages that must not be imported."""
    for part, content in (("qn_part1", b"first half, "), ("qn_part2", b"second half")):
        data = tmp_path / "site" / part / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise RuntimeError('a carrier of files was imported')")
        (data / f"model.bin.{part[-5:]}").write_bytes(content)
    for file in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / "site" / "qn_part1" / "data" / file).write_bytes(file.encode())
    spec = ModelSpec(
        name="split",
        sha256=sha(b"first half, second half"),
        languages=(),
        licence="MIT",
        package="qn-part1 and qn-part2",
        parts=(("qn_part1", "data/model.bin.part1"), ("qn_part2", "data/model.bin.part2")),
        files={file: sha(file.encode()) for file in ("config.json", "tokenizer.json", "vocabulary.txt")},
    )
    monkeypatch.setattr(models, "REGISTRY", {"split": spec})
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path


def test_pieces_are_put_together_without_importing_their_packages(split: Path) -> None:
    found = resolve("split", allow_hub=False, cache_dir=split / "cache")
    assert (found.path / "model.bin").read_bytes() == b"first half, second half"
    assert {path.name for path in found.path.iterdir()} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    }
    assert "qn_part1" not in sys.modules
    before = (found.path / "model.bin").stat().st_mtime_ns
    assert resolve("split", cache_dir=split / "cache") == found
    assert (found.path / "model.bin").stat().st_mtime_ns == before, "it is put together once"


def test_a_damaged_copy_in_the_cache_is_made_again(split: Path) -> None:
    found = resolve("split", cache_dir=split / "cache")
    (found.path / "model.bin").write_bytes(b"something else")
    assert (resolve("split", cache_dir=split / "cache").path / "model.bin").read_bytes() == b"first half, second half"


def test_wrong_pieces_are_refused_and_leave_nothing(split: Path) -> None:
    (split / "site" / "qn_part2" / "data" / "model.bin.part2").write_bytes(b"forged half")
    with pytest.raises(ModelHashMismatch):
        resolve("split", cache_dir=split / "cache")
    assert not list((split / "cache").rglob("*model.bin*"))


def test_a_missing_piece_is_a_missing_model(split: Path) -> None:
    (split / "site" / "qn_part2" / "data" / "model.bin.part2").unlink()
    with pytest.raises(ModelMissing, match="qn-part1 and qn-part2"):
        resolve("split", cache_dir=split / "cache")


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/folder", "./no-such-folder"])
def test_what_is_nowhere_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)  # an import would raise: the hub is not asked
    with pytest.raises(ModelMissing):
        resolve(name, allow_hub=False)


def folder_of(path: Path) -> Path:
    path.mkdir()
    for file in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (path / file).write_bytes(file.encode())
    return path


def test_a_folder_of_ones_own_has_its_own_hash_on_record(tmp_path: Path) -> None:
    found = resolve(str(folder_of(tmp_path / "mine")))
    assert (found.name, found.sha256) == ("mine", sha(b"model.bin"))


@pytest.mark.parametrize("file", ["model.bin", "tokenizer.json", "vocabulary.txt", "config.json"])
def test_a_folder_that_lacks_a_file_is_missing(tmp_path: Path, file: str) -> None:
    folder = folder_of(tmp_path / "mine")
    (folder / file).unlink()
    with pytest.raises(ModelMissing, match=file):
        resolve(str(folder))


def test_weights_that_changed_after_they_were_found_are_not_loaded(tmp_path: Path) -> None:
    found = resolve(str(folder_of(tmp_path / "mine")))
    assert read_checked(found)["model.bin"] == b"model.bin"
    (found.path / "model.bin").write_bytes(b"model.bim")
    with pytest.raises(ModelHashMismatch):
        read_checked(found)


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "mine")
    resolve(str(folder))
    monkeypatch.setattr(models, "_blocks", None)
    resolve(str(folder))


def test_the_bundled_model_is_the_pinned_one() -> None:
    found = resolve("tiny.en", allow_hub=False)
    assert found.sha256 == models.REGISTRY["tiny.en"].sha256
    assert found.languages == ("en",)


def test_a_bundled_model_with_a_forged_tokenizer_is_refused(tmp_path: Path) -> None:
    bundled = resolve("tiny.en")
    folder = tmp_path / "forged"
    folder.mkdir()
    for path in bundled.path.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ModelHashMismatch):
        resolve(str(folder))
