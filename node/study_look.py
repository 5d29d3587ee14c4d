"""One look at all studies: which are complete, what is rejected, and what is to be analysed.

Where nothing is being received, a look finds the same until somebody commits something; then it is
left out, but for one now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Hashable
from datetime import UTC, datetime
from typing import Final

from config.settings import Settings
from node.completeness import Completeness
from node.pacs_query import ask_pacs
from node.quiet_clock import Moment
from node.recovery import worker_prefix
from node.rejection_notes import RejectionNotes
from node.routing import route_ready_studies, told_together
from node.slice_coverage import SliceCoverage
from pipelines.registry import Registry
from storage.change_watch import ChangeWatch
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles

_LONGEST_REST_S: Final = 5.0


class StudyLook:
    """Takes the looks of one node, in one thread.

    `on_answer` is called when a PACS has said something that makes another look worth it, `on_jobs`
    when a look has queued jobs, and `kill_worker` with the process id of a worker whose job is in
    vain.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        registry: Registry,
        *,
        on_answer: Callable[[], None],
        on_jobs: Callable[[], None],
        kill_worker: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._registry = registry
        self._on_jobs = on_jobs
        self._completeness = Completeness(
            settings,
            db,
            ask_pacs,
            on_answer=on_answer,
            covered_pipeline=SliceCoverage(settings, db, files, registry).covered_pipeline,
        )
        self._rejection_notes = RejectionNotes(
            settings,
            db,
            files,
            worker_prefix=worker_prefix(settings.node.name),
            kill_worker=kill_worker,
        )
        self._changes = ChangeWatch(db)
        self._rests_at: Hashable = None
        self._rests_until_s = 0.0

    def __call__(self) -> float | None:
        """Look, where that can find anything; seconds until the next look, where known.

        Raises:
            StorageError: the database or the disk is away; the next look goes on.
        """
        # Before the look: what is committed meanwhile is seen by the next one.
        mark = self._changes.mark()
        if mark == self._rests_at and time.monotonic() < self._rests_until_s:
            return None
        self._rests_at = None
        self._look()
        if not self._completeness.open_count:
            self._rests_at, self._rests_until_s = mark, time.monotonic() + _LONGEST_REST_S
        return self._completeness.look_again_s

    def close(self) -> None:
        """Ask nobody any more."""
        self._completeness.close()
        self._changes.close()

    def _look(self) -> None:
        self._completeness.check(Moment.now())
        # Before they are routed: what was taken back by now is not analysed.
        waiting = self._rejection_notes.settle()
        try:
            made = self._route(waiting)
        except StorageError:
            self._on_jobs()  # what it holds up holds up no other
            raise
        if made:
            self._on_jobs()
        if waiting:
            raise told_together(waiting)

    def _route(self, held: Container[str]) -> int:
        return route_ready_studies(
            self._db,
            self._files,
            self._registry,
            self._settings,
            now=datetime.now(UTC),
            held=held,
        )
