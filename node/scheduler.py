"""What the node does again and again: named acts, each at its own interval, never twice at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from storage.errors import StorageError

_THREADS = 4

log = structlog.get_logger()


class NodeScheduler:
    """Runs acts in a few threads; an act that fails is logged and runs again at its next time."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(_THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def every(self, seconds: float, name: str, act: Callable[[], None]) -> None:
        """Run `act` once at the start and then every `seconds`."""
        self._scheduler.add_job(
            _GuardedAct(name, act),
            "interval",
            seconds=seconds,
            id=name,
            next_run_time=datetime.now(UTC),
        )

    def wake(self, name: str) -> None:
        """Run the act called `name` as soon as possible instead of at its next time."""
        try:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))
        except JobLookupError:
            # Asked for before it was added or after the end: its next run sees the change.
            log.debug("wake_without_act", act=name)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Let what runs come to its end and begin nothing more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


class _GuardedAct:
    """An act that may fail; a storage that is away is told once, and once when it is back."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._name, self._act = name, act
        self._is_postponed = False

    def __call__(self) -> None:
        try:
            self._act()
        except StorageError as error:
            if not self._is_postponed:
                log.warning("act_postponed", act=self._name, reason=str(error))
            self._is_postponed = True
        except Exception:  # the thread's outermost edge; the next run tries again
            log.error("act_failed", act=self._name, exc_info=True)
        else:
            if self._is_postponed:
                log.info("act_resumed", act=self._name)
            self._is_postponed = False
