"""Several deliveries at once: a PACS is asked about them on one association, one after the other.

Its report on a request may come on that association, or on one that it opens to a receiver, which
is another process (PS3.4 J.3): either way the row of the delivery tells. So an association is kept
open until the reports have come, and not for longer than a while: a PACS that takes hours reports
on an association of its own. One that let that while pass is given one more, for all the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import structlog
from pydicom.uid import generate_uid

from node.clock import Clock
from node.commitment_association import (
    ENDS_ASSOCIATION,
    CommitmentRequests,
    Peer,
    requesting_commitments,
)
from node.commitment_result import CommitmentResult
from node.commitment_results import sop_classes
from node.errors import CommitmentUnavailable
from storage import confirmations
from storage.database import Database
from storage.evidence_records import ConfirmationRecord
from storage.sent_objects import objects_of_delivery

SAME_ASSOCIATION_S = 5.0

_LOOK_S = 0.05
"""How soon a report is seen that another process took."""

_log = structlog.get_logger()


class NotAsked(NamedTuple):
    """A delivery that its PACS could not be asked about, and why."""

    due: ConfirmationRecord
    error: CommitmentUnavailable


class CommitmentRound:
    """Asks one PACS, and waits; `take` is called with each report on the same association.

    A report is awaited for `timeout` from the request on, of whatever process.
    """

    def __init__(
        self,
        peer: Peer,
        db: Database,
        take: Callable[[CommitmentResult], None],
        *,
        timeout: timedelta,
        clock: Clock,
    ) -> None:
        self._peer = peer
        self._db = db
        self._take = take
        self._timeout = timeout
        self._clock = clock

    def ask(self, due: Sequence[ConfirmationRecord]) -> list[NotAsked]:
        """Ask about all of `due`; those that failed.

        Where the PACS ends the association, the ones behind stay as they are, that is, due.
        """
        failed: list[NotAsked] = []
        try:
            with requesting_commitments(self._peer, self._take) as requests:
                self._ask_all(requests, due, failed)
        except CommitmentUnavailable as error:
            return [NotAsked(each, error) for each in due]
        return failed

    def _ask_all(
        self,
        requests: CommitmentRequests,
        due: Sequence[ConfirmationRecord],
        failed: list[NotAsked],
    ) -> None:
        asked: list[str] = []
        is_prompt = True
        for each in due:
            is_prompt = is_prompt and self._are_reported(requests, asked)
            if not requests.is_open:
                return
            try:
                asked.append(self._request(requests, each))
            except CommitmentUnavailable as error:
                failed.append(NotAsked(each, error))
                if error.code in ENDS_ASSOCIATION:
                    return
        self._are_reported(requests, asked)

    def _request(self, requests: CommitmentRequests, due: ConfirmationRecord) -> str:
        objects = sop_classes(objects_of_delivery(self._db, due.delivery_id))
        transaction_uid = str(generate_uid(prefix=None))
        # Before the request: its report can be quicker than its answer.
        confirmations.await_report(
            self._db,
            due.delivery_id,
            transaction_uid=transaction_uid,
            due_at=self._clock() + self._timeout,
        )
        requests.ask(transaction_uid, objects)
        _log.info("commitment_asked", delivery_id=due.delivery_id)
        return transaction_uid

    def _are_reported(self, requests: CommitmentRequests, asked: Sequence[str]) -> bool:
        """Wait for the reports while they can come on this association; whether all came."""
        until = time.monotonic() + SAME_ASSOCIATION_S
        while asked and confirmations.are_awaited(self._db, asked):
            if not requests.is_open or time.monotonic() >= until:
                return False
            requests.wait(_LOOK_S)
        return True
