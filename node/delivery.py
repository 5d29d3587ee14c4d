"""The outbox's way out: one loop for each destination, which retries on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from config.settings import Destination, PacsDestination
from fhir.errors import FhirError
from fhir.progress import Progress
from node.audit_trail import AuditEvent, note
from node.clock import Clock, utc_now
from node.dispatch import Sender
from node.identity_check import Check, unchecked
from node.log_setup import describe_error
from node.setback import Setback, next_wait, setback_of
from storage import deliveries, delivery_reads, jobs
from storage.database import Database
from storage.delivery_progress import note_progress
from storage.errors import DatabaseUnavailable, IllegalTransition, LeaseLost, StorageError
from storage.identity import with_identity
from storage.predecessors import with_predecessors
from storage.records import DeliveryRecord, DeliveryState, DestinationKind, Purpose
from storage.sent_objects import UNCONFIRMED_KEY, as_the_pacs_has_it

_LEASE_S = 3600.0
"""Longer than any sending: a destination has one loop, which alone claims for it, and what a
dead process held is returned when the node starts again."""

_POLL_INTERVAL_S = 0.5
_STORAGE_WAIT_S = 5.0
_BREAKDOWN_WAIT_S = 5.0
_LONGEST_REST_S = 60.0
"""A receiver that asks for a pause gets one from all its deliveries; no retry waits longer."""
_SETTLE_ATTEMPTS = 12

log = structlog.get_logger()


class DeliveryLoop:
    """Delivers to one destination, the longest due first, one at a time."""

    def __init__(
        self,
        destination: Destination,
        sender: Sender,
        db: Database,
        *,
        worker_id: str,
        clock: Clock = utc_now,
        check: Check = unchecked,
    ) -> None:
        self._identity = check
        self._destination = destination
        self._sender = sender
        self._db = db
        self._worker_id = worker_id
        self._clock = clock
        self._rest_s = 0.0
        self._names_predecessors = (
            isinstance(destination, PacsDestination) and destination.superseded == "predecessor"
        )

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set, whatever goes wrong; what is in hand is settled first."""
        self._guarded(self._check, stop)
        while not stop.is_set():
            self._guarded(lambda: self._deliver_or_rest(stop), stop)

    def _guarded(self, act: Callable[[], None], stop: threading.Event) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 -- a thread's outermost edge
            self._note_breakdown(error)
            stop.wait(_BREAKDOWN_WAIT_S)

    def _deliver_or_rest(self, stop: threading.Event) -> None:
        if not self._deliver_if_storage_answers(stop):
            stop.wait(_POLL_INTERVAL_S)
        rest_s, self._rest_s = self._rest_s, 0.0
        stop.wait(rest_s)

    def _check(self) -> None:
        """Tell at the start what would hold every result; each try finds it again."""
        if self._sender.check is None:
            return
        try:
            self._sender.check()
        except (FhirError, OSError) as error:
            setback = setback_of(error)
            log.warning(
                "destination_not_ready",
                destination=self._destination.name,
                reason_code=setback.code,
                reason=setback.text,
            )

    def _note_breakdown(self, error: Exception) -> None:
        # A log that cannot be written, on a full disk say, must not end the deliveries.
        with suppress(Exception):
            name = self._destination.name
            log.error("delivery_loop_broke", destination=name, reason=describe_error(error))

    def _deliver_if_storage_answers(self, stop: threading.Event) -> bool:
        try:
            return self.deliver_next(stop)
        except StorageError as error:
            name = self._destination.name
            log.warning("delivery_waits_for_storage", destination=name, reason=str(error))
            stop.wait(_STORAGE_WAIT_S)
            return False

    def deliver_next(self, stop: threading.Event) -> bool:
        """Make one try at the next due delivery; False when none is due."""
        delivery = deliveries.claim_next_delivery(
            self._db,
            destination=self._destination.name,
            worker_id=self._worker_id,
            lease_s=_LEASE_S,
            now=self._clock(),
        )
        if delivery is None:
            return False
        with bound_contextvars(
            delivery_id=delivery.delivery_id,
            job_id=delivery.job_id,
            destination=delivery.destination,
            attempt=delivery.attempts,
        ):
            self._settle(delivery, self._send(delivery), stop)
        return True

    def _send(self, delivery: DeliveryRecord) -> Mapping[str, str] | Setback:
        try:
            finished = self._identity(jobs.finished_job(self._db, delivery.job_id), delivery)
            if delivery.kind is not DestinationKind.DICOM:
                finished = as_the_pacs_has_it(self._db, finished)
            if delivery.purpose is Purpose.WITHDRAW:
                finished = replace(finished, withdrawn_at=delivery.created_at)
            receipt = self._sender.send(finished, self._progress(delivery))
            return with_identity(receipt, finished.attributes)
        except Exception as error:  # noqa: BLE001 -- the delivery's outermost edge; kept with its row
            return setback_of(error)

    def _progress(self, delivery: DeliveryRecord) -> Progress:
        receipt = delivery.receipt
        if self._names_predecessors and delivery.purpose is Purpose.TELL:
            receipt = with_predecessors(self._db, delivery)
        keep = partial(note_progress, self._db, delivery.delivery_id, worker_id=self._worker_id)
        return Progress(receipt, lambda reached: keep(receipt=reached))

    def _settle(
        self, delivery: DeliveryRecord, sent: Mapping[str, str] | Setback, stop: threading.Event
    ) -> None:
        """Write the outcome, waiting for a database that is away for a while."""
        for _ in range(_SETTLE_ATTEMPTS):
            try:
                return self._write(delivery, sent, self._clock())
            except DatabaseUnavailable:
                log.warning("settlement_waits_for_database")
                stop.wait(_STORAGE_WAIT_S)
            except (LeaseLost, IllegalTransition):
                log.warning("receipt_abandoned")
                return None
        # It stays `sending` until its lease is over, and is sent again: a duplicate there.
        log.error("settlement_given_up")
        return None

    def _write(
        self, delivery: DeliveryRecord, sent: Mapping[str, str] | Setback, now: datetime
    ) -> None:
        if isinstance(sent, Setback):
            self._write_setback(delivery, sent, now)
            return
        is_confirmed = self._sender.confirms and UNCONFIRMED_KEY not in sent
        deliveries.settle_sent(
            self._db,
            delivery.delivery_id,
            worker_id=self._worker_id,
            confirmed=is_confirmed,
            receipt=sent,
            now=now,
            claimed=delivery.receipt,
        )
        log.info("delivery_sent", confirmed=is_confirmed, purpose=delivery.purpose)
        is_dicom = delivery.kind is DestinationKind.DICOM
        note(
            self._db,
            AuditEvent.INSTANCES_TRANSFERRED if is_dicom else AuditEvent.EXPORT,
            actor=self._worker_id,
            job_id=delivery.job_id,
            destination=delivery.destination,
            purpose=delivery.purpose,
        )

    def _write_setback(self, delivery: DeliveryRecord, setback: Setback, now: datetime) -> None:
        days = self._destination.retry.give_up_after_days
        if not setback.may_pass:
            self._bury(delivery, setback.code, setback.text, now)
        elif (now - self._trying_since(delivery)) / timedelta(days=1) >= days:
            text = f"no success in {days:g} days; the last reason: {setback.code}"
            self._bury(delivery, "gave_up", text, now)
        else:
            self._postpone(delivery, setback, now)

    def _trying_since(self, delivery: DeliveryRecord) -> datetime:
        """Return when the delivery was made, or when a person last asked for it again."""
        events = delivery_reads.delivery_events(self._db, delivery.delivery_id)
        asked_again = [
            event.at
            for event in events
            if event.from_state == DeliveryState.DEAD and event.to_state == DeliveryState.PENDING
        ]
        return max([delivery.created_at, *asked_again])

    def _postpone(self, delivery: DeliveryRecord, setback: Setback, now: datetime) -> None:
        wait = next_wait(self._destination.retry, delivery.attempts, setback)
        self._rest_s = min(setback.retry_after_s, _LONGEST_REST_S)
        deliveries.settle_retry(
            self._db,
            delivery.delivery_id,
            worker_id=self._worker_id,
            code=setback.code,
            text=setback.text,
            due_at=now + wait,
            now=now,
        )
        log.warning(
            "delivery_postponed",
            reason_code=setback.code,
            reason=setback.text,
            retry_s=round(wait.total_seconds(), 1),
        )

    def _bury(self, delivery: DeliveryRecord, code: str, text: str, now: datetime) -> None:
        deliveries.settle_dead(
            self._db,
            delivery.delivery_id,
            worker_id=self._worker_id,
            code=code,
            text=text,
            now=now,
        )
        log.error("delivery_dead", reason_code=code, reason=text)
