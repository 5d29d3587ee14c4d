from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.proof_report import prove_report
from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import (
    VOXEL_ML,
    label_map,
    measurements,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import classic_series

Mutation = Callable[[Dataset], None]
ONLY_POSTERIOR = np.where(label_map() == 2, 2, 0).astype(np.uint8)
NOTHING = np.zeros_like(label_map())


def proved(folder: Path, labels: NDArray[np.uint8], mutate: Mutation | None = None) -> None:
    source = classic_series()
    segmentation, decoded = None, None
    if labels.any():
        request = segmentation_request(source, labels)
        segmentation = build_segmentation(request)
        write_object(segmentation, folder / "seg.dcm")
        decoded = prove_segmentation(folder / "seg.dcm", labels, source, request.structures)
    path = folder / "sr.dcm"
    write_object(build_report(report_request(source, labels, segmentation)), path)
    if mutate is not None:
        written = dcmread(path)
        mutate(written)
        written.save_as(path, enforce_file_format=True)
    prove_report(path, source, measurements(labels), decoded)


@pytest.mark.parametrize(
    "labels", [label_map(), ONLY_POSTERIOR, NOTHING], ids=["all", "one absent", "none"]
)
def test_a_report_of_what_was_measured_passes(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    proved(tmp_path, labels)


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(report: Dataset, code: str) -> list[Dataset]:
    return [item for item in items(report) if item.ConceptNameCodeSequence[0].CodeValue == code]


def one_voxel_more(report: Dataset) -> None:
    (measured,) = named(report, "118565006")[0].MeasuredValueSequence
    measured.NumericValue = f"{float(measured.NumericValue) + VOXEL_ML:.6f}"


def other_unit(report: Dataset) -> None:
    (measured,) = named(report, "118565006")[0].MeasuredValueSequence
    measured.MeasurementUnitsCodeSequence[0].CodeValue = "mm3"


def other_segment(report: Dataset) -> None:
    named(report, "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 2


def other_seg(report: Dataset) -> None:
    named(report, "121191")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.9"


def retracked(report: Dataset) -> None:
    first, second = named(report, "112040")
    first.UID, second.UID = second.UID, first.UID


def untracked(report: Dataset) -> None:
    named(report, "112040")[0].UID = "2.25.9"


def without_a_group(report: Dataset) -> None:
    named(report, "126010")[0].ContentSequence = named(report, "125007")[1:]


def without_volume(report: Dataset) -> None:
    group = named(report, "125007")[0]
    group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "NUM"]


def optimistic(report: Dataset) -> None:
    named(report, "111017")[0].ConceptCodeSequence[0].CodeValue = "111241"


def silent(report: Dataset) -> None:
    report.ContentSequence = report.ContentSequence[:-1]


def with_an_absence(report: Dataset) -> None:
    summary = named(report, "111017")[0]
    summary.ConceptNameCodeSequence[0].CodeValue = "5366008"
    summary.ConceptCodeSequence[0].CodeValue = "272519000"


def without_an_image(report: Dataset) -> None:
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    images = study.ReferencedSeriesSequence[0]
    images.ReferencedSOPSequence = images.ReferencedSOPSequence[1:]


def nameless(report: Dataset) -> None:
    del named(report, "125007")[0].ConceptNameCodeSequence


def with_value(keyword: str, value: Any) -> Mutation:
    return lambda report: setattr(report, keyword, value)


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "a volume of one voxel more": (one_voxel_more, "Volume of the structure"),
    "another unit": (other_unit, "lacks Volume"),
    "no volume": (without_volume, "lacks Volume"),
    "another segment": (other_segment, "references another segment"),
    "another SEG": (other_seg, "references another segment"),
    "tracking swapped": (retracked, "references another segment"),
    "an unknown tracking UID": (untracked, "other structures"),
    "a group is missing": (without_a_group, "other structures"),
    "without findings, it says": (optimistic, "sums up other findings"),
    "no summary": (silent, "sums up other findings"),
    "an absence for the summary": (with_an_absence, "sums up other findings"),
    "an image is no evidence": (without_an_image, "as evidence"),
    "a nameless group": (nameless, "cannot be read back"),
    "verified": (with_value("VerificationFlag", "VERIFIED"), "unverified"),
    "final": (with_value("PreliminaryFlag", "FINAL"), "preliminary"),
    "another patient": (with_value("PatientID", "PID-8"), "PatientID"),
    "another study": (with_value("StudyInstanceUID", "2.25.9"), "StudyInstanceUID"),
    "no content": (lambda report: report.__delattr__("ContentSequence"), "sums up other findings"),
}


@pytest.mark.parametrize(("mutate", "message"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_fault_in_a_report_is_caught_and_named(
    tmp_path: Path, mutate: Mutation, message: str
) -> None:
    with pytest.raises(ProofFailed, match=message) as failed:
        proved(tmp_path, label_map(), mutate)
    assert "2.25." not in str(failed.value)
    assert "PID" not in str(failed.value)


def test_another_absent_part_is_caught(tmp_path: Path) -> None:
    def mutate(report: Dataset) -> None:
        absence = next(item for item in named(report, "5366008") if item.ValueType == "CODE")
        absence.ContentSequence[0].ConceptCodeSequence[0].CodeValue = "255551008"

    with pytest.raises(ProofFailed, match="absent"):
        proved(tmp_path, ONLY_POSTERIOR, mutate)


def test_an_absence_that_is_not_told_is_caught(tmp_path: Path) -> None:
    def mutate(report: Dataset) -> None:
        evaluations = named(report, "C0034375")[0]
        evaluations.ContentSequence = [
            item
            for item in evaluations.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeValue != "5366008"
        ]

    with pytest.raises(ProofFailed, match="absent"):
        proved(tmp_path, ONLY_POSTERIOR, mutate)


def test_a_file_that_is_no_report_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ProofFailed, match="cannot be read back"):
        prove_report(path, classic_series(), measurements(NOTHING), None)


def test_a_seg_that_counts_other_voxels_than_were_measured_is_caught(tmp_path: Path) -> None:
    source, labels = classic_series(), label_map()
    request = segmentation_request(source, labels, spacing_between_slices_mm=3.0)
    segmentation = build_segmentation(request)
    write_object(segmentation, tmp_path / "seg.dcm")
    decoded = prove_segmentation(tmp_path / "seg.dcm", labels, source, request.structures)
    path = tmp_path / "sr.dcm"
    write_object(build_report(report_request(source, labels, segmentation)), path)
    with pytest.raises(ProofFailed, match="against the voxels of the SEG"):
        prove_report(path, source, measurements(labels), decoded)
