"""Modality Performed Procedure Step as SCP (PS3.4 F.7): a modality tells what it has made.

A step in progress announces images; a completed one names them; a discontinued one names those
that there are. We only listen: the step itself is the business of the RIS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from node.receive.instance_references import (
    InvalidReference,
    bounded,
    checked_uid,
    items,
    one_uid,
    referenced,
)
from node.receive.normalized_answers import (
    DUPLICATE_SOP_INSTANCE,
    MISSING_ATTRIBUTE,
    PROCESSING_FAILURE,
    UNRECOGNIZED_OPERATION,
    answered,
)
from node.receive.services import SUCCESS, ServiceAnswer, ServiceRequest
from storage.database import Database
from storage.evidence_records import IncomingList, ListedSop, ListSource
from storage.instance_files import uid_tag
from storage.instance_lists import change_step, record_list

_IN_PROGRESS, _ENDED = "IN PROGRESS", ("COMPLETED", "DISCONTINUED")
_IMAGES = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
_SERIES = "PerformedSeriesSequence"

_log = structlog.get_logger()


class PerformedStepService:
    """Keeps each step as a list of instances that its end completes; calls `on_list` then."""

    sop_classes: tuple[str, ...] = (str(ModalityPerformedProcedureStep),)
    accepts_scp_role_reversal = False

    def __init__(self, db: Database, on_list: Callable[[], None]) -> None:
        self._db = db
        self._on_list = on_list

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer an N-CREATE or N-SET."""
        if not isinstance(request.message, N_CREATE | N_SET):
            return ServiceAnswer(UNRECOGNIZED_OPERATION)
        dataset = request.dataset
        if dataset is None:
            return ServiceAnswer(MISSING_ATTRIBUTE)
        keep = self._create if isinstance(request.message, N_CREATE) else self._set
        answer = answered("performed_step", lambda: keep(request, dataset))
        if answer.status == SUCCESS:
            self._on_list()
        return answer

    def _create(self, request: ServiceRequest, dataset: Dataset) -> ServiceAnswer:
        named = request.message.AffectedSOPInstanceUID
        list_uid = checked_uid(named, "AffectedSOPInstanceUID") if named else str(generate_uid())
        studies = _studies(dataset)
        incoming = _step(request, dataset, list_uid, studies)
        if not record_list(self._db, incoming):
            return ServiceAnswer(DUPLICATE_SOP_INSTANCE)
        _tell(incoming)
        return ServiceAnswer(SUCCESS, sop_instance_uid=list_uid)

    def _set(self, request: ServiceRequest, dataset: Dataset) -> ServiceAnswer:
        named = request.message.RequestedSOPInstanceUID
        list_uid = checked_uid(named, "RequestedSOPInstanceUID")
        incoming = _step(request, dataset, list_uid, ())
        is_told_anew = _SERIES in dataset
        if not change_step(self._db, incoming, replaces_instances=is_told_anew):
            # PS3.4 F.7.2.2.2: a step that has ended is not changed any more.
            return ServiceAnswer(PROCESSING_FAILURE)
        _tell(incoming)
        return ServiceAnswer(SUCCESS)


def _step(
    request: ServiceRequest, dataset: Dataset, list_uid: str, studies: tuple[str, ...]
) -> IncomingList:
    # With several studies in one step nobody says which series belongs to which of them.
    only = studies[0] if len(studies) == 1 else ""
    return IncomingList(
        source=ListSource.PERFORMED_STEP,
        calling_ae_title=request.caller.calling_ae_title,
        list_uid=list_uid,
        study_instance_uid=only,
        instances=bounded(_instances(dataset, only)),
        received_at=datetime.now(UTC),
        is_open=_is_open(dataset),
    )


def _is_open(dataset: Dataset) -> bool:
    status = str(dataset.get("PerformedProcedureStepStatus") or _IN_PROGRESS).upper()
    if status not in (_IN_PROGRESS, *_ENDED):
        raise InvalidReference("PerformedProcedureStepStatus")
    return status == _IN_PROGRESS


def _studies(dataset: Dataset) -> tuple[str, ...]:
    steps = items(dataset, "ScheduledStepAttributesSequence")
    return tuple(dict.fromkeys(one_uid(step, "StudyInstanceUID") for step in steps))


def _instances(dataset: Dataset, study_uid: str) -> Iterator[ListedSop]:
    for series in items(dataset, _SERIES):
        series_uid = one_uid(series, "SeriesInstanceUID")
        for keyword in _IMAGES:
            yield from referenced(series, keyword, series_uid=series_uid, study_uid=study_uid)


def _tell(incoming: IncomingList) -> None:
    _log.info(
        "list_received",
        source=incoming.source,
        list=uid_tag(incoming.list_uid),
        instances=len(incoming.instances),
        is_open=incoming.is_open,
    )
