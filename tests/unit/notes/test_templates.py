from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigInvalid
from bot.notes.templates import load_templates, parse
from tests.unit.notes.sessions import CONFIG, TEMPLATES


def minimal() -> dict[str, Any]:
    return {
        "id": "one",
        "version": 1,
        "title": "One",
        "sections": [
            {"key": "all", "title": "All", "purpose": "Everything.", "roles": ["client"], "takes_rest": True},
        ],
    }


def test_the_shipped_templates_load() -> None:
    assert set(TEMPLATES) >= {"soap", "dap"}
    soap, dap = TEMPLATES["soap"], TEMPLATES["dap"]
    assert [s.key for s in soap.sections] == ["subjective", "objective", "risk", "assessment", "plan"]
    assert [s.key for s in dap.sections] == ["data", "risk", "assessment", "plan"]
    for template in (soap, dap):
        for section in template.sections:
            assert section.purpose
            assert section.must_never_state
            assert section.placeholder == "Not discussed."


def test_a_template_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TEMPLATES["soap"].title = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d.pop("title"), "title: "),
        (lambda d: d.update(sections=[]), "sections: "),
        (lambda d: d.update(sections=d["sections"] * 2), "template: "),
        (lambda d: d.update(surprise=1), "surprise: "),
        (lambda d: d["sections"][0].update(max_sentences=0), "sections.0.max_sentences: "),
        (lambda d: d["sections"][0].update(roles=["robot"]), "sections.0.roles.0: "),
        (lambda d: d["sections"][0].update(rules=[{"key": "x"}]), "sections.0.rules.0: "),
        (lambda d: d["sections"][0].update(rules=[{"key": "x", "cues": ["a", "b|c"]}]), "sections.0.rules.0.cues.1: "),
        (lambda d: d["sections"][0].update(never=[""]), "sections.0.never.0: "),
        (lambda d: d["sections"][0].update(inputs=["photo"]), "sections.0.inputs.0: "),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change: Any, path: str) -> None:
    data = minimal()
    change(data)
    with pytest.raises(ConfigInvalid) as raised:
        parse(data, where="templates/one.toml")
    assert raised.value.detail.startswith("templates/one.toml: ")
    assert path in raised.value.detail


def test_only_one_section_takes_the_rest() -> None:
    data = minimal()
    data["sections"].append(data["sections"][0] | {"key": "more"})
    with pytest.raises(ConfigInvalid, match="takes_rest"):
        parse(data, where="x")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bad.toml", "version = ", "templates/bad.toml: "),
        ("bad.toml", 'id = "good"\nversion = 1', "templates/bad.toml: "),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / name).write_text(text)
    with pytest.raises(ConfigInvalid) as raised:
        load_templates(tmp_path)
    assert says in raised.value.detail


def test_bytes_that_are_no_text_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no note template"):
        load_templates(tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid, match=r"x\.toml"):
        load_templates(tmp_path)


def test_a_files_id_is_its_name(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    text = (CONFIG / "templates" / "dap.toml").read_text()
    (tmp_path / "templates" / "mine.toml").write_text('id = "dap"\n' + text)
    with pytest.raises(ConfigInvalid, match="must be 'mine'"):
        load_templates(tmp_path)
