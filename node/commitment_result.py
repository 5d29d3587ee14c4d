"""What a storage commitment came to (PS3.4 J.3.3): the report's data set, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset

from node.receive.instance_references import items, one_uid
from storage.evidence_records import ListedSop

COMPLETE, FAILURES_EXIST = 1, 2
INSTANCE_UID = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance UID of the Storage Commitment Push Model (PS3.4 J.3.5)."""


class FailureReason(IntEnum):
    """Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """A report: what is kept for good, and the Failure Reason of what is not."""

    transaction_uid: str
    kept: frozenset[str]
    failed: Mapping[str, int]


def read_result(dataset: Dataset) -> CommitmentResult:
    """Read the Event Information of an N-EVENT-REPORT.

    Raises:
        InvalidReference: a UID is missing or none.
    """
    kept = items(dataset, "ReferencedSOPSequence")
    failed = items(dataset, "FailedSOPSequence")
    return CommitmentResult(
        transaction_uid=one_uid(dataset, "TransactionUID"),
        kept=frozenset(one_uid(item, "ReferencedSOPInstanceUID") for item in kept),
        failed={one_uid(item, "ReferencedSOPInstanceUID"): _reason(item) for item in failed},
    )


def request_dataset(transaction_uid: str, objects: Mapping[str, str]) -> Dataset:
    """Action Information: `objects` are SOP Class UIDs by SOP Instance UID."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = [_item(sop, uid) for uid, sop in objects.items()]
    return dataset


def report_dataset(
    transaction_uid: str, instances: Iterable[ListedSop], failed: Mapping[str, int]
) -> Dataset:
    """Event Information: the failed ones of `instances` with their reasons, the rest as kept."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    kept, lost = [], []
    for each in instances:
        item = _item(each.sop_class_uid, each.sop_instance_uid)
        if each.sop_instance_uid in failed:
            item.FailureReason = int(failed[each.sop_instance_uid])
            lost.append(item)
        else:
            kept.append(item)
    if kept:
        dataset.ReferencedSOPSequence = kept
    if lost:
        dataset.FailedSOPSequence = lost
    return dataset


def _item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _reason(item: Dataset) -> int:
    try:
        return int(item.get("FailureReason"))
    except (TypeError, ValueError):
        return FailureReason.PROCESSING_FAILURE
