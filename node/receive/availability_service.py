"""Instance Availability Notification as SCP (PS3.4 R): a PACS tells what it has of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.dimse_primitives import N_CREATE
from pynetdicom.sop_class import InstanceAvailabilityNotification

from node.receive.instance_references import bounded, checked_uid, items, one_uid, referenced
from node.receive.normalized_answers import (
    DUPLICATE_SOP_INSTANCE,
    MISSING_ATTRIBUTE,
    UNRECOGNIZED_OPERATION,
    answered,
)
from node.receive.services import SUCCESS, ServiceAnswer, ServiceRequest
from storage.database import Database
from storage.evidence_records import IncomingList, ListedSop, ListSource
from storage.instance_files import uid_tag
from storage.instance_lists import record_list

_log = structlog.get_logger()


class AvailabilityService:
    """Keeps each notification as a list of the study's instances; `on_list` is called then."""

    sop_classes: tuple[str, ...] = (str(InstanceAvailabilityNotification),)
    accepts_scp_role_reversal = False

    def __init__(self, db: Database, on_list: Callable[[], None]) -> None:
        self._db = db
        self._on_list = on_list

    def answer(self, request: ServiceRequest) -> ServiceAnswer:
        """Answer an N-CREATE; the SOP Class has no other operation."""
        if not isinstance(request.message, N_CREATE):
            return ServiceAnswer(UNRECOGNIZED_OPERATION)
        dataset = request.dataset
        if dataset is None:
            return ServiceAnswer(MISSING_ATTRIBUTE)
        return answered("availability", lambda: self._keep(request, dataset))

    def _keep(self, request: ServiceRequest, dataset: Dataset) -> ServiceAnswer:
        asked = request.message.AffectedSOPInstanceUID
        list_uid = checked_uid(asked, "AffectedSOPInstanceUID") if asked else str(generate_uid())
        incoming = IncomingList(
            source=ListSource.AVAILABILITY,
            calling_ae_title=request.caller.calling_ae_title,
            list_uid=list_uid,
            study_instance_uid=one_uid(dataset, "StudyInstanceUID"),
            instances=bounded(_instances(dataset)),
            received_at=datetime.now(UTC),
        )
        if not record_list(self._db, incoming):
            return ServiceAnswer(DUPLICATE_SOP_INSTANCE)
        _log.info(
            "list_received",
            source=incoming.source,
            study=uid_tag(incoming.study_instance_uid),
            instances=len(incoming.instances),
        )
        self._on_list()
        return ServiceAnswer(SUCCESS, sop_instance_uid=list_uid)


def _instances(dataset: Dataset) -> Iterator[ListedSop]:
    study_uid = one_uid(dataset, "StudyInstanceUID")
    for series in items(dataset, "ReferencedSeriesSequence"):
        series_uid = one_uid(series, "SeriesInstanceUID")
        yield from referenced(
            series, "ReferencedSOPSequence", series_uid=series_uid, study_uid=study_uid
        )
