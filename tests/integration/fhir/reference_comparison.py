"""Makes docs/reference_comparison.md: a liver SR told in FHIR by its authors, and by us.

`python -m tests.integration.fhir.reference_comparison > docs/reference_comparison.md`
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from pydicom import dcmread
from pydicom.dataset import Dataset

from config.settings import FhirContent, PatientSystem
from fhir.bundle import build_bundle, bundle_json
from fhir.references import References, literal
from storage.dicom_records import CodedConcept, PatientIdentity, SeriesHeader
from storage.records import FinishedJob
from tests.integration.fhir.ehr import ACCESSION_SYSTEM, PATIENT_SYSTEM
from tests.integration.fhir.reference_items import ROWS, Json, observation, resource, value
from tests.peers.real_images import FOLDER
from tests.unit.fhir.finished_jobs import FINISHED_AT, measurement, of_study, with_findings

_LIVER = FOLDER / "ref_tid1500_fhir" / "rsna2018_dataset1"
_HEAD = """\
# One liver report, told in FHIR twice

The reference is the SR of DICOM4QI's liver example with the Bundle that its authors expect of it
(tid1500-fhir, BSD-3-Clause, written for STU3). Ours is what this node writes about the same
patient, study, segment and volume. The table is made by
`python -m tests.integration.fhir.reference_comparison > docs/reference_comparison.md`, and a test
makes it again and compares.

| item | theirs | ours | why |
|---|---|---|---|
"""
_NEVER_MADE = "none"


def theirs() -> Json:
    """The expected Bundle."""
    bundle: Json = json.loads((_LIVER / "expected.json").read_text())
    return bundle


def report() -> Dataset:
    """The SR that both tell."""
    return dcmread(_LIVER / "sr-tid1500-ct-liver-example.dcm")


def same_job() -> FinishedJob:
    """A job of ours that found what the SR tells."""
    told, volume_mm3 = report(), value(observation(theirs(), "Volume"))
    liver = replace(
        measurement("Liver", value=volume_mm3 / 1000),
        category=CodedConcept("91723000", "SCT", "Anatomical Structure"),
        property_type=CodedConcept("10200004", "SCT", "Liver"),
        type_modifier=None,
    )
    job = of_study(
        replace(with_findings(), measurements=(liver,)),
        study_instance_uid=str(told.StudyInstanceUID),
        study_date=str(told.StudyDate),
        study_time=str(told.StudyTime),
        timezone_offset="+0000",
        accession_number=str(told.AccessionNumber),
        patient=PatientIdentity(
            str(told.PatientID), "HOSPITAL", str(told.PatientName), "", str(told.PatientSex)
        ),
    )
    (images,) = resource(theirs(), "ImagingStudy")["series"]
    header = SeriesHeader(images["uid"], "CT", 1, "CT")
    series = replace(job.series[0], header=header, instance_count=len(images["instance"]))
    return replace(job, series=(series,))


def ours() -> Json:
    """What is written about it, where the EHR knows patient and order and not the study."""
    content = FhirContent(
        patient_systems=(PatientSystem(issuer="HOSPITAL", system=PATIENT_SYSTEM),),
        accession_system=ACCESSION_SYSTEM,
        imaging_study="create",
    )
    job = same_job()
    bundle = build_bundle(
        job,
        content=content,
        organization_name="Radiology",
        timezone="UTC",
        references=References(literal("Patient", "1"), literal("ServiceRequest", "2"), None),
        issued=FINISHED_AT,
    )
    told: Json = json.loads(bundle_json(bundle))
    return told


def page() -> str:
    """The whole page."""
    them, us = theirs(), ours()
    lines = [_row(item, pick(them), pick(us), why) for item, pick, why in ROWS]
    return _HEAD + "\n".join(lines) + "\n"


def _row(item: str, their: object, our: object, why: str) -> str:
    cells = (item, str(their) or _NEVER_MADE, str(our) or _NEVER_MADE, why)
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(page())
