"""Pays the debt of storage commitment as SCP: is each instance safe? Its sender is told.

Safe means: the row is there with that SOP Class, and the file in its full size. What is missing is
looked for a little longer, because a request may overtake the last instances. A sender that does
not answer is called again, on a curve, for days; a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import structlog

from config.settings import RetrySettings, SenderSettings, Settings
from node.commitment_association import Peer, report_commitment
from node.commitment_result import FailureReason
from node.errors import CommitmentUnavailable
from node.receive.admission import senders_named
from node.setback import retry_delay
from storage.commitment_reports import (
    KeptInstance,
    due_commitments,
    kept_instances,
    postpone_report,
    settle_report,
)
from storage.database import Database
from storage.evidence_records import CommitmentDue, ListedSop, ReportState
from storage.instance_files import InstanceFiles

_LATECOMERS = timedelta(seconds=30)
_LOOK_AGAIN = timedelta(seconds=2)
_TIMEOUT_S = 30.0
_RETRY = RetrySettings()

_log = structlog.get_logger()


class CommitmentReports:
    """Reports on requests that are due; `report_due` may be called at any time, by one thread."""

    def __init__(self, settings: Settings, db: Database, files: InstanceFiles) -> None:
        self._settings = settings
        self._db = db
        self._files = files

    def report_due(self) -> bool:
        """Report on the requests whose time has come; False when there are none."""
        found = due_commitments(self._db, now=datetime.now(UTC))
        for due in found:
            self._report(due)
        return bool(found)

    def _report(self, due: CommitmentDue) -> None:
        now = datetime.now(UTC)
        failed = self._failures(due)
        is_early = now - due.requested_at < _LATECOMERS
        if FailureReason.NO_SUCH_OBJECT_INSTANCE in failed.values() and is_early:
            postpone_report(self._db, due, due_at=now + _LOOK_AGAIN, reason="instances_missing")
            return
        try:
            peer = self._peer(due.calling_ae_title)
            report_commitment(peer, due.transaction_uid, due.instances, failed)
        except CommitmentUnavailable as error:
            self._postpone(due, error, datetime.now(UTC))
            return
        settle_report(self._db, due, ReportState.REPORTED, now=datetime.now(UTC))
        _log.info(
            "commitment_reported",
            calling_ae_title=due.calling_ae_title,
            kept=len(due.instances) - len(failed),
            failed=len(failed),
        )

    def _postpone(self, due: CommitmentDue, error: CommitmentUnavailable, now: datetime) -> None:
        told = {"calling_ae_title": due.calling_ae_title, "reason_code": error.code}
        if now - due.requested_at > timedelta(days=_RETRY.give_up_after_days):
            settle_report(self._db, due, ReportState.GIVEN_UP, now=now)
            _log.error("commitment_report_given_up", **told)
            return
        wait = retry_delay(_RETRY, due.attempts + 1)
        postpone_report(self._db, due, due_at=now + wait, reason=error.code)
        _log.warning("commitment_report_postponed", **told, retry_s=wait.total_seconds())

    def _peer(self, ae_title: str) -> Peer:
        sender = reported_sender(self._settings, ae_title)
        if sender is None or sender.commitment_host is None or sender.commitment_port is None:
            text = "no commitment_host is configured for this sender"
            raise CommitmentUnavailable("no_address", text)
        return Peer(
            sender.commitment_host,
            sender.commitment_port,
            called_ae_title=ae_title,
            calling_ae_title=self._settings.node.ae_title,
            timeout_s=_TIMEOUT_S,
            tls=sender.commitment_tls,
        )

    def _failures(self, due: CommitmentDue) -> Mapping[str, int]:
        """Return the Failure Reason of each instance that is not safe."""
        uids = tuple(each.sop_instance_uid for each in due.instances)
        if due.is_duplicate:
            return dict.fromkeys(uids, int(FailureReason.DUPLICATE_TRANSACTION_UID))
        kept = kept_instances(self._db, uids)
        found = {
            each.sop_instance_uid: self._failure(each, kept.get(each.sop_instance_uid))
            for each in due.instances
        }
        return {uid: int(reason) for uid, reason in found.items() if reason is not None}

    def _failure(self, wanted: ListedSop, kept: KeptInstance | None) -> FailureReason | None:
        if kept is None:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        if kept.sop_class_uid != wanted.sop_class_uid:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        try:
            size_bytes = self._files.absolute(PurePosixPath(kept.path)).stat().st_size
        except OSError:
            return FailureReason.PROCESSING_FAILURE
        return None if size_bytes == kept.size_bytes else FailureReason.PROCESSING_FAILURE


def reported_sender(settings: Settings, ae_title: str) -> SenderSettings | None:
    """The configured sender with that AE title to whom reports can be sent, or None."""
    for sender in senders_named(settings.receive, ae_title):
        if sender.commitment_host is not None:
            return sender
    return None
