"""The guard of the log, and a reading of every log line in the package."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import structlog

import bot
from bot import log
from bot.events import Role

SECRET = "Robin told me about the fire"
METHODS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})


@pytest.fixture
def lines() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    log.setup(level="DEBUG", json=True, stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def written(lines: StringIO) -> dict[str, object]:
    [line] = lines.getvalue().splitlines()
    found: dict[str, object] = json.loads(line)
    return found


def test_a_good_line_passes_whole(lines: StringIO) -> None:
    structlog.get_logger().info("page_in", session_id="ses_1", role=Role.CLIENT, count=3, done=True, reason=None)
    line = written(lines)
    del line["timestamp"]
    assert line == {
        "event": "page_in",
        "level": "info",
        "session_id": "ses_1",
        "role": "client",
        "count": 3,
        "done": True,
        "reason": None,
    }


def test_what_may_hold_words_is_withheld(lines: StringIO) -> None:
    more = {"text": "x", "session_id": SECRET, "state": [SECRET], "reason": {"a": SECRET}, "kind": b"fire"}
    structlog.get_logger().warning(SECRET, **more)
    line = written(lines)
    assert {line[key] for key in ("event", "text", "session_id", "state", "reason", "kind")} == {log.WITHHELD}
    assert "fire" not in lines.getvalue()


def test_of_an_exception_only_class_and_place_are_kept(lines: StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        structlog.get_logger().exception("it_failed")
    line = written(lines)
    assert line["error"] == "ValueError"
    assert str(line["where"]).startswith("tests.unit.test_log:") or str(line["where"]).startswith("test_log:")
    assert "fire" not in lines.getvalue()


def test_libraries_lose_their_text(lines: StringIO) -> None:
    library = logging.getLogger("somebody.else")
    try:
        raise OSError(SECRET)
    except OSError:
        library.exception("GET /v1/%s failed", SECRET)
    line = written(lines)
    assert (line["event"], line["logger"], line["error"]) == ("library_line", "somebody.else", "OSError")
    assert "fire" not in lines.getvalue()


def test_the_access_log_of_the_server_is_silent(lines: StringIO) -> None:
    logging.getLogger("uvicorn.access").warning("GET /join/ses_1")
    assert lines.getvalue() == ""


def test_lines_for_a_person_are_guarded_too() -> None:
    root = logging.getLogger()
    handlers, stream = root.handlers[:], StringIO()
    log.setup(json=False, stream=stream)
    structlog.get_logger().info("page_in", session_id="ses_1", words=SECRET)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    assert "page_in" in stream.getvalue()
    assert "ses_1" in stream.getvalue()
    assert "fire" not in stream.getvalue()


def _calls() -> Iterator[tuple[str, ast.Call]]:
    folder = Path(bot.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in {"log", "logger"}
            ):
                yield f"{file.relative_to(folder)}:{node.lineno}", node


def test_every_line_of_the_package_is_an_event_with_known_keys() -> None:
    faults = []
    for where, call in _calls():
        event = call.args[0] if len(call.args) == 1 else None
        if not (isinstance(event, ast.Constant) and isinstance(event.value, str) and log._EVENT.fullmatch(event.value)):
            faults.append(f"{where}: the event must be one static snake_case name")
        for keyword in call.keywords:
            if keyword.arg not in log.SAFE_KEYS | {"exc_info"}:
                faults.append(f"{where}: {keyword.arg} is not a known key")
            text = ast.unparse(keyword.value)
            if isinstance(keyword.value, ast.JoinedStr) or text.startswith(("str(", "repr(")):
                faults.append(f"{where}: {keyword.arg} is made of text")
    assert not faults, "\n".join(faults)
    assert sum(1 for _ in _calls()) > 20
