from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from config.settings import Destination, DicomDestination, FhirDestination, FolderDestination
from node.delivery_plan import planned_deliveries
from storage.records import DestinationKind, JobState, NewDelivery, Outcome
from tests.unit.fhir.finished_jobs import FINISHED_AT as NOW
from tests.unit.fhir.finished_jobs import with_findings

PACS = DicomDestination(type="dicom", name="pacs", host="pacs", port=104, ae_title="PACS")
EHR = FhirDestination(type="fhir", name="ehr", base_url="https://ehr", wait_for_dicom_s=120)
FOLDER = FolderDestination(type="folder", name="folder", wait_for_dicom_s=60)
ALL: tuple[Destination, ...] = (PACS, EHR, FOLDER)
JOB = with_findings().job


def test_a_job_that_names_no_destination_goes_to_all_with_dicom_first() -> None:
    planned = planned_deliveries(replace(JOB, destinations=()), ALL, now=NOW)

    assert planned == (
        NewDelivery("pacs", DestinationKind.DICOM, NOW),
        NewDelivery("ehr", DestinationKind.FHIR, NOW + timedelta(seconds=120)),
        NewDelivery("folder", DestinationKind.FOLDER, NOW + timedelta(seconds=60)),
    )


def test_a_job_goes_to_the_destinations_it_names_only() -> None:
    planned = planned_deliveries(replace(JOB, destinations=("pacs",)), ALL, now=NOW)

    assert [delivery.destination for delivery in planned] == ["pacs"]


def test_a_report_waits_for_no_dicom_when_there_is_none() -> None:
    planned = planned_deliveries(replace(JOB, destinations=("ehr",)), ALL, now=NOW)

    assert planned == (NewDelivery("ehr", DestinationKind.FHIR, NOW),)


def test_a_node_without_destinations_plans_nothing() -> None:
    assert planned_deliveries(replace(JOB, destinations=()), (), now=NOW) == ()


@pytest.mark.parametrize(
    ("state", "pipeline", "wanted"),
    [
        (JobState.REFUSED, "hippocampus_mr", "not_processed"),
        (JobState.FAILED, "hippocampus_mr", "failed"),
        (JobState.REFUSED, "", "no_pipeline"),
    ],
)
def test_an_end_without_a_result_is_told_to_those_who_ask_for_it(
    state: JobState, pipeline: str, wanted: str
) -> None:
    asking = FhirDestination.model_validate(EHR.model_dump() | {"outcomes": (wanted,)})
    job = replace(JOB, state=state, outcome=None, pipeline_name=pipeline, destinations=())

    planned = planned_deliveries(job, (PACS, FOLDER, asking), now=NOW)

    assert planned == (NewDelivery("ehr", DestinationKind.FHIR, NOW),)


def test_a_destination_is_told_of_the_results_that_it_asks_for_only() -> None:
    asking = DicomDestination.model_validate(PACS.model_dump() | {"outcomes": ("findings",)})
    empty = replace(JOB, outcome=Outcome.NO_FINDINGS, destinations=())

    assert planned_deliveries(empty, (asking,), now=NOW) == ()
    assert len(planned_deliveries(replace(JOB, destinations=()), (asking,), now=NOW)) == 1
