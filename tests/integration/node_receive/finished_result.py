"""A finished job whose results are kept files."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import PurePosixPath

from pydicom import dcmread

from storage.job_inputs import InputInstance, JobInput
from storage.records import FinishedJob, ObjectKind, ResultObject
from tests.unit.fhir.finished_jobs import with_findings
from tests.unit.pipelines_objects.kept_result import Kept

FILES = {
    ObjectKind.SEG: "seg.dcm",
    ObjectKind.SR: "sr.dcm",
    ObjectKind.PDF: "report.dcm",
    ObjectKind.SC: "capture.dcm",
    ObjectKind.KOS: "key_objects.dcm",
    ObjectKind.PR: "presentation.dcm",
    ObjectKind.HEAT: "heat-01.dcm",
    ObjectKind.PM: "map-01.dcm",
}


def finished_of(kept: Kept) -> FinishedJob:
    """A job whose results are the files that are there."""

    def made(kind: ObjectKind, name: str) -> ResultObject:
        dataset = dcmread(kept.folder / name)
        content = (kept.folder / name).read_bytes()
        return ResultObject(
            kind=kind,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            series_number=int(dataset.SeriesNumber),
            series_description=str(dataset.SeriesDescription),
            path=PurePosixPath(name),
            size_bytes=len(content),
            sha256=sha256(content).hexdigest(),
        )

    finished = with_findings()
    images = sorted((kept.folder / "images").iterdir())
    instances = tuple(
        InputInstance("", PurePosixPath("images") / image.name, "") for image in images
    )
    job = replace(finished.job, inputs=(JobInput("image", "", "", instances),))
    there = (kind for kind, name in FILES.items() if (kept.folder / name).exists())
    return replace(finished, job=job, objects=tuple(made(kind, FILES[kind]) for kind in there))
