"""Reads the references to instances that DIMSE-N messages carry (PS3.3 10.3, PS3.4 F, J, R).

What comes is hostile input: every UID is checked, and a list has an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from storage.errors import InvalidUid
from storage.evidence_records import ListedSop
from storage.instance_files import validated_uid

MOST_INSTANCES = 100_000

_UNAVAILABLE = "UNAVAILABLE"
# Made from images, later and by others: reports, key objects, presentation states,
# registrations, segmentations, encapsulated documents, structure sets, plans. A PACS does not
# route them with the images, and results of our own are among them.
_DERIVED_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.67",
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.5",
)


class InvalidReference(Exception):
    """A list cannot be used; the text names the attribute, and holds no value."""


def one_uid(dataset: Dataset, keyword: str) -> str:
    """A UID that has to be there and be valid.

    Raises:
        InvalidReference: it is missing or none.
    """
    return checked_uid(dataset.get(keyword), keyword)


def checked_uid(value: object, keyword: str) -> str:
    """A value that has to be a UID.

    Raises:
        InvalidReference: it is none.
    """
    try:
        return validated_uid(str(value or ""))
    except InvalidUid:
        raise InvalidReference(keyword) from None


def referenced(
    dataset: Dataset, keyword: str, *, series_uid: str = "", study_uid: str = ""
) -> Iterator[ListedSop]:
    """The instances of one sequence of SOP references; an absent sequence has none.

    Raises:
        InvalidReference: a UID is missing or none.
    """
    for item in items(dataset, keyword):
        sop_class_uid = one_uid(item, "ReferencedSOPClassUID")
        is_away = str(item.get("InstanceAvailability") or "").upper() == _UNAVAILABLE
        yield ListedSop(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=one_uid(item, "ReferencedSOPInstanceUID"),
            series_instance_uid=series_uid,
            study_instance_uid=study_uid,
            is_required=not (is_away or sop_class_uid.startswith(_DERIVED_CLASSES)),
        )


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent or empty.

    Raises:
        InvalidReference: what stands there is no sequence.
    """
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    if isinstance(value, (str, bytes)) or not all(isinstance(item, Dataset) for item in value):
        raise InvalidReference(keyword)
    return list(value)


def bounded(instances: Iterator[ListedSop]) -> tuple[ListedSop, ...]:
    """All instances of a list.

    Raises:
        InvalidReference: there are more than anybody needs.
    """
    found = []
    for instance in instances:
        found.append(instance)
        if len(found) > MOST_INSTANCES:
            raise InvalidReference(f"more than {MOST_INSTANCES} instances")
    return tuple(found)
