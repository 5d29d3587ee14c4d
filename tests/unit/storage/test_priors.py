from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.dicom_records import PatientIdentity
from storage.jobs import claim_next_job, finish_job, finished_job
from storage.prior_records import PriorMeasurement
from storage.priors import priors_for
from storage.records import MeasurementRecord
from storage.studies import route
from storage.trend import change_text, trend
from tests.unit.storage.samples import (
    LEASE_S,
    MILLILITER,
    NOW,
    PATIENT,
    VOLUME,
    WORKER,
    incoming,
    job_result,
    make_ready,
    new_job,
    receive,
    volume,
)


def analysed(
    db: Database,
    study: str,
    study_date: str,
    *,
    patient: PatientIdentity = PATIENT,
    pipeline: str = "hippocampus_mr",
    value: float | None = None,
) -> int:
    """Route a study and, where it has a `value`, finish its job; gives the job's id."""
    instance = incoming(study=study, series=f"{study}.1", patient=patient)
    receive(db, instance._replace(study=replace(instance.study, study_date=study_date)))
    generation = make_ready(db, study)
    job = replace(new_job(study=study, pipeline=pipeline, generation=generation))
    route(db, study, generation=generation, jobs=(job,), refusal=None, now=NOW)
    claimed = claim_next_job(db, worker_id=WORKER, lease_s=LEASE_S, now=NOW)
    assert claimed is not None
    if value is not None:
        result = replace(job_result(f"2.25.{study}"), measurements=(volume("anterior", 1, value),))
        finish_job(db, claimed.job_id, worker_id=WORKER, result=result, deliveries=(), now=NOW)
    return claimed.job_id


def current(value: float) -> MeasurementRecord:
    return volume("anterior", 1, value)


def dates(db: Database, job_id: int) -> list[str]:
    return [prior.study_date for prior in priors_for(db, job_id)]


def test_earlier_studies_of_the_patient_are_given_oldest_first(db: Database) -> None:
    analysed(db, "1.2", "20240101", value=2.0)
    analysed(db, "1.1", "20230101", value=4.0)
    job_id = analysed(db, "1.3", "20250101")
    priors = priors_for(db, job_id)
    assert [prior.study_date for prior in priors] == ["20230101", "20240101"]
    assert priors[0].measurements == (PriorMeasurement("anterior", VOLUME, MILLILITER, 4.0, True),)
    assert [change_text(point) for point in trend(current(3.0), priors)] == ["-25.0 %", "+50.0 %"]


@pytest.mark.parametrize(
    "other",
    [
        replace(PATIENT, patient_id="PID-2"),
        replace(PATIENT, issuer_of_patient_id="OTHER"),
        replace(PATIENT, birth_date="19700102"),
    ],
    ids=["patient id", "issuer", "birth date"],
)
def test_another_patient_gives_no_prior(db: Database, other: PatientIdentity) -> None:
    analysed(db, "1.1", "20230101", patient=other, value=4.0)
    assert dates(db, analysed(db, "1.3", "20250101")) == []


def test_an_unknown_birth_date_contradicts_nothing(db: Database) -> None:
    analysed(db, "1.1", "20230101", patient=replace(PATIENT, birth_date=""), value=4.0)
    assert dates(db, analysed(db, "1.3", "20250101")) == ["20230101"]


def test_studies_without_patient_id_have_nothing_in_common(db: Database) -> None:
    nobody = PatientIdentity()
    analysed(db, "1.1", "20230101", patient=nobody, value=4.0)
    assert dates(db, analysed(db, "1.3", "20250101", patient=nobody)) == []


def test_later_studies_other_pipelines_and_unfinished_jobs_are_no_priors(db: Database) -> None:
    analysed(db, "1.1", "20260101", value=1.0)
    analysed(db, "1.2", "20230101", pipeline="another", value=1.0)
    analysed(db, "1.4", "20230101")
    assert dates(db, analysed(db, "1.3", "20250101")) == []


def test_a_job_keeps_the_priors_that_it_saw_first(db: Database) -> None:
    analysed(db, "1.1", "20230101", value=4.0)
    job_id = analysed(db, "1.3", "20250101")
    seen = priors_for(db, job_id)
    analysed(db, "1.2", "20240101", value=2.0)
    assert priors_for(db, job_id) == seen
    result = replace(job_result("2.25.3"), measurements=(current(3.0),))
    finish_job(db, job_id, worker_id=WORKER, result=result, deliveries=(), now=NOW)
    assert finished_job(db, job_id).priors == seen


def test_what_was_not_measured_then_or_is_absent_now_has_no_change(db: Database) -> None:
    analysed(db, "1.1", "20230101", value=4.0)
    priors = priors_for(db, analysed(db, "1.3", "20250101"))
    (other,) = trend(replace(current(1.0), tracking_identifier="posterior"), priors)
    assert (other.was_measured, other.change_percent) == (False, None)
    (absent,) = trend(replace(current(0.0), is_present=False), priors)
    assert (absent.value, absent.change_percent) == (4.0, None)
