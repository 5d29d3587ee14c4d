"""What reports on our storage commitments lead to: confirmed, or sent again.

Reports come to every receiver process, so this imports no HTTP client and no FHIR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from config.settings import DicomDestination, Settings
from node.clock import Clock, utc_now
from node.commitment_result import CommitmentResult, FailureReason
from node.setback import retry_delay
from storage import confirmations
from storage.database import Database
from storage.delivery_reads import get_delivery
from storage.evidence_records import ConfirmationRecord, ConfirmationState
from storage.sent_objects import SentObject, objects_of_delivery

_log = structlog.get_logger()


class CommitmentResults:
    """Takes reports of PACS on commitments of ours; usable from every process and thread."""

    def __init__(
        self, settings: Settings, db: Database, *, worker_id: str, clock: Clock = utc_now
    ) -> None:
        self._db = db
        self._worker_id = worker_id
        self._clock = clock
        self._destinations = {
            destination.name: destination
            for destination in settings.destinations
            if isinstance(destination, DicomDestination)
        }

    def take(self, result: CommitmentResult) -> None:
        """Confirm the delivery that the report is about, or have it sent again."""
        asked = confirmations.delivery_of_transaction(self._db, result.transaction_uid)
        if asked is None:
            _log.warning("commitment_report_unknown")
            return
        wanted = sop_classes(objects_of_delivery(self._db, asked.delivery_id))
        lost = {uid: result.failed.get(uid, 0) for uid in wanted if uid not in result.kept}
        now = self._clock()
        if not lost:
            receipt = {"commitment": result.transaction_uid}
            confirmed(self._db, asked, receipt, self._worker_id, now)
        elif set(lost.values()) == {FailureReason.DUPLICATE_TRANSACTION_UID}:
            confirmations.postpone_confirmation(
                self._db,
                asked.delivery_id,
                state=ConfirmationState.ASKING,
                due_at=self._other_uid_at(asked, now),
                code="duplicate_transaction",
                text="the PACS has seen this Transaction UID before; it is asked under another",
            )
        else:
            self._send_again(asked, len(wanted), lost, now)

    def _other_uid_at(self, asked: ConfirmationRecord, now: datetime) -> datetime:
        """At once, and then on the curve: no other UID helps a PACS that says so of each."""
        destination = self._destinations.get(get_delivery(self._db, asked.delivery_id).destination)
        if destination is None or asked.attempts == 0:
            return now
        return now + retry_delay(destination.retry, asked.attempts)

    def _send_again(
        self, asked: ConfirmationRecord, total: int, lost: Mapping[str, int], now: datetime
    ) -> None:
        delivery = get_delivery(self._db, asked.delivery_id)
        destination = self._destinations.get(delivery.destination)
        reasons = ", ".join(f"0x{reason:04X}" for reason in sorted(set(lost.values())))
        text = f"the PACS does not keep {len(lost)} of {total} objects: reason {reasons}"
        days = destination.retry.give_up_after_days if destination else 0
        if destination is None or now - delivery.created_at > timedelta(days=days):
            confirmations.give_up_confirmation(
                self._db, asked.delivery_id, code="commitment_failed", text=text
            )
            _log.error("commitment_failed", delivery_id=asked.delivery_id, reason=text)
            return
        wait = retry_delay(destination.retry, max(1, delivery.attempts))
        confirmations.send_again(
            self._db,
            asked.delivery_id,
            worker_id=self._worker_id,
            code="commitment_failed",
            text=text,
            due_at=now + wait,
            now=now,
        )
        _log.warning("commitment_failed", delivery_id=asked.delivery_id, reason=text)


def sop_classes(sent: Sequence[SentObject]) -> Mapping[str, str]:
    """Give SOP Class UIDs by SOP Instance UID."""
    return {item.sop_instance_uid: item.sop_class_uid for item in sent}


def confirmed(
    db: Database,
    asked: ConfirmationRecord,
    receipt: Mapping[str, str],
    worker_id: str,
    now: datetime,
) -> None:
    """Write down that a PACS keeps a delivery."""
    if confirmations.confirm(db, asked.delivery_id, worker_id=worker_id, receipt=receipt, now=now):
        _log.info("delivery_confirmed", delivery_id=asked.delivery_id, by=sorted(receipt))
