from __future__ import annotations

from storage.database import Database
from storage.deliveries import settle_retry, settle_sent
from storage.delivery_reads import list_deliveries
from storage.jobs import (
    fail_job,
    finished_job,
    refuse_job,
    retry_job,
    return_expired,
)
from storage.records import (
    DeliveryState,
    DestinationKind,
    JobRecord,
    JobState,
    NewDelivery,
    Refusal,
)
from storage.studies import route
from storage.telling import Telling, telling
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    make_job,
    make_ready,
    new_job,
    receive,
    to_destinations,
)


def to_the_ehr(job: JobRecord) -> tuple[NewDelivery, ...]:
    assert job.state in (JobState.REFUSED, JobState.FAILED)
    return (NewDelivery("ehr", DestinationKind.FHIR, NOW),)


def states(db: Database, job_id: int) -> list[DeliveryState]:
    return [each.state for each in list_deliveries(db, job_id=job_id)]


def failed(db: Database) -> int:
    job_id = make_job(db, new_job(max_attempts=1))
    claim(db)
    fail = {"worker_id": WORKER, "code": "broke", "text": "it broke", "now": NOW}
    assert fail_job(db, job_id, retry_at=None, plan=to_the_ehr, **fail) is JobState.FAILED  # type: ignore[arg-type]
    return job_id


def test_a_refused_job_is_told_with_its_reason(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    refuse_job(db, job_id, worker_id=WORKER, code="gap", text="a gap", now=NOW, plan=to_the_ehr)

    assert states(db, job_id) == [DeliveryState.PENDING]
    finished = finished_job(db, job_id)
    assert telling(finished.job) is Telling.NOT_PROCESSED
    assert (finished.job.reason_code, finished.objects) == ("gap", ())


def test_a_failure_is_told_when_no_attempt_is_left(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=2))
    claim(db)
    end = {"worker_id": WORKER, "code": "broke", "text": "t", "now": NOW, "retry_at": NOW}
    fail_job(db, job_id, plan=to_the_ehr, **end)  # type: ignore[arg-type]
    assert states(db, job_id) == []
    claim(db)
    fail_job(db, job_id, plan=to_the_ehr, **end)  # type: ignore[arg-type]
    assert states(db, job_id) == [DeliveryState.PENDING]


def test_a_job_whose_workers_all_died_is_told_as_failed(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=1))
    claim(db)
    return_expired(db, now=after(LEASE_S + 1), plan=to_the_ehr)
    assert telling(finished_job(db, job_id).job) is Telling.FAILED
    assert states(db, job_id) == [DeliveryState.PENDING]


def test_a_study_that_no_pipeline_took_is_told_once(db: Database) -> None:
    receive(db)
    generation = make_ready(db)
    (job_id,) = route(
        db,
        STUDY,
        generation=generation,
        jobs=(),
        refusal=Refusal("no_match", "none"),
        now=NOW,
        plan=to_the_ehr,
    )
    assert telling(finished_job(db, job_id).job) is Telling.NO_PIPELINE
    assert states(db, job_id) == [DeliveryState.PENDING]


def test_a_failure_that_is_not_told_yet_is_not_told_once_a_person_retries(db: Database) -> None:
    job_id = failed(db)
    retry_job(db, job_id, now=after(1))
    assert states(db, job_id) == [DeliveryState.DEAD]


def test_a_success_after_a_failure_is_told_on_the_same_delivery(db: Database) -> None:
    job_id = failed(db)
    delivery = claim_delivery(db, "ehr")
    settle_sent(
        db, delivery.delivery_id, worker_id=WORKER, confirmed=True, receipt={}, now=after(1)
    )
    retry_job(db, job_id, now=after(2))
    claim(db, now=after(2))
    finish(db, job_id, deliveries=to_destinations("ehr"), now=after(3))

    (again,) = list_deliveries(db, job_id=job_id)
    assert (again.delivery_id, again.state) == (delivery.delivery_id, DeliveryState.PENDING)
    assert telling(finished_job(db, job_id).job) is Telling.FINDINGS


def test_a_sender_that_comes_back_while_the_job_is_done_again_drops_the_old_end(
    db: Database,
) -> None:
    job_id = failed(db)
    delivery = claim_delivery(db, "ehr")
    retry_job(db, job_id, now=after(1))
    settle_retry(
        db,
        delivery.delivery_id,
        worker_id=WORKER,
        code="timeout",
        text="no answer",
        due_at=after(2),
        now=after(2),
    )
    assert states(db, job_id) == [DeliveryState.DEAD]


def test_an_end_that_newer_work_replaces_is_not_told(db: Database) -> None:
    older = make_job(db)
    claim(db)
    make_job(db, new_job("in-2"))
    refuse_job(db, older, worker_id=WORKER, code="gap", text="a gap", now=NOW, plan=to_the_ehr)
    assert states(db, older) == []
