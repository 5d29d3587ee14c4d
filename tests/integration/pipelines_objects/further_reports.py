"""Reports other than that of a segmentation: each made into a folder, its path given back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread

from pipelines.objects.compose import compose
from pipelines.objects.composing import NoteRequest, OutcomeRequest, Rejected, RevisionRequest
from pipelines.objects.encoding import SegmentationForm
from pipelines.objects.report_sr import build_report
from pipelines.objects.revision import Predecessor, Revision
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from tests.integration.pipelines_objects.result_cases import CASES, made_result
from tests.unit.fhir.finished_jobs import classified, for_review, with_findings
from tests.unit.pipelines_objects.kept_result import kept_result
from tests.unit.pipelines_objects.result_requests import (
    label_map,
    measurements,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import classic_series

AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
IMAGING_MEASUREMENTS = "126010"


def split(folder: Path) -> Path:
    """A report on a result in two SEGs."""
    kept = kept_result(folder, classic_series((6, 40, 48)))
    *_, report = kept.made(SegmentationForm.BINARY, most_segments=1)
    return folder / "out" / report.path


def of_classes(folder: Path) -> Path:
    """A report on a classifier's answer."""
    judged = classified().measurements
    request = report_request(classic_series(), label_map(), None, measurements=judged)
    write_object(build_report(request), folder / "sr.dcm")
    return folder / "sr.dcm"


def of_the_uncertain(folder: Path) -> Path:
    """A report that somebody should look at, with what says how sure it is."""
    source, labels = classic_series(), label_map()
    first, second = measurements(labels)
    _, *qualifying = for_review(with_findings(), "wide").measurements[:4]
    of_first = [
        replace(first, quantity=one.quantity, value=one.value, unit=one.unit) for one in qualifying
    ]
    segmentation = build_segmentation(segmentation_request(source, labels))
    request = report_request(
        source,
        labels,
        segmentation,
        measurements=(first, *of_first, second),
        review="mean entropy 0.4 is above 0.3",
    )
    write_object(build_report(request), folder / "sr.dcm")
    return folder / "sr.dcm"


def of_no_result(folder: Path) -> Path:
    """A report on work that came to nothing."""
    kept = kept_result(folder, classic_series((4, 40, 48)))
    request = OutcomeRequest(
        images=tuple(sorted((kept.folder / "images").iterdir())),
        role="role",
        text="No AI result: not processed (missing_slices: 2 are missing).",
        series_description="not processed",
        algorithm=("Brain", "1.0"),
        device_uid="2.25.7",
        node_name="radnode",
        ae_title="RADNODE",
        institution_name="",
        software_version="1",
        content_time=AT,
        out_dir=folder,
    )
    (made,) = compose(json.loads(request.to_json()))
    return folder / made.path


def with_predecessor(folder: Path) -> Path:
    """A report that replaces an older one."""
    kept_result(folder, classic_series((4, 40, 48)))
    out = folder / "out"
    out.mkdir()
    older = Predecessor("1.2.840.10008.5.1.4.1.1.88.34", "2.25.77", "2.25.78")
    revision = Revision(1, (("AccessionNumber", "A2"),), (older,))
    request = RevisionRequest((folder / "seg.dcm", folder / "sr.dcm"), revision, out)
    *_, report = compose(json.loads(request.to_json()))
    return out / report.path


def rejection_note(folder: Path) -> Path:
    """A note that rejects a result."""
    kept_result(folder, classic_series((4, 40, 48)))
    objects = [dcmread(folder / name) for name in ("seg.dcm", "sr.dcm")]
    rejected = tuple(
        Rejected(
            str(item.SOPClassUID),
            str(item.SOPInstanceUID),
            str(item.SeriesInstanceUID),
            is_image=item.Modality == "SEG",
        )
        for item in objects
    )
    (note,) = compose(
        json.loads(NoteRequest(folder / "sr.dcm", rejected, "quality", AT, folder).to_json())
    )
    return folder / note.path


def faulty(folder: Path) -> Path:
    """A report whose groups do not say what was measured."""
    made = made_result(*CASES["two segments"], folder)
    report = dcmread(made.report)
    (container,) = (
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == IMAGING_MEASUREMENTS
    )
    for group in container.ContentSequence:
        kept = [item for item in group.ContentSequence if item.ValueType != "IMAGE"]
        group.ContentSequence = kept
    report.save_as(made.report)
    return made.report


SOUND: Mapping[str, Callable[[Path], Path]] = {
    "split": split,
    "classes": of_classes,
    "uncertain": of_the_uncertain,
    "no result": of_no_result,
    "revised": with_predecessor,
    "rejection note": rejection_note,
}
