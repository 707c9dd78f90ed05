"""A workflow that survives crashes: DBOS, wrapped so that the rest of the house sees one small class.

The engine is one a process. It runs a workflow as a plain function on a thread of its own and records what each step
gave; each step hands its work to the event loop and waits there. So the engine's database work never blocks the loop,
and a step uses the same store as everything else.

When the process closes, waiting steps are left by an exception that the engine does not record, so that the next start
runs them again. What a step raises is stored by the engine, so it is reduced to names first (:class:`StepFailed`), and
the engine's own log lines to where they came from: neither may carry what people said.

Several processes may share the engine's records, on PostgreSQL. Each is an executor of its own name; what one that
died left is taken up by another (:meth:`Durable.adopt`). The first may still be running, held up somewhere: each run
claims its subject with a number that grows whenever it is taken up, and what an earlier one still wants to change is
refused (:mod:`bot.store.serving`). A run that finds out ends there, and records nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy.exc import DBAPIError

from bot.errors import ProblemError, QuietnoteError, StorageUnavailable
from bot.store.postgres import cause_of, refusal_of
from bot.store.serving import Run, working
from bot.store.workflowdb import make_private_file

log = structlog.get_logger()

T = TypeVar("T")
Step = Callable[[], Coroutine[Any, Any, dict[str, Any]]]
"""A step's work on the event loop. What it returns is stored: ids, states, counts and hashes only."""
Workflow = Callable[["Durable", str], None]
"""Runs on an engine thread, with the id of what it is about; does nothing by itself but call :meth:`Durable.step`."""

MAX_THREADS = 32
"""Workflows beyond this many wait for a thread; nothing is lost."""
CLOSE_TIMEOUT_S = 2.0
CLAIM_TIMEOUT_S = 30.0
RUNNING = frozenset({"PENDING", "ENQUEUED", "DELAYED"})
SCHEMA = "quietnote_workflows"
"""Where PostgreSQL keeps the engine's tables: beside ours, in the same database."""
POOL = 10


class StepFailed(Exception):
    """A step could not be carried out. ``reason`` is a slug or the name of an exception's class, never its text."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        self.reason, self.retryable = reason, retryable
        super().__init__(reason)


class _Closing(BaseException):
    """The process is going away. Not an Exception, so the engine records nothing and the step runs again later."""


class Others(Protocol):
    """What a process must know of those it shares the engine's records with."""

    def is_dead(self, executor_id: str) -> bool:
        """True for an executor that was found dead."""
        ...

    async def claim(self, subject: str, run: int, taken_up: int) -> Run:
        """Let this run alone work at ``subject``; it is ``lost`` where a later one does."""
        ...


@dataclass(slots=True)
class _Execution:
    """A workflow on its engine thread; ``claimed`` at its first step."""

    workflow_id: str
    taken_up: int = 0
    claimed: Run | None = None


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
        others: Others | None = None,
    ) -> None:
        """``retry_after_s`` is doubled at each further one of the ``attempts``; without ``others`` it is alone."""
        self._workflow = workflow
        self._name = name
        self._version = version
        self._database_url = database_url
        self._executor_id = executor_id
        self._attempts = attempts
        self._retry_after_s = retry_after_s
        self._others = others
        self._here = threading.local()
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
        make_private_file(self._database_url)
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
        if not self._database_url.startswith("sqlite"):
            config |= {"dbos_system_schema": SCHEMA, "use_listen_notify": False, "sys_db_pool_size": POOL}
        DBOS(config=config)
        try:
            DBOS.launch()
        except DBAPIError as error:
            DBOS.destroy()
            raise refusal_of(error.orig) or StorageUnavailable("database", cause_of(error.orig)) from None

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
            if running and status.app_version != self._version and self._is_over(status.executor_id):
                # left behind by another release: the engine never takes it up again
                DBOS.cancel_workflow(status.workflow_id)
                running = False
            runs += 1
        return runs, running

    def _is_over(self, executor_id: str | None) -> bool:
        """True of this process, which runs nothing of another release, and of one that is dead."""
        if executor_id is None or executor_id == self._executor_id:
            return True
        return self._others is not None and self._others.is_dead(executor_id)

    def _wait(self, subject: str) -> None:
        for run in range(self._runs(subject)[0]):
            with contextlib.suppress(Exception):
                DBOS.retrieve_workflow(self._id(subject, run)).get_result(polling_interval_sec=0.02)

    def _id(self, subject: str, run: int) -> str:
        return f"{self._name}:{subject}" if run == 0 else f"{self._name}:{subject}:{run}"

    # -- what others left ----------------------------------------------------------------------------------------------

    async def executors(self) -> frozenset[str]:
        """Every executor that runs something, or died over it."""
        return frozenset(await asyncio.to_thread(self._executors))

    async def adopt(self, dead: Collection[str]) -> int:
        """Take up what dead executors left, unless another process does already; how many workflows that were."""
        return await asyncio.to_thread(self._adopt, sorted(set(dead) - {self._executor_id}))

    def _executors(self) -> set[str]:
        running = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        return {status.executor_id for status in running if status.executor_id}

    def _adopt(self, dead: list[str]) -> int:
        # without the engine's hosted conductor nothing public takes up another executor's workflows
        return len(DBOS._recover_pending_workflows(dead)) if dead else 0  # noqa: SLF001

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
        execution: _Execution | None = getattr(self._here, "execution", None)
        if execution is not None and execution.claimed is None:
            self._claim(subject, execution)
        run = execution.claimed if execution is not None else None
        try:
            outcome = self._carried_out(self._tracked(work, run), timeout_s)
        except StepFailed as failure:
            if self._closing:
                raise _Closing from None
            self._leave_if_taken_over(execution)
            log.warning("workflow_step_failed", step=name, workflow_id=subject, reason=failure.reason)
            raise
        self._leave_if_taken_over(execution)
        return outcome

    def _claim(self, subject: str, execution: _Execution) -> None:
        """Be the run that works at ``subject``."""
        assert self._others is not None
        # within a step: what is so now, and not recorded
        status = DBOS.get_workflow_status(execution.workflow_id)
        if status is None or status.executor_id != self._executor_id:
            raise _Closing
        execution.taken_up = status.recovery_attempts or 0
        _, _, number = execution.workflow_id.removeprefix(self._id(subject, 0)).rpartition(":")
        claim = self._others.claim(subject, int(number or 0), execution.taken_up)
        execution.claimed = self._carried_out(claim, CLAIM_TIMEOUT_S)

    def _leave_if_taken_over(self, execution: _Execution | None) -> None:
        """End a run that was refused because another executor goes on with it; a later part's work ends none."""
        if execution is None or execution.claimed is None or not execution.claimed.lost:
            return
        status = DBOS.get_workflow_status(execution.workflow_id)
        ours = status is not None and status.executor_id == self._executor_id
        if status is None or not ours or status.recovery_attempts != execution.taken_up:
            log.warning("workflow_taken_over", workflow_id=execution.workflow_id)
            raise _Closing
        execution.claimed.lost = False

    def _carried_out(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Wait on an engine thread for what the event loop does. Raises StepFailed, which says no more than may be."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise _Closing from None
        except TimeoutError:
            future.cancel()
            raise StepFailed("timeout") from None
        except QuietnoteError as error:
            raise StepFailed(_slug_of(error), retryable=error.retryable) from None
        except Exception as error:  # noqa: BLE001  its text may hold words, so only its name goes on
            raise StepFailed(type(error).__name__) from None

    async def _tracked(self, work: Step, run: Run | None) -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        if self._closing:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            with working(run):
                return await work()
        finally:
            self._tasks.discard(task)

    def run(self, subject: str) -> str:
        """The whole workflow. Called by the engine."""
        if self._closing:
            raise _Closing
        self._here.execution = _Execution(DBOS.workflow_id or "") if self._others is not None else None
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
