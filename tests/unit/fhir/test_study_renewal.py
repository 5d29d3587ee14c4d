from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy

from fhir.bundle import build_bundle, bundle_json
from fhir.identifiers import study_identifier
from fhir.references import References, literal
from fhir.study_renewal import is_own_study, with_renewed_study, without_withdrawn_objects
from storage.records import FinishedJob
from tests.unit.fhir.finished_jobs import FINISHED_AT, STUDY_UID, of_study, with_findings
from tests.unit.fhir.told_bundles import CONTENT, CREATING, as_json, only, told

Json = dict[str, Any]


def created(finished: FinishedJob | None = None) -> Json:
    """Our ImagingStudy, as a server holds it."""
    study = as_json(only(told(finished or with_findings(), CREATING), ImagingStudy))
    return {**study, "id": "7", "meta": {"versionId": "3", "lastUpdated": "2025-03-04T10:00:00Z"}}


def with_more_images() -> FinishedJob:
    finished = with_findings()
    return replace(finished, series=(replace(finished.series[0], instance_count=40),))


def renewed(finished: FinishedJob, known: Json) -> list[Json]:
    """The entries of a Bundle for a server that has `known`."""
    bundle = build_bundle(
        finished,
        content=CREATING,
        organization_name="Radiology",
        timezone="UTC",
        references=References(
            literal("Patient", "1"), None, literal("ImagingStudy", "7"), own_study=known
        ),
        issued=FINISHED_AT,
    )
    return with_renewed_study(json.loads(bundle_json(bundle))["entry"], known)


def studies(entries: list[Json]) -> list[Json]:
    return [each for each in entries if each["resource"]["resourceType"] == "ImagingStudy"]


def test_every_job_of_a_study_marks_it_alike_and_another_study_or_system_not() -> None:
    own = study_identifier(STUDY_UID, "urn:a")
    assert own == study_identifier(STUDY_UID, "urn:a")
    assert own.value != study_identifier(f"{STUDY_UID}.1", "urn:a").value
    assert own.system != study_identifier(STUDY_UID, "urn:b").system
    assert STUDY_UID not in str(own.value)


def test_a_study_is_created_by_its_uid_and_marked_as_ours_beside() -> None:
    identifiers = created()["identifier"]
    assert identifiers[0] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}
    assert identifiers[-1]["system"] == "urn:radnode:result"
    assert len(identifiers) == 3


def test_what_is_created_is_known_as_ours() -> None:
    assert is_own_study(created(), with_findings(), CREATING)
    assert not is_own_study(created(), with_findings(), CONTENT)
    assert not is_own_study(created(), of_study(with_findings(), study_instance_uid="1"), CREATING)


def test_news_are_an_update_of_the_version_that_was_read() -> None:
    (entry,) = studies(renewed(with_more_images(), created()))
    assert entry["request"] == {"method": "PUT", "url": "ImagingStudy/7", "ifMatch": 'W/"3"'}
    assert entry["resource"]["numberOfInstances"] == 42
    assert entry["resource"]["identifier"] == created()["identifier"]
    assert "meta" not in entry["resource"]


def test_a_server_without_versions_is_not_asked_for_one() -> None:
    known = {name: value for name, value in created().items() if name != "meta"}
    (entry,) = studies(renewed(with_more_images(), known))
    assert entry["request"] == {"method": "PUT", "url": "ImagingStudy/7"}


@pytest.mark.parametrize(
    "changes",
    [{}, {"started": "2025-03-04T09:15:30Z"}, {"text": {"status": "generated", "div": "<div/>"}}],
    ids=["the same", "another spelling of the time", "with a page"],
)
def test_a_study_that_lists_the_same_is_not_written_again(changes: Json) -> None:
    entries = renewed(with_findings(), created() | changes)
    assert studies(entries) == []
    assert len(entries) == 5


class Holding:
    """A server that has one resource."""

    def __init__(self, resource: Json) -> None:
        self._resource = resource

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> Json:
        entry = {"resource": self._resource}
        return {"resourceType": "Bundle", "type": "searchset", "entry": [entry]}


def test_no_count_falls_below_what_is_listed_where_a_server_keeps_none() -> None:
    known = created()
    for each in known["series"]:
        each.pop("numberOfInstances")
        if "instance" in each:
            each["instance"].append({**each["instance"][0], "uid": "1.2.3"})
    entry = without_withdrawn_objects(Holding(known), with_findings(), CREATING)
    assert entry is not None
    counts = [each.get("numberOfInstances") for each in entry["resource"]["series"]]
    assert counts == [None, 1, 1]
    assert entry["resource"]["numberOfInstances"] == 2


def test_the_report_refers_to_our_study_by_its_id() -> None:
    entries = renewed(with_more_images(), created())
    told_in = [each["resource"] for each in entries if "imagingStudy" in each["resource"]]
    assert told_in[0]["imagingStudy"][0]["reference"] == "ImagingStudy/7"
