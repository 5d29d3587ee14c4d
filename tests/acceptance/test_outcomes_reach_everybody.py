"""What becomes of studies in one program: analysed, analysed anew, refused, failed, unwanted.

PACS, EHR, RIS and folder are each told of every one of these ends, and of what is no longer true.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hl7
import pytest
from pydicom import Dataset, dcmread

from pipelines.registry import SHIPPED_BUNDLES, SHIPPED_DEFINITIONS
from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import accept_model, site
from tests.acceptance.small_study import (
    PATIENT_ID,
    PATIENT_TEXTS,
    SmallStudy,
    write_small_study,
)
from tests.peers.fhir_server import FhirServer, Json
from tests.peers.mllp import Hl7Receiver

pytestmark = [pytest.mark.peer("fhir_server"), pytest.mark.timeout(400)]

PATIENT_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": PATIENT_SYSTEM, "value": PATIENT_ID}],
    "name": [{"family": "Quagmyre"}],
    "birthDate": "1943-09-17",
}
EVERYTHING = ["findings", "no_findings", "not_processed", "failed", "no_pipeline"]
BREAKS = "$lambda image: (_ for _ in ()).throw(ValueError('it breaks'))"
WHERE = "'(?i)h(ip(po(campus)?)?)?[ _-]?crop|hippocamp'"


@dataclass(frozen=True)
class Told:
    """What the four receivers have in the end, and what the program said."""

    studies: dict[str, SmallStudy]
    instances: list[Dataset]
    reports: list[Json]
    observations: list[Json]
    messages: list[str]
    files: list[Json]
    status: list[dict[str, Any]]
    output: str

    def instances_on(self, name: str) -> list[Dataset]:
        """What the PACS has got about one study."""
        uid = self.studies[name].study_instance_uid
        return [one for one in self.instances if uid == one.StudyInstanceUID]

    def reports_on(self, name: str) -> list[Json]:
        """The EHR's reports on one study, in the order of their statuses."""
        uid = f"urn:oid:{self.studies[name].study_instance_uid}"
        found = [one for one in self.reports if uid in json.dumps(one["imagingStudy"])]
        return sorted(found, key=lambda one: str(one["status"]))

    def messages_on(self, name: str) -> list[Any]:
        """The RIS's messages about one study, as they came."""
        uid = self.studies[name].study_instance_uid
        return [hl7.parse(one) for one in self.messages if uid in one]

    def files_on(self, name: str) -> list[str]:
        """The statuses of the folder's reports on one study."""
        uid = f"urn:oid:{self.studies[name].study_instance_uid}"
        resources = [[e["resource"] for e in one["entry"]] for one in self.files]
        of_study = [found for found in resources if uid in json.dumps(found)]
        (statuses,) = zip(*(_statuses(found) for found in of_study), strict=True)
        return sorted(statuses)


def _statuses(resources: list[Json]) -> tuple[str]:
    (report,) = (each for each in resources if each["resourceType"] == "DiagnosticReport")
    return (str(report["status"]),)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder, pacs = tmp_path_factory.mktemp("outcomes"), PacsStandIn()
    studies = _studies(folder)
    with FhirServer() as ehr, Hl7Receiver() as ris:
        ehr.reset([PATIENT])
        with pacs.up(), RadnodeProcess(folder, _settings(folder, pacs, ehr, ris)) as node:
            *first, late = studies["late slice"].paths
            _send(node, [*first, *studies["refused"].paths, *studies["failed"].paths])
            _send(node, studies["unwanted"].paths)
            node.wait_until_shown(lambda: _settled(node, 4), what="the first four", timeout_s=200)
            _send(node, [late])
            node.wait_until_shown(lambda: _settled(node, 5), what="the second result", timeout_s=90)
            yield Told(
                studies,
                list(pacs.datasets.values()),
                ehr.all("DiagnosticReport"),
                ehr.all("Observation"),
                list(ris.taken),
                [json.loads(one.read_text()) for one in (folder / "ehr").glob("report-*.json")],
                node.studies(),
                node.output(),
            )


def _settings(folder: Path, pacs: PacsStandIn, ehr: FhirServer, ris: Hl7Receiver) -> dict[str, Any]:
    settings = site(folder, pacs, pipelines=_pipelines(folder))
    settings["worker"] |= {"max_attempts": 1}
    to_pacs, to_folder = settings["destinations"]
    retry = to_pacs["retry"]
    to_pacs |= {"confirm": "none", "outcomes": EVERYTHING, "superseded": "rejection_note"}
    to_folder["outcomes"] = EVERYTHING
    settings["destinations"] += [
        {
            "type": "fhir",
            "name": "fhir",
            "base_url": ehr.base_url,
            "patient_systems": [{"system": PATIENT_SYSTEM}],
            "outcomes": EVERYTHING,
            "retry": retry,
        },
        {
            "type": "hl7",
            "name": "ris",
            "host": "127.0.0.1",
            "port": ris.port,
            "outcomes": EVERYTHING,
            "retry": retry,
        },
    ]
    return settings


def _pipelines(folder: Path) -> dict[str, Any]:
    """The shipped pipeline, and one for other descriptions whose model breaks."""
    bundles, definitions = folder / "bundles", folder / "definitions"
    shutil.copytree(SHIPPED_BUNDLES, bundles)
    shutil.copytree(bundles / "hippocampus_mr", bundles / "breaking")
    path = bundles / "breaking" / "configs" / "inference.json"
    config = json.loads(path.read_text())
    step = {"_target_": "Lambdad", "keys": "image", "func": BREAKS}
    config["preprocessing"]["transforms"].append(step)
    path.write_text(json.dumps(config))
    accept_model(folder / "data", bundles / "breaking")
    definitions.mkdir()
    text = (SHIPPED_DEFINITIONS / "hippocampus_mr.yaml").read_text()
    (definitions / "hippocampus_mr.yaml").write_text(text)
    for old, new in (
        ("name: hippocampus_mr", "name: breaking"),
        ("bundle: hippocampus_mr", "bundle: breaking"),
        (WHERE, "breaks"),
    ):
        assert old in text
        text = text.replace(old, new)
    (definitions / "breaking.yaml").write_text(text)
    return {
        "enabled": ["hippocampus_mr", "breaking"],
        "bundles_dir": str(bundles),
        "definitions_dir": str(definitions),
    }


def _studies(folder: Path) -> dict[str, SmallStudy]:
    names = ("late slice", "refused", "failed", "unwanted")
    made = {
        name: write_small_study(folder / name, number=number) for number, name in enumerate(names)
    }
    _edit(made["refused"], _shift_of_one_slice)
    _edit(made["failed"], lambda header, _: setattr(header, "SeriesDescription", "breaks"))
    _edit(made["unwanted"], lambda header, _: setattr(header, "SeriesDescription", "localizer"))
    return made


def _shift_of_one_slice(header: Dataset, index: int) -> None:
    if index > 20:
        header.ImagePositionPatient[2] += 0.5


def _edit(study: SmallStudy, edit: Callable[[Dataset, int], None]) -> None:
    for index, path in enumerate(study.paths):
        dataset = dcmread(path)
        edit(dataset, index)
        dataset.save_as(path, enforce_file_format=True)


def _send(node: RadnodeProcess, paths: Any) -> None:
    with association_to_node(node.port) as association:
        assert len(send(association, paths)) == len(paths)


def _settled(node: RadnodeProcess, ends: int) -> bool:
    """Whether so many jobs have ended, and nothing is left to be delivered or withdrawn."""
    jobs = [job for study in node.studies() for job in study["jobs"]]
    over = [job for job in jobs if job["state"] not in ("queued", "running")]
    left = [
        one
        for job in jobs
        for one in job["deliveries"]
        if one["state"] not in ("sent", "confirmed")
    ]
    return len(over) == len(jobs) == ends and not left


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refused", "uneven_spacing"),
        ("failed", "inference_failed"),
        ("unwanted", "no_pipeline_matches"),
    ],
)
def test_what_has_no_result_is_told_with_its_reason_to_all(
    told: Told, name: str, reason: str
) -> None:
    (report,) = told.reports_on(name)
    assert report["status"] == "cancelled"
    coded = [each["code"] for one in report["conclusionCode"] for each in one.get("coding", [])]
    assert reason in coded
    (message,) = told.messages_on(name)
    assert str(message.segment("OBR")[25]) == "X"
    assert reason in str(message)
    assert told.files_on(name) == ["cancelled"]
    (instance,) = told.instances_on(name)
    assert instance.Modality == "SR"
    texts = [str(each.value) for each in instance.iterall() if each.keyword == "TextValue"]
    assert any(reason in text for text in texts)


def test_a_result_that_a_late_slice_replaces_is_withdrawn_everywhere(told: Told) -> None:
    old, new = told.reports_on("late slice")
    assert (old["status"], new["status"]) == ("entered-in-error", "preliminary")
    statuses = {
        status: {f"Observation/{one['id']}" for one in told.observations if one["status"] == status}
        for status in ("entered-in-error", "preliminary")
    }
    for report in (old, new):
        assert {each["reference"] for each in report["result"]} == statuses[report["status"]]
    assert told.files_on("late slice") == ["entered-in-error", "preliminary"]
    instances = told.instances_on("late slice")
    assert sorted(one.Modality for one in instances) == ["KO", "SEG", "SEG", "SR", "SR"]
    (note,) = (one for one in instances if one.Modality == "KO")
    assert note.ContentDate >= min(one.ContentDate for one in instances)


def test_the_ris_hears_of_the_withdrawal_before_the_new_result(told: Told) -> None:
    first, withdrawal, second = told.messages_on("late slice")
    results = [
        {str(segment[11]) for segment in message.segments("OBX")}
        for message in (first, withdrawal, second)
    ]
    assert results == [{"P"}, {"W"}, {"P"}]
    orders = {str(message.segment("OBR")[3]) for message in (first, withdrawal, second)}
    assert len(orders) == 1


def test_the_program_shows_each_end_and_tells_no_patient(told: Told) -> None:
    states = {
        study["study_instance_uid"]: [job["state"] for job in study["jobs"]]
        for study in told.status
    }
    expected = {
        "late slice": ["superseded", "succeeded"],
        "refused": ["refused"],
        "failed": ["failed"],
        "unwanted": ["refused"],
    }
    assert {
        name: sorted(states[study.study_instance_uid]) for name, study in told.studies.items()
    } == {name: sorted(ends) for name, ends in expected.items()}
    assert [text for text in PATIENT_TEXTS if text in told.output] == []
