"""What the PACS stand-in holds: DICOM files in a folder, and the answers a C-FIND gives on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID

_COPIED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "StudyID",
    "AccessionNumber",
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SOPClassUID",
    "SOPInstanceUID",
)


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """One instance in the folder; `header` holds the attributes that queries ask for."""

    path: Path
    syntax_uid: str
    header: Dataset

    @property
    def study_instance_uid(self) -> str:
        """The study it belongs to."""
        return str(self.header.StudyInstanceUID)

    @property
    def series_instance_uid(self) -> str:
        """The series it belongs to."""
        return str(self.header.SeriesInstanceUID)

    @property
    def sop_instance_uid(self) -> str:
        """Its own UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def sop_class_uid(self) -> str:
        """What kind of object it is."""
        return str(self.header.SOPClassUID)

    @property
    def modality(self) -> str:
        """SEG and SR are told apart from images by this."""
        return str(self.header.Modality)


class Archive:
    """Instances by SOP Instance UID; the same UID again replaces what was held under it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, HeldInstance] = {}
        self._lock = threading.Lock()

    def keep(self, content: bytes) -> HeldInstance:
        """Write one DICOM file into the folder and answer queries with it from now on.

        Raises `InvalidDicomError`, `AttributeError` or `ValueError` for content that is no
        instance with valid UIDs, and `OSError` when the folder takes no more.
        """
        full = dcmread(BytesIO(content), stop_before_pixels=True)
        header = Dataset()
        header.update({full[name].tag: full[name] for name in _COPIED if name in full})
        study, sop = UID(header.StudyInstanceUID), UID(header.SOPInstanceUID)
        if not (study.is_valid and sop.is_valid and UID(header.SeriesInstanceUID).is_valid):
            raise ValueError("a UID is not valid")
        header.setdefault("Modality", "OT")
        path = self.folder / study / f"{sop}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        held = HeldInstance(path, str(full.file_meta.TransferSyntaxUID), header)
        with self._lock:
            self._held[held.sop_instance_uid] = held
        return held

    def instances(self, study_uid: str, modality: str | None = None) -> list[HeldInstance]:
        """Return what is held of one study, in the order in which it came."""
        return [
            held
            for held in self._all()
            if held.study_instance_uid == study_uid and modality in (None, held.modality)
        ]

    def find(self, query: Dataset) -> list[Dataset] | None:
        """Answer a Study Root query at STUDY or SERIES level (PS3.4 C.6.2); None for others."""
        level = query.get("QueryRetrieveLevel")
        if level == "STUDY":
            return [_study_answer(query, one) for one in self._groups(query, _study_of)]
        if level == "SERIES":
            return [_series_answer(query, one) for one in self._groups(query, _series_of)]
        return None

    def _all(self) -> list[HeldInstance]:
        with self._lock:
            return list(self._held.values())

    def _groups(
        self, query: Dataset, key: Callable[[HeldInstance], str]
    ) -> Iterable[list[HeldInstance]]:
        groups: dict[str, list[HeldInstance]] = {}
        for held in self._all():
            if _matches(query, held):
                groups.setdefault(key(held), []).append(held)
        return groups.values()


def _study_of(held: HeldInstance) -> str:
    return held.study_instance_uid


def _series_of(held: HeldInstance) -> str:
    return held.series_instance_uid


def _matches(query: Dataset, held: HeldInstance) -> bool:
    """Single value and list of UID matching on the unique keys (PS3.4 C.2.2.2)."""
    return all(
        held.header[keyword].value in _values(query, keyword)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID")
        if _values(query, keyword)
    )


def _values(query: Dataset, keyword: str) -> list[str]:
    value = query.get(keyword)
    if not value:
        return []
    return [str(value)] if isinstance(value, str) else [str(one) for one in value]


def _study_answer(query: Dataset, instances: list[HeldInstance]) -> Dataset:
    answer = _copied(query, instances[0])
    series = {held.series_instance_uid for held in instances}
    modalities = sorted({held.modality for held in instances})
    return _counted(
        query,
        answer,
        NumberOfStudyRelatedSeries=len(series),
        NumberOfStudyRelatedInstances=len(instances),
        ModalitiesInStudy=modalities,
    )


def _series_answer(query: Dataset, instances: list[HeldInstance]) -> Dataset:
    answer = _copied(query, instances[0])
    return _counted(query, answer, NumberOfSeriesRelatedInstances=len(instances))


def _copied(query: Dataset, held: HeldInstance) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = query.QueryRetrieveLevel
    for element in query:
        if element.keyword in _COPIED and element.keyword in held.header:
            answer[element.tag] = held.header[element.tag]
    if "SpecificCharacterSet" in held.header:
        answer.SpecificCharacterSet = held.header.SpecificCharacterSet
    return answer


def _counted(query: Dataset, answer: Dataset, **counts: int | list[str]) -> Dataset:
    for keyword, count in counts.items():
        if keyword in query:
            setattr(answer, keyword, count)
    return answer
