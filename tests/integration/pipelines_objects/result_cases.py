"""Results about series of every kind that the objects must cope with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import (
    label_map,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import (
    AXIAL,
    classic_series,
    enhanced_series,
    regular_positions,
    tilted_positions,
)

Labels = NDArray[np.uint8]


def japanese(header: Dataset, index: int) -> None:
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header.StudyDescription = "head"
    header.ReferringPhysicianName = ""


def ascii_only(header: Dataset, index: int) -> None:
    header.PatientName = "Gruen^Zoe"
    header.StudyDescription = "head"
    header.ReferringPhysicianName = "Weiss^Aenne"


def bare(header: Dataset, index: int) -> None:
    """As little as an anonymised series holds."""
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
        delattr(header, keyword)
    for keyword in ("SliceThickness", "IssuerOfAccessionNumberSequence", "BodyPartExamined"):
        delattr(header, keyword)


ONE = np.where(label_map() == 2, 2, 0).astype(np.uint8)
NONE = np.zeros_like(label_map())
REGULAR = regular_positions(8)
GAPPED = classic_series(positions=[REGULAR[index] for index in (0, 1, 2, 4, 5, 7)])
TILTED = classic_series(orientation=AXIAL, positions=tilted_positions(6))
ODD = classic_series((5, 23, 29))
CASES: dict[str, tuple[SourceSeries, Labels]] = {
    "two segments": (classic_series(), label_map()),
    "one segment": (classic_series(), ONE),
    "none": (classic_series(), NONE),
    "enhanced": (enhanced_series(), label_map()),
    "enhanced, geometry per frame": (enhanced_series(per_frame=True), label_map()),
    "tilted": (TILTED, label_map()),
    "gapped": (GAPPED, label_map()),
    "odd matrix": (ODD, label_map((5, 23, 29))),
    "Japanese name": (classic_series(edit=japanese), label_map()),
    "bare headers": (classic_series(edit=bare), label_map()),
}
WITH_SEG = [name for name in CASES if name != "none"]


@dataclass(frozen=True)
class Result:
    """Files of one case; `seg` is absent without findings."""

    source: SourceSeries
    labels: Labels
    folder: Path
    seg: Path
    report: Path


def made_result(source: SourceSeries, labels: Labels, folder: Path) -> Result:
    """Write the SEG, where anything was found, and the report."""
    made = Result(source, labels, folder, folder / "seg.dcm", folder / "sr.dcm")
    segmentation = None
    if labels.any():
        segmentation = build_segmentation(segmentation_request(source, labels))
        write_object(segmentation, made.seg)
    write_object(build_report(report_request(source, labels, segmentation)), made.report)
    return made
