"""The studies of the demo: real images, fictional names, and what must become of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from pydicom import Dataset

from node.demo.archive import Archive
from node.demo.grid import as_slices
from node.demo.nifti import read_nifti
from node.demo.wrap import WrappedStudy, wrap

DATA_DIR = Path(str(files("node.demo"))) / "data"

FINDINGS = "findings"
NO_PIPELINE_MATCHES = "no_pipeline_matches"
MISSING_SLICES = "missing_slices"


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """One study in the archive of the PACS stand-in; `number` is its row in the tables.

    `expected` is the outcome, or the code of the refusal, that the demo insists on. `truth` is
    a label map drawn by people, as a NIfTI file, where there is one.
    """

    number: int
    key: str
    title: str
    study_instance_uid: str
    expected: str
    truth: Path | None = None

    @property
    def folder_name(self) -> str:
        """Name of the folder for its results."""
        return f"{self.number}-{self.key}"


def fill(archive: Archive) -> tuple[DemoStudy, ...]:
    """Put every study of the demo into the archive and say what is to become of it."""
    cases = sorted((DATA_DIR / "hippocampus" / "images").glob("*.nii.gz"))
    studies = [
        DemoStudy(1, "brain-mr", "Brain MR, 5 series", _keep_files(archive, "pgbm"), FINDINGS)
    ]
    for number, path in enumerate(cases, start=2):
        studies.append(_held_out_case(archive, number, path))
    number = len(studies) + 1
    chest = _keep_files(archive, "chest_ct")
    studies.append(DemoStudy(number, "chest-ct", "Chest CT, one image", chest, NO_PIPELINE_MATCHES))
    studies.append(_broken_case(archive, number + 1, cases[0]))
    return tuple(studies)


def _keep_files(archive: Archive, folder: str) -> str:
    held = [archive.keep(path.read_bytes()) for path in sorted((DATA_DIR / folder).rglob("*.dcm"))]
    return held[0].study_instance_uid


def _held_out_case(archive: Archive, number: int, path: Path) -> DemoStudy:
    case = _case_number(path)
    study = _fictional(f"hippocampus {case}", case)
    for image in _wrapped(path, study):
        archive.keep(_encoded(image))
    return DemoStudy(
        number,
        f"hippocampus-{case}",
        f"Hippocampus MR {case}",
        study.study_instance_uid,
        FINDINGS,
        truth=path.parents[1] / "labels" / path.name,
    )


def _broken_case(archive: Archive, number: int, path: Path) -> DemoStudy:
    case = _case_number(path)
    study = _fictional(f"hippocampus {case} with a gap", f"{case}G")
    images = list(_wrapped(path, study))
    del images[len(images) // 2]
    for image in images:
        archive.keep(_encoded(image))
    title = f"Hippocampus MR {case}, a slice missing"
    uid = study.study_instance_uid
    return DemoStudy(number, f"hippocampus-{case}-gap", title, uid, MISSING_SLICES)


def _wrapped(path: Path, study: WrappedStudy) -> Iterator[Dataset]:
    yield from wrap(as_slices(read_nifti(path)), study)


def _fictional(key: str, case: str) -> WrappedStudy:
    return WrappedStudy(key, f"DEMO^HIPPOCAMPUS {case}", f"DEMO-{case}", f"DEMO{case}", "MR brain")


def _case_number(path: Path) -> str:
    return path.name.removesuffix(".nii.gz").rpartition("_")[2]


def _encoded(image: Dataset) -> bytes:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
