"""The report page and the captured images before an independent judge: dicom3tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.peers.dicom_checkers import dcentvfy, dciodvfy
from tests.unit.pipelines_objects.page_requests import made_pages
from tests.unit.pipelines_objects.result_requests import label_map
from tests.unit.pipelines_objects.synthetic_series import classic_series, enhanced_series

NONE = np.zeros_like(label_map())


def japanese(header: Dataset, index: int) -> None:
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header.StudyDescription = "head"
    header.ReferringPhysicianName = ""


def lossy(header: Dataset, index: int) -> None:
    header.LossyImageCompression = "01"
    header.LossyImageCompressionRatio = "8"
    header.LossyImageCompressionMethod = "ISO_10918_1"


def bare(header: Dataset, index: int) -> None:
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
        delattr(header, keyword)


CASES: dict[str, tuple[SourceSeries, NDArray[np.uint8]]] = {
    "findings": (classic_series(), label_map()),
    "none": (classic_series(), NONE),
    "enhanced": (enhanced_series(), label_map()),
    "japanese name": (classic_series(edit=japanese), NONE),
    "bare headers": (classic_series(edit=bare), NONE),
    "lossy": (classic_series(edit=lossy), NONE),
}


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("name", list(CASES))
def test_dciodvfy_has_nothing_to_say_about_the_pages(tmp_path: Path, name: str) -> None:
    source, labels = CASES[name]
    made = made_pages(tmp_path, source, labels)
    write_object(made.pdf_object(), tmp_path / "report.dcm")
    write_object(made.captured(), tmp_path / "capture.dcm")
    assert dciodvfy(tmp_path / "report.dcm") == ()
    assert dciodvfy(tmp_path / "capture.dcm") == ()


@pytest.mark.peer("dicom3tools")
def test_the_pages_agree_with_their_images_on_patient_and_study(tmp_path: Path) -> None:
    def ascii_only(header: Dataset, index: int) -> None:
        header.PatientName = "Gruen^Zoe"
        header.StudyDescription = "head"
        header.ReferringPhysicianName = "Weiss^Aenne"

    made = made_pages(tmp_path, classic_series(edit=ascii_only), NONE)
    write_object(made.pdf_object(), tmp_path / "report.dcm")
    write_object(made.captured(), tmp_path / "capture.dcm")
    images = sorted((tmp_path / "images").iterdir())
    assert dcentvfy([*images, tmp_path / "report.dcm", tmp_path / "capture.dcm"]) == ()
