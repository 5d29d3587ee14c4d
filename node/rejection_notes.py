"""Obeys the rejection notes that came (IHE IOCM), before anything is routed.

A note counts where its sender may reject: of the studies that it sent, or of all, or never, as
`rejection_notes` of the sender says. What came of each note is shown with its study.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from config.settings import DicomDestination, Settings
from node.receive.admission import senders_named
from node.rejection_note_reading import NoteUnreadable, read_note
from storage.database import Database
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles, uid_tag
from storage.rejected_results import ResultRules
from storage.rejection_notes import dismiss_note, settle_note, unsettled_notes
from storage.rejection_records import KeptNote, NoteState, ReadNote

log = structlog.get_logger()


class RejectionNotes:
    """Settles notes; `kill_worker` ends the worker process of a given process id."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        *,
        worker_prefix: str,
        kill_worker: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._prefix = worker_prefix
        self._kill_worker = kill_worker

    def settle(self) -> Mapping[str, StorageError]:
        """Look at every note that is not settled yet.

        Returns the studies of those that cannot be settled now, by Study Instance UID, and why;
        they are looked at again.

        Raises:
            DatabaseUnavailable: none can be settled.
        """
        waiting: dict[str, StorageError] = {}
        for note in unsettled_notes(self._db):
            try:
                self._settle(note)
            except DatabaseUnavailable:
                raise
            except StorageError as error:
                waiting[note.study_instance_uid] = error
            except Exception:  # the note's outermost edge; recorded with it, and others go on
                log.error("rejection_note_broke", exc_info=True)
                dismiss_note(self._db, note, NoteState.UNREADABLE, now=datetime.now(UTC))
        return waiting

    def _settle(self, note: KeptNote) -> None:
        now = datetime.now(UTC)
        read = self._read(note)
        if isinstance(read, NoteState):
            dismiss_note(self._db, note, read, now=now)
            return
        stopped = settle_note(
            self._db,
            note,
            read,
            may_reject=self._may_reject,
            results=self._result_rules(note.calling_ae_title),
            now=now,
        )
        log.info(
            "rejection_note_settled",
            study=uid_tag(note.study_instance_uid),
            title=read.title.value,
            named=len(read.sop_instance_uids),
            jobs_stopped=len(stopped),
        )
        for worker_id in stopped:
            self._stop(worker_id)

    def _read(self, note: KeptNote) -> ReadNote | NoteState:
        try:
            read = read_note(self._files.absolute(note.path), note.study_instance_uid)
        except OSError as error:
            if error.errno != errno.ENOENT:
                text = f"a rejection note cannot be read now: {error.strerror}"
                raise StorageError(text) from None
            reason = "the file is gone"
        except NoteUnreadable as error:
            reason = str(error)
        else:
            if read is None:
                return NoteState.NO_REJECTION
            return read if read.sop_instance_uids else NoteState.OTHER_STUDY
        study = uid_tag(note.study_instance_uid)
        log.warning("rejection_note_unreadable", study=study, reason=reason)
        return NoteState.UNREADABLE

    def _result_rules(self, calling_ae_title: str) -> ResultRules:
        """Which of our own results a sender may reject: as it is set, and as a receiver of them."""
        named = senders_named(self._settings.receive, calling_ae_title)
        stands = any(sender.rejected_results == "stand" for sender in named)
        rules = self._rules(calling_ae_title)
        return ResultRules(
            is_heeded=not stands and "ignored" not in rules,
            is_for_all="all_studies" in rules,
            destinations=frozenset(
                destination.name
                for destination in self._settings.destinations
                if isinstance(destination, DicomDestination)
                and destination.ae_title == calling_ae_title
            ),
        )

    def _rules(self, calling_ae_title: str) -> set[str]:
        named = senders_named(self._settings.receive, calling_ae_title)
        return {sender.rejection_notes for sender in named} or {"own_studies"}

    def _may_reject(self, calling_ae_title: str, senders: frozenset[str]) -> bool:
        rules = self._rules(calling_ae_title)
        if "ignored" in rules:
            return False
        return "all_studies" in rules or calling_ae_title in senders

    def _stop(self, worker_id: str) -> None:
        """End the worker of a job that has no images any more; it would compute for nobody."""
        pid = worker_id.removeprefix(self._prefix)
        if worker_id.startswith(self._prefix) and pid.isdigit():
            log.warning("job_stopped_by_rejection_note", worker_pid=int(pid))
            self._kill_worker(int(pid))
