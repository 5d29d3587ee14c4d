"""The messages by which a sender tells which instances a study has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node.receive.normalized_answers import PROCESSING_FAILURE
from node.receive.services import SUCCESS
from tests.acceptance.small_study import SmallStudy

Announce = Callable[[int, str, SmallStudy], None]
"""Tells the node on this port, under that calling AE title, what belongs to the study."""

_REQUEST_STORAGE_COMMITMENT = 1


def by_availability_notification(port: int, calling: str, study: SmallStudy) -> None:
    """Instance Availability Notification (PS3.4 R)."""
    series = Dataset()
    series.SeriesInstanceUID = study.series_instance_uid
    series.ReferencedSOPSequence = _references(study, InstanceAvailability="ONLINE")
    notification = Dataset()
    notification.StudyInstanceUID = study.study_instance_uid
    notification.ReferencedSeriesSequence = [series]
    with _association(port, calling, InstanceAvailabilityNotification) as association:
        uid = generate_uid(prefix=None)
        answer = association.send_n_create(notification, InstanceAvailabilityNotification, uid)
        _expect(answer, SUCCESS)


def by_storage_commitment(port: int, calling: str, study: SmallStudy) -> None:
    """Request of a storage commitment (PS3.4 J.3.2)."""
    request = Dataset()
    request.TransactionUID = generate_uid(prefix=None)
    request.ReferencedSOPSequence = _references(study)
    with _association(port, calling, StorageCommitmentPushModel) as association:
        answer = association.send_n_action(
            request,
            _REQUEST_STORAGE_COMMITMENT,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        # Who has no `commitment_host` gets no report; the list counts all the same.
        _expect(answer, SUCCESS, PROCESSING_FAILURE)


def by_performed_step(port: int, calling: str, study: SmallStudy) -> None:
    """A Modality Performed Procedure Step, begun and completed (PS3.4 F.7)."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study.study_instance_uid
    begun = Dataset()
    begun.PerformedProcedureStepStatus = "IN PROGRESS"
    begun.ScheduledStepAttributesSequence = [scheduled]
    series = Dataset()
    series.SeriesInstanceUID = study.series_instance_uid
    series.ReferencedImageSequence = _references(study)
    completed = Dataset()
    completed.PerformedProcedureStepStatus = "COMPLETED"
    completed.PerformedSeriesSequence = [series]
    uid = generate_uid(prefix=None)
    with _association(port, calling, ModalityPerformedProcedureStep) as association:
        _expect(association.send_n_create(begun, ModalityPerformedProcedureStep, uid), SUCCESS)
        _expect(association.send_n_set(completed, ModalityPerformedProcedureStep, uid), SUCCESS)


def _references(study: SmallStudy, **more: str) -> list[Dataset]:
    return [_reference(uid, more) for uid in study.sop_instance_uids]


def _reference(sop_instance_uid: str, more: dict[str, str]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = MRImageStorage
    item.ReferencedSOPInstanceUID = sop_instance_uid
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


@contextmanager
def _association(port: int, calling: str, sop_class: UID) -> Iterator[Any]:
    ae = AE(ae_title=calling)
    ae.add_requested_context(sop_class)
    association = ae.associate("127.0.0.1", port, ae_title="RADNODE")
    assert association.is_established
    yield association
    association.release()


def _expect(answer: tuple[Dataset, Dataset | None], *statuses: int) -> None:
    status, _ = answer
    assert status.get("Status") in statuses, status
