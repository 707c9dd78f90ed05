"""What several groups of commands share."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def print_json(value: Any) -> None:
    """A value, for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
