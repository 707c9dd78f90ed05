"""A workflow that survives crashes: DBOS, wrapped so that the rest of the house sees one small class.

The engine is one a process. It runs a workflow as a plain function on a thread of its own and records what each step
gave; each step hands its work to the event loop and waits there. So the engine's database work never blocks the loop,
and a step uses the same store as everything else.

When the process closes, waiting steps are left by an exception that the engine does not record, so that the next start
runs them again. What a step raises is stored by the engine, so it is reduced to names first (:class:`StepFailed`), and
the engine's own log lines to where they came from: neither may carry what people said.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy.engine import URL, make_url

from bot.errors import ProblemError, QuietnoteError

log = structlog.get_logger()

Step = Callable[[], Coroutine[Any, Any, dict[str, Any]]]
"""A step's work on the event loop. What it returns is stored: ids, states, counts and hashes only."""
Workflow = Callable[["Durable", str], None]
"""Runs on an engine thread, with the id of what it is about; does nothing by itself but call :meth:`Durable.step`."""

MAX_THREADS = 32
"""Workflows beyond this many wait for a thread; nothing is lost."""
CLOSE_TIMEOUT_S = 2.0
RUNNING = frozenset({"PENDING", "ENQUEUED", "DELAYED"})


class StepFailed(Exception):
    """A step could not be carried out. ``reason`` is a slug or the name of an exception's class, never its text."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        self.reason, self.retryable = reason, retryable
        super().__init__(reason)


class _Closing(BaseException):
    """The process is going away. Not an Exception, so the engine records nothing and the step runs again later."""


class Durable:
    """Runs one kind of workflow, once for each id, to its end, over crashes and restarts."""

    _current: ClassVar[Durable | None] = None

    def __init__(
        self,
        workflow: Workflow,
        *,
        name: str,
        version: str,
        database_url: str,
        executor_id: str,
        attempts: int,
        retry_after_s: float,
    ) -> None:
        """``retry_after_s`` is doubled at each further one of the ``attempts``."""
        self._workflow = workflow
        self._name = name
        self._version = version
        self._database_url = database_url
        self._executor_id = executor_id
        self._attempts = attempts
        self._retry_after_s = retry_after_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting = asyncio.Lock()
        self._closing = False

    # -- life ----------------------------------------------------------------------------------------------------------

    async def launch(self) -> None:
        """Start the engine; what a crash interrupted goes on by itself, under the same ``executor_id``."""
        if Durable._current is not None:
            raise RuntimeError("the workflow engine is one a process, and it is running")
        self._loop = asyncio.get_running_loop()
        self._closing = False
        Durable._current = self
        try:
            await asyncio.to_thread(self._launch)
        except BaseException:
            Durable._current = None
            raise

    def _launch(self) -> None:
        _tame_log()
        _make_private_file(self._database_url)
        config: DBOSConfig = {
            "name": "quietnote",
            "system_database_url": self._database_url,
            "application_version": self._version,
            "executor_id": self._executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
            "max_executor_threads": MAX_THREADS,
            # nothing here waits for the engine's notifications or schedules; the short interval lets it end quickly
            "notification_listener_polling_interval_sec": 0.1,
            "scheduler_polling_interval_sec": 3600.0,
        }
        DBOS(config=config)
        DBOS.launch()

    async def close(self) -> None:
        """Leave running steps for the next start, and end the engine. Idempotent."""
        if Durable._current is not self:
            return
        self._closing = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
        await asyncio.to_thread(DBOS.destroy)
        Durable._current = None

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside a step, on the event loop; it ends at the latest when the engine does."""
        if self._closing:
            work.close()
            return
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- starting ------------------------------------------------------------------------------------------------------

    async def start(self, subject: str, *, again: bool = False) -> None:
        """Run the workflow about ``subject`` unless it is running or has run; with ``again``, also once more."""
        async with self._starting:
            await asyncio.to_thread(self._start, subject, again)

    async def was_started(self, subject: str) -> bool:
        """True when a workflow about ``subject`` runs or ran."""
        return (await asyncio.to_thread(self._runs, subject))[0] > 0

    async def is_running(self, subject: str) -> bool:
        """True when a workflow about ``subject`` is under way, or waits to be taken up again."""
        return (await asyncio.to_thread(self._runs, subject))[1]

    async def wait(self, subject: str) -> None:
        """Wait until no workflow about ``subject`` runs any more."""
        await asyncio.to_thread(self._wait, subject)

    def _start(self, subject: str, again: bool) -> None:
        runs, running = self._runs(subject)
        if running or (runs and not again):
            return
        with SetWorkflowID(self._id(subject, runs)):
            DBOS.start_workflow(_run, subject)

    def _runs(self, subject: str) -> tuple[int, bool]:
        """How many runs there were, and whether the last one is under way."""
        runs, running = 0, False
        while (status := DBOS.get_workflow_status(self._id(subject, runs))) is not None:
            running = status.status in RUNNING
            if running and status.app_version != self._version and status.executor_id == self._executor_id:
                # left behind by another release of this very process: the engine never takes it up again
                DBOS.cancel_workflow(status.workflow_id)
                running = False
            runs += 1
        return runs, running

    def _wait(self, subject: str) -> None:
        for run in range(self._runs(subject)[0]):
            with contextlib.suppress(Exception):
                DBOS.retrieve_workflow(self._id(subject, run)).get_result(polling_interval_sec=0.02)

    def _id(self, subject: str, run: int) -> str:
        return f"{self._name}:{subject}" if run == 0 else f"{self._name}:{subject}:{run}"

    # -- running, on the engine's threads ------------------------------------------------------------------------------

    def step(self, name: str, subject: str, work: Step, *, timeout_s: float) -> dict[str, Any]:
        """Carry out a step on the event loop, or give what it gave before. Raises once its tries are used up."""
        return DBOS.run_step(
            {
                "name": name,
                "retries_allowed": True,
                "max_attempts": self._attempts,
                "interval_seconds": self._retry_after_s,
                "backoff_rate": 2.0,
                "should_retry": lambda error: not isinstance(error, StepFailed) or error.retryable,
            },
            lambda: self._on_loop(name, subject, work, timeout_s),
        )

    def _on_loop(self, name: str, subject: str, work: Step, timeout_s: float) -> dict[str, Any]:
        if self._closing or self._loop is None:
            raise _Closing
        future = asyncio.run_coroutine_threadsafe(self._tracked(work), self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise _Closing from None
        except TimeoutError:
            future.cancel()
            failure = StepFailed("timeout")
        except QuietnoteError as error:
            reason = _slug_of(error)
            failure = StepFailed(reason, retryable=error.retryable)
        except Exception as error:  # noqa: BLE001  its text may hold words, so only its name goes on
            failure = StepFailed(type(error).__name__)
        if self._closing:
            raise _Closing from None
        log.warning("workflow_step_failed", step=name, workflow_id=subject, reason=failure.reason)
        raise failure from None

    async def _tracked(self, work: Step) -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            return await work()
        finally:
            self._tasks.discard(task)

    def run(self, subject: str) -> str:
        """The whole workflow. Called by the engine."""
        if self._closing:
            raise _Closing
        self._workflow(self, subject)
        return "done"


@DBOS.workflow(name="quietnote")
def _run(subject: str) -> str:
    engine = Durable._current  # noqa: SLF001  same module
    if engine is None:
        raise _Closing
    return engine.run(subject)


def _slug_of(error: QuietnoteError) -> str:
    """What may be stored of an error: its cause or slug, else the name of its class; never its text."""
    if isinstance(error, ProblemError):
        return str(error.extra.get("cause", error.slug))
    return type(error).__name__


def reason_of(error: Exception) -> str | None:
    """The reason of a step that failed: of one that was tried several times the last, unless it is read back later."""
    tries = getattr(error, "errors", None)
    if tries:
        error = tries[-1]
    name = getattr(error, "name", type(error).__name__)
    return str(error) if name == StepFailed.__name__ else None


# -- where it keeps its records ----------------------------------------------------------------------------------------


def embedded_database_url(data_dir: Path) -> str:
    """The engine's own SQLite file in the data folder."""
    return URL.create("sqlite", database=str(data_dir / "workflows.db")).render_as_string(hide_password=False)


def stable_executor_id(data_dir: Path) -> str:
    """This data folder's name for itself, made at first use: a restarted process takes up its own workflows only."""
    path = data_dir / "executor_id"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".executor_id.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    draft.write_text(f"exec_{secrets.token_hex(16)}", "ascii")
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    return path.read_text("ascii").strip()


def _make_private_file(url: str) -> None:
    database = make_url(url).database if url.startswith("sqlite") else None
    if database:
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.open(database, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(made, 0o600)  # also one that was made otherwise
        os.close(made)


class _EngineLog(logging.Handler):
    """Passes on that the engine said something, and where; never the text, which may quote an exception."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        tell = log.error if record.levelno >= logging.ERROR else log.warning
        tell("workflow_engine", where=record.funcName, error=error)


def _tame_log() -> None:
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, _EngineLog) for handler in logger.handlers):
        logger.handlers = [_EngineLog(logging.WARNING)]
        logger.propagate = False
