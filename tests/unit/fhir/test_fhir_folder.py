from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.settings import FolderDestination, PatientSystem
from fhir.errors import TransientFhirError
from fhir.folder import deliver_to_folder
from storage.dicom_records import PatientIdentity
from storage.records import FinishedJob
from tests.unit.fhir.finished_jobs import (
    FINISHED_AT,
    PATIENT,
    measurement,
    of_patient,
    with_findings,
    without_findings,
    without_result,
)

SYSTEMS = (PatientSystem(issuer="HOSPITAL", system="urn:oid:1.2.3"),)


def delivered(finished: FinishedJob, folder: Path, **settings: Any) -> dict[str, Any]:
    destination = FolderDestination(type="folder", name="folder", folder=folder, **settings)
    receipt = deliver_to_folder(finished, destination, "Radiology", "Europe/Berlin")
    bundle: dict[str, Any] = json.loads((folder / receipt["file"]).read_text("utf-8"))
    return bundle


def report_of(bundle: dict[str, Any]) -> dict[str, Any]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    (report,) = [each for each in resources if each["resourceType"] == "DiagnosticReport"]
    found: dict[str, Any] = report
    return found


def test_a_repeat_writes_the_same_bytes_to_the_same_file(tmp_path: Path) -> None:
    delivered(with_findings(), tmp_path)
    (first,) = tmp_path.iterdir()
    before = first.read_bytes()
    delivered(with_findings(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert first.read_bytes() == before


def test_a_pdf_that_is_too_large_stays_away_and_the_receipt_says_so(tmp_path: Path) -> None:
    finished = replace(with_findings(), report_pdf=b"%PDF-".ljust(800_000))
    destination = FolderDestination(type="folder", name="folder", folder=tmp_path)
    receipt = deliver_to_folder(finished, destination, "Radiology", "UTC")
    assert receipt["left_out"].startswith("PDF: 1066668 characters")
    (written,) = tmp_path.iterdir()
    assert "presentedForm" not in report_of(json.loads(written.read_text("utf-8")))


def test_the_patient_is_named_by_identifier_alone(tmp_path: Path) -> None:
    report = report_of(delivered(with_findings(), tmp_path, patient_systems=SYSTEMS))
    identifier = {"system": "urn:oid:1.2.3", "value": "MRN-4711"}
    assert report["subject"] == {"type": "Patient", "identifier": identifier}


def test_an_issuer_that_is_not_listed_has_no_system_not_even_the_default(tmp_path: Path) -> None:
    default = (*SYSTEMS, PatientSystem(issuer="", system="urn:oid:9.9"))
    other = of_patient(PatientIdentity(patient_id="5", issuer_of_patient_id="ELSEWHERE"))
    report = report_of(delivered(other, tmp_path, patient_systems=default))
    assert report["subject"]["identifier"] == {"value": "5"}


def test_a_study_without_issuer_uses_the_default_system(tmp_path: Path) -> None:
    default = (*SYSTEMS, PatientSystem(issuer="", system="urn:oid:9.9"))
    report = report_of(
        delivered(of_patient(PatientIdentity(patient_id="5")), tmp_path, patient_systems=default)
    )
    assert report["subject"]["identifier"]["system"] == "urn:oid:9.9"


def test_without_a_system_the_patient_id_stands_alone(tmp_path: Path) -> None:
    report = report_of(delivered(with_findings(), tmp_path))
    assert report["subject"] == {"type": "Patient", "identifier": {"value": "MRN-4711"}}


def test_a_study_without_patient_id_is_delivered_all_the_same(tmp_path: Path) -> None:
    report = report_of(delivered(of_patient(PatientIdentity()), tmp_path))
    assert report["subject"] == {"type": "Patient"}


def test_file_names_hold_no_patient_data(tmp_path: Path) -> None:
    delivered(with_findings(), tmp_path, patient_systems=SYSTEMS)
    (name,) = [path.name for path in tmp_path.iterdir()]
    for private in (PATIENT.patient_id, "ACC-0815", with_findings().job.study_instance_uid):
        assert private not in name


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    assert delivered(without_findings(), tmp_path / "new" / "folder")["type"] == "transaction"


def test_a_folder_that_cannot_be_written_to_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransientFhirError, match="folder"):
        delivered(with_findings(), tmp_path / "file")


def test_a_withdrawal_takes_the_place_of_the_file_as_an_update(tmp_path: Path) -> None:
    done = with_findings()
    delivered(done, tmp_path)
    bundle = delivered(replace(done, withdrawn_at=FINISHED_AT + timedelta(hours=2)), tmp_path)

    assert len(list(tmp_path.iterdir())) == 1
    assert report_of(bundle)["status"] == "entered-in-error"
    kinds = ("DiagnosticReport", "Observation")
    told = [each for each in bundle["entry"] if each["resource"]["resourceType"] in kinds]
    assert {each["resource"]["status"] for each in told} == {"entered-in-error"}
    assert {each["request"]["method"] for each in told} == {"PUT"}
    assert all("?identifier=" in each["request"]["url"] for each in told)


def test_a_success_after_a_failure_is_written_as_an_update_and_repeats_itself(
    tmp_path: Path,
) -> None:
    delivered(without_result(), tmp_path)
    first = delivered(with_findings(), tmp_path)
    again = delivered(with_findings(), tmp_path)

    assert report_of(first)["status"] == "preliminary"
    assert first == again
    methods = [each["request"]["method"] for each in first["entry"]]
    assert methods == ["POST", "PUT", "PUT", "PUT", "PUT"]


def of_many_structures() -> FinishedJob:
    found = tuple(measurement(f"Structure {each}", each) for each in range(1, 86))
    return replace(with_findings(), measurements=found)


def test_a_large_report_is_several_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    destination = FolderDestination(type="folder", name="f", folder=tmp_path, most_entries=8)
    receipt = deliver_to_folder(of_many_structures(), destination, "Radiology", "UTC")

    names = receipt["file"].split()
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert [name.partition("-of-")[0][-3:] for name in names] == [
        f"-{number:02}" for number in range(1, 13)
    ]
    bundles = [json.loads((tmp_path / name).read_text("utf-8")) for name in names]
    assert [len(each["entry"]) for each in bundles] == [8] * 10 + [6, 2]
    known: set[str] = set()
    for bundle in bundles:
        known |= {_condition(entry) for entry in bundle["entry"]}
        own = {entry["fullUrl"] for entry in bundle["entry"]}
        for reference in _references(bundle):
            # Only what stands beside it, or was posted before.
            assert reference in own or reference in known


def _condition(entry: dict[str, Any]) -> str:
    request = entry["request"]
    return f"{request['url']}?{request.get('ifNoneExist')}"


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        yield from _references(list(value.values()))


def test_a_report_that_grows_or_shrinks_leaves_no_file_of_its_former_end(tmp_path: Path) -> None:
    destination = FolderDestination(type="folder", name="f", folder=tmp_path, most_entries=3)

    def written(finished: FinishedJob) -> list[str]:
        receipt = deliver_to_folder(finished, destination, "Radiology", "UTC")
        assert receipt["file"].split() == sorted(path.name for path in tmp_path.iterdir())
        bundles = [json.loads((tmp_path / name).read_text()) for name in receipt["file"].split()]
        return [each["request"]["method"] for told in bundles for each in told["entry"]]

    assert written(without_result()) == ["POST", "PUT"]
    assert written(with_findings()) == ["POST", "PUT", "PUT", "PUT", "PUT"]
    assert len(list(tmp_path.iterdir())) == 2
    again = {path: path.read_bytes() for path in tmp_path.iterdir()}
    written(with_findings())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == again
    assert written(without_result()) == ["PUT", "PUT"]
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_were_cut_short_are_written_again_as_they_were(tmp_path: Path) -> None:
    destination = FolderDestination(type="folder", name="f", folder=tmp_path, most_entries=3)
    first = deliver_to_folder(with_findings(), destination, "Radiology", "UTC")
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / first["file"].split()[-1]).unlink()
    deliver_to_folder(with_findings(), destination, "Radiology", "UTC")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
