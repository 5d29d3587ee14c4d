"""Whose page goes with a report: only one that names the same patient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from node.report_pdf import with_pdf
from storage.instance_files import InstanceFiles
from storage.records import ObjectKind
from tests.unit.fhir.finished_jobs import PATIENT, of_patient, with_findings


@pytest.mark.parametrize(
    ("of_page", "of_study", "is_told"),
    [
        ("1-23", "1-23", True),
        ("1-23", " 1-23 ", True),
        ("1-23", "12-3", False),
        ("4711", "4712", False),
        ("M?ller 7", "Müller 7", True),
    ],
)
def test_a_page_goes_with_a_report_of_its_own_patient(
    tmp_path: Path, of_page: str, of_study: str, is_told: bool
) -> None:
    page = Dataset()
    page.file_meta = FileMetaDataset()
    page.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    page.SOPClassUID, page.SOPInstanceUID = EncapsulatedPDFStorage, "1.2.3"
    page.file_meta.MediaStorageSOPClassUID = page.SOPClassUID
    page.file_meta.MediaStorageSOPInstanceUID = page.SOPInstanceUID
    page.PatientID, page.EncapsulatedDocument = of_page, b"%PDF"
    page.EncapsulatedDocumentLength = 4
    finished = of_patient(replace(PATIENT, patient_id=of_study), with_findings())
    (first, *_) = finished.objects
    made = replace(
        finished, objects=(replace(first, kind=ObjectKind.PDF, path=PurePosixPath("page.dcm")),)
    )
    page.save_as(tmp_path / "page.dcm", enforce_file_format=True)

    assert (with_pdf(made, InstanceFiles(tmp_path)).report_pdf == b"%PDF") is is_told
