"""A problem that the documents describe is one that something gives, or is said to be reserved."""

from __future__ import annotations

import ast

from bot.errors import ProblemError, problem_classes
from tests.conftest import ROOT

RESERVED = "Reserved: nothing gives it yet"


def given() -> set[str]:
    """Slugs that code raises or makes, or writes down as why something failed."""
    kinds = {kind.__name__: kind.slug for top in problem_classes() for kind in (top, *_below(top))}
    found = set()
    for path in (ROOT / "bot").rglob("*.py"):
        if path == ROOT / "bot" / "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name)) | ast.Raise(exc=ast.Name(id=name)) if name in kinds:
                    found.add(kinds[name])
                case ast.Constant(value=str(text)) if text in kinds.values():
                    found.add(text)
    return found


def _below(kind: type[ProblemError]) -> list[type[ProblemError]]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_below(sub))]


def test_what_nothing_gives_is_said_to_be_reserved() -> None:
    lines = (ROOT / "docs" / "problems.md").read_text("utf-8").splitlines()
    reserved = {line.split("`")[1] for line in lines if RESERVED in line}
    assert reserved == {kind.slug for kind in problem_classes()} - given()
