from __future__ import annotations

from dataclasses import asdict

from storage.database import Database
from storage.deliveries import settle_dead
from storage.dicom_records import StudyState
from storage.overview import study_rows
from storage.records import DeliveryState, JobState, Outcome, Refusal
from storage.studies import route
from tests.unit.storage.samples import (
    NOW,
    PATIENT,
    STUDY,
    WORKER,
    after,
    claim_delivery,
    incoming,
    make_deliveries,
    make_ready,
    receive,
)


def test_an_empty_node_has_nothing_to_show(db: Database) -> None:
    assert study_rows(db, 10) == ()


def test_a_study_shows_its_evidence_jobs_and_deliveries(db: Database) -> None:
    job_id = make_deliveries(db, "pacs", "ehr")
    receive(db, incoming(1, series="2.25.3", is_own_result=True))
    delivery_id = claim_delivery(db).delivery_id
    settle_dead(db, delivery_id, worker_id=WORKER, code="refused", text="why", now=after(1))
    (study,) = study_rows(db, 10)
    assert (study.study_instance_uid, study.state) == (STUDY, StudyState.ROUTED)
    assert (study.complete_evidence, study.complete_at) == ("quiet time", NOW)
    assert study.instance_count == 1
    (job,) = study.jobs
    assert (job.job_id, job.state, job.outcome) == (job_id, JobState.SUCCEEDED, Outcome.FINDINGS)
    pacs, ehr = job.deliveries
    assert (pacs.destination, pacs.state, pacs.reason_code) == (
        "pacs",
        DeliveryState.DEAD,
        "refused",
    )
    assert (ehr.destination, ehr.state, ehr.due_at) == ("ehr", DeliveryState.PENDING, after(1))


def test_a_study_that_nobody_took_shows_why(db: Database) -> None:
    receive(db)
    refusal = Refusal("no_pipeline_matches", "no enabled pipeline takes this study")
    route(db, STUDY, generation=make_ready(db), jobs=(), refusal=refusal, now=NOW)
    (study,) = study_rows(db, 10)
    (job,) = study.jobs
    assert (job.pipeline_name, job.state, job.reason_code) == (
        "",
        JobState.REFUSED,
        "no_pipeline_matches",
    )


def test_the_newest_studies_come_first(db: Database) -> None:
    for number in range(3):
        uid = f"1.2.{number}"
        receive(db, incoming(study=uid, series=f"{uid}.1", received_at=after(number)))
    rows = study_rows(db, 10)
    assert [row.study_instance_uid for row in rows] == ["1.2.2", "1.2.1", "1.2.0"]


def test_nothing_of_the_patient_is_shown(db: Database) -> None:
    make_deliveries(db, "pacs")
    shown = repr([asdict(row) for row in study_rows(db, 10)])
    assert not any(value in shown for value in asdict(PATIENT).values() if len(value) > 1)
