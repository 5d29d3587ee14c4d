"""Storage commitment (PS3.4 J), both roles on one presentation context.

As SCP we take an N-ACTION: its list is kept with the debt of a report, which another part pays
(`node.commitment_reports`). As SCU we take the N-EVENT-REPORT with which a PACS answers what we
asked for (`node.confirmation`), on an association that it opens to us.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.commitment_result import COMPLETE, FAILURES_EXIST, CommitmentResult, read_result
from node.receive.instance_references import InvalidReference, bounded, one_uid, referenced
from node.receive.normalized_answers import (
    MISSING_ATTRIBUTE,
    NO_SUCH_ACTION,
    NO_SUCH_EVENT_TYPE,
    PROCESSING_FAILURE,
    UNRECOGNIZED_OPERATION,
    answered,
)
from node.receive.services import SUCCESS, ServiceAnswer, ServiceRequest
from storage.commitment_reports import request_commitment
from storage.database import Database
from storage.evidence_records import IncomingList, ListSource
from storage.instance_lists import record_list

_REQUEST = 1

_log = structlog.get_logger()


class CommitmentService:
    """Serves storage commitment; `on_list` is called when a request was kept.

    `on_result` gets the report on a commitment of ours, and keeps what it means. A request of
    a sender for whom `can_report` is False is refused, but its list is evidence all the same.
    """

    sop_classes: tuple[str, ...] = (str(StorageCommitmentPushModel),)
    accepts_scp_role_reversal = True

    def __init__(
        self,
        db: Database,
        on_list: Callable[[], None],
        on_result: Callable[[CommitmentResult], None],
        can_report: Callable[[str], bool],
    ) -> None:
        self._db = db
        self._on_list = on_list
        self._on_result = on_result
        self._can_report = can_report

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer an N-ACTION or N-EVENT-REPORT."""
        match request.message:
            case N_ACTION():
                return self._requested(request)
            case N_EVENT_REPORT():
                return self._reported(request)
            case _:
                return ServiceAnswer(UNRECOGNIZED_OPERATION)

    def _requested(self, request: ServiceRequest) -> ServiceAnswer:
        dataset = request.dataset
        if request.message.ActionTypeID != _REQUEST:
            return ServiceAnswer(NO_SUCH_ACTION)
        if dataset is None:
            return ServiceAnswer(MISSING_ATTRIBUTE)
        return answered("storage_commitment", lambda: self._keep(request, dataset))

    def _keep(self, request: ServiceRequest, dataset: Dataset) -> ServiceAnswer:
        incoming = IncomingList(
            source=ListSource.STORAGE_COMMITMENT,
            calling_ae_title=request.caller.calling_ae_title,
            list_uid=one_uid(dataset, "TransactionUID"),
            study_instance_uid="",
            instances=bounded(referenced(dataset, "ReferencedSOPSequence")),
            received_at=datetime.now(UTC),
        )
        if not incoming.instances:
            raise InvalidReference("ReferencedSOPSequence")
        if not self._can_report(incoming.calling_ae_title):
            return self._refuse(incoming)
        is_new = request_commitment(self._db, incoming)
        _log.info(
            "commitment_requested",
            calling_ae_title=incoming.calling_ae_title,
            instances=len(incoming.instances),
            is_new=is_new,
        )
        self._on_list()
        return ServiceAnswer(SUCCESS)

    def _refuse(self, incoming: IncomingList) -> ServiceAnswer:
        record_list(self._db, incoming)
        self._on_list()
        _log.warning(
            "commitment_refused",
            calling_ae_title=incoming.calling_ae_title,
            reason="configure commitment_host of this sender",
        )
        return ServiceAnswer(PROCESSING_FAILURE)

    def _reported(self, request: ServiceRequest) -> ServiceAnswer:
        dataset = request.dataset
        if request.message.EventTypeID not in (COMPLETE, FAILURES_EXIST):
            return ServiceAnswer(NO_SUCH_EVENT_TYPE)
        if dataset is None:
            return ServiceAnswer(MISSING_ATTRIBUTE)

        def take() -> ServiceAnswer:
            self._on_result(read_result(dataset))
            return ServiceAnswer(SUCCESS)

        return answered("storage_commitment", take)
