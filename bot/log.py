"""Logging: JSON lines or lines for a person, behind a guard that lets no health information through.

A line is a static event name and keys of a known set; a value is a number, a truth value, or an id-like word. Whatever
does not fit is replaced by :data:`WITHHELD`, so that a careless line is harmless and shows. Of an exception only its
class and the place it was raised at are kept: its text may hold what somebody said. Lines of libraries keep their
logger's name and level and lose their text.
"""

from __future__ import annotations

import logging
import re
import sys
from enum import Enum
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD = "[withheld]"

SAFE_KEYS = frozenset(
    {
        # added by the processors below
        "event", "level", "timestamp", "logger", "error", "where",
        # ids
        "session_id", "participant_id", "lane_id", "clinic_id", "note_id", "segment_id", "window_id", "input_id",
        "receipt_id", "webhook_id", "delivery_id", "user_id", "key_id", "executor_id", "workflow_id", "message_id",
        "request_id", "reference", "model", "template_id", "writer", "owner",
        # states and other words of closed sets
        "action", "capture", "cause", "compute_type", "device", "event_kind", "fn", "from_state", "kind", "method",
        "mode", "policy", "purpose", "reason", "role", "route", "signal", "slug", "state", "step", "task", "to_state",
        "transport", "version", "what", "why",
        # numbers
        "age_s", "attempt", "attempts", "busy_share", "bytes", "chunks", "close_code", "connections", "count", "depth",
        "done", "dropped", "elapsed_ms", "epoch", "exit_code", "index", "lag_ms", "limit", "lost", "ms", "pages", "pid",
        "port", "sample", "samples", "seconds", "segments", "seq", "size", "status", "threads", "total", "windows",
    }
)  # fmt: skip
"""Keys a line may have. A test reads every call in the package and fails for a key that is not here."""

_EVENT = re.compile(r"[a-z][a-z0-9_]{2,63}")
_WORD = re.compile(r"[A-Za-z0-9_.:/@+<>\-]{0,160}")
"""Ids, states, and places in the code. No spaces: no sentence fits."""


def guard(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Replace every key's value that is not known to be safe."""
    return {key: _safe(key, value) for key, value in event_dict.items()}


def _safe(key: str, value: Any) -> Any:
    if key not in SAFE_KEYS:
        return WITHHELD
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    pattern = _EVENT if key == "event" else _WORD
    return value if isinstance(value, str) and pattern.fullmatch(value) else WITHHELD


def reduce_exception(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Keep an exception's class and where it was raised; drop its text and its stack's values."""
    raised = event_dict.pop("exc_info", None)
    event_dict.pop("stack_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event_dict["error"] = type(raised).__name__
        event_dict["where"] = where(raised.__traceback__)
    return event_dict


def where(traceback: TracebackType | None) -> str:
    """The innermost place of a traceback, as ``module:line``."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_globals.get('__name__', '?')}:{traceback.tb_lineno}"


def strip_library_text(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Of a line that came through the standard library's logging, drop the text."""
    record = event_dict.get("_record")
    if isinstance(record, logging.LogRecord):
        event_dict = {
            "event": "library_line",
            "logger": record.name,
            "where": f"{record.module}:{record.lineno}",
            "_record": record,
            "_from_structlog": False,
            "exc_info": record.exc_info,
        }
    return event_dict


def setup(*, level: str = "INFO", json: bool = True, stream: TextIO | None = None) -> None:
    """Configure logging for the process. Calling it again replaces what was configured before."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=28)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[strip_library_text, *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            reduce_exception,
            guard,
            renderer,
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("bot").setLevel(number)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = name != "uvicorn.access"
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=_Loggers(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


class _Loggers:
    """Gives every structlog logger the same standard-library logger below it."""

    def __call__(self, *_args: Any) -> logging.Logger:
        return logging.getLogger("bot")
