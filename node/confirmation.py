"""From `sent` to `confirmed`: a PACS is asked whether it keeps what it took (PS3.4 J, as SCU).

It is asked by storage commitment, about several deliveries together (`node.commitment_round`). Its
reports come on the same association, or hours later on one that it opens to us; both end in
`CommitmentResults.take`. What it does not keep is sent again.
Where there is no report in time, or no such service, C-FIND tells second best whether our objects
are listed; what is not listed proves nothing, so the delivery stays `sent`, with the reason.
A PACS over HTTP is asked by QIDO-RS in the same way, where its answer named no objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from config.settings import DicomDestination, PacsDestination, Settings, StowDestination
from node.clock import Clock, utc_now
from node.commitment_association import ENDS_ASSOCIATION, Peer
from node.commitment_results import CommitmentResults, confirmed
from node.commitment_round import CommitmentRound
from node.errors import CountsUnavailable
from node.find_objects import KnownObject, find_objects
from node.setback import retry_delay
from node.stow.search import search_objects
from storage import confirmations
from storage.database import Database
from storage.evidence_records import ConfirmationRecord, ConfirmationState
from storage.jobs import get_job
from storage.sent_objects import objects_of_delivery

MOST_TOGETHER = 20
"""How many deliveries are asked for on one association."""

_log = structlog.get_logger()


class Confirmation:
    """Asks one PACS about the deliveries that it took, the longest due first."""

    def __init__(
        self,
        destination: PacsDestination,
        settings: Settings,
        db: Database,
        *,
        worker_id: str,
        clock: Clock = utc_now,
    ) -> None:
        self._destination = destination
        self._db = db
        self._worker_id = worker_id
        self._clock = clock
        self._results = CommitmentResults(settings, db, worker_id=worker_id, clock=clock)
        self._own_ae_title = settings.node.ae_title
        self._most = MOST_TOGETHER

    def ask_next(self) -> bool:
        """Ask about the next deliveries that are due; False when none is.

        Several are asked for storage commitment together; all else is one delivery at a time.
        """
        now = self._clock()
        since = now - timedelta(days=self._destination.retry.give_up_after_days)
        name = self._destination.name
        confirmations.begin_confirmations(self._db, name, sent_after=since, now=now)
        due = confirmations.due_confirmations(self._db, name, now=now, limit=self._most)
        if not due:
            self._most = MOST_TOGETHER
            return False
        destination = self._destination
        if isinstance(destination, DicomDestination) and self._is_committing(due[0], since):
            together = [each for each in due if self._is_committing(each, since)]
            self._ask(together, destination)
        else:
            self._settle(due[0], since)
        return True

    def _is_committing(self, due: ConfirmationRecord, since: datetime) -> bool:
        """Whether storage commitment is the next thing to ask for."""
        return (
            self._destination.confirm == "commitment"
            and due.state is ConfirmationState.ASKING
            and due.began_at >= since
            and bool(objects_of_delivery(self._db, due.delivery_id))
        )

    def _settle(self, due: ConfirmationRecord, since: datetime) -> None:
        if not objects_of_delivery(self._db, due.delivery_id):
            # The profile wants a kind that this result does not have.
            receipt = {"found": "0 of 0"}
            confirmed(self._db, due, receipt, self._worker_id, self._clock())
        elif due.began_at < since:
            self._give_up(due)
        elif isinstance(self._destination, StowDestination):
            self._find(due, ("not_named", "its answer to what was sent names no objects"))
        else:
            self._find(due, ("no_report", "no report on the storage commitment came in time"))

    def _ask(self, due: Sequence[ConfirmationRecord], destination: DicomDestination) -> None:
        asking = CommitmentRound(
            _peer(destination, self._own_ae_title),
            self._db,
            self._results.take,
            timeout=timedelta(seconds=destination.confirm_timeout_s),
            clock=self._clock,
        )
        for failed, error in asking.ask(due):
            if failed is not due[0] and error.code in ENDS_ASSOCIATION:
                # It may take one request an association: the rest is asked so.
                self._most = 1
            if error.is_supported:
                self._postpone(failed, ConfirmationState.ASKING, error.code, error.text)
            else:
                self._find(failed, (error.code, error.text))

    def _find(self, due: ConfirmationRecord, why: tuple[str, str]) -> None:
        """Look for our objects; `why` tells what better evidence was lacking."""
        objects = self._objects(due)
        code, text = why
        try:
            found = self._found(objects)
        except CountsUnavailable as error:
            text = f"{text}; {error}"
        else:
            if found >= {each.sop_instance_uid for each in objects}:
                receipt = {"found": f"{len(objects)} of {len(objects)}"}
                confirmed(self._db, due, receipt, self._worker_id, self._clock())
                return
            code = "not_listed"
            text = f"the PACS lists {len(found)} of {len(objects)} objects"
        self._postpone(due, due.state, code, text)

    def _found(self, objects: Sequence[KnownObject]) -> frozenset[str]:
        if isinstance(self._destination, StowDestination):
            return search_objects(self._destination, objects)
        return find_objects(_peer(self._destination, self._own_ae_title), objects)

    def _objects(self, due: ConfirmationRecord) -> Sequence[KnownObject]:
        study_uid = get_job(self._db, due.job_id).study_instance_uid
        sent = objects_of_delivery(self._db, due.delivery_id)
        return [
            KnownObject(study_uid, item.series_instance_uid, item.sop_instance_uid) for item in sent
        ]

    def _postpone(
        self, due: ConfirmationRecord, state: ConfirmationState, code: str, text: str
    ) -> None:
        wait = retry_delay(self._destination.retry, due.attempts + 1)
        confirmations.postpone_confirmation(
            self._db,
            due.delivery_id,
            state=state,
            due_at=self._clock() + wait,
            code=code,
            text=text,
        )
        _log.warning("delivery_unconfirmed", delivery_id=due.delivery_id, reason_code=code)

    def _give_up(self, due: ConfirmationRecord) -> None:
        confirmations.give_up_confirmation(
            self._db,
            due.delivery_id,
            code="gave_up",
            text=f"not confirmed in {self._destination.retry.give_up_after_days:g} days",
        )
        _log.error("delivery_unconfirmed", delivery_id=due.delivery_id, reason_code="gave_up")


def _peer(destination: DicomDestination, own_ae_title: str) -> Peer:
    return Peer(
        destination.host,
        destination.port,
        called_ae_title=destination.ae_title,
        calling_ae_title=destination.calling_ae_title or own_ae_title,
        timeout_s=destination.timeout_s,
        tls=destination.tls,
    )
