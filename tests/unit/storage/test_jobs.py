from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.errors import LeaseLost, NotFound
from storage.jobs import (
    finish_job,
    finished_job,
    get_job,
    heartbeat,
    job_events,
    list_jobs,
    return_expired,
)
from storage.records import DeliveryState, JobState, Outcome
from storage.studies import get_study, series_of_study
from tests.unit.storage.job_ends import events, fail, refuse, try_claim
from tests.unit.storage.samples import (
    LEASE_S,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    job_result,
    make_job,
    new_job,
    to_destinations,
)

OTHER = "radnode/200"


def test_nothing_due_means_nothing_claimed(db: Database) -> None:
    assert try_claim(db) is None


def test_a_claimed_job_is_leased_to_its_worker(db: Database) -> None:
    job_id = make_job(db)
    job = claim(db, now=after(5))
    assert (job.job_id, job.state, job.attempts) == (job_id, JobState.RUNNING, 1)
    assert (job.worker_id, job.lease_expires_at) == (WORKER, after(5 + LEASE_S))
    assert job.started_at == after(5)
    assert job == get_job(db, job_id)
    assert try_claim(db, after(10_000)) is None


def test_the_most_urgent_job_comes_first_and_then_the_one_that_waits_longest(
    db: Database,
) -> None:
    routine = make_job(db, new_job(study="1.2.1", priority=20), now=after(0))
    late_stat = make_job(db, new_job(study="1.2.2", priority=0), now=after(2))
    early_stat = make_job(db, new_job(study="1.2.3", priority=0), now=after(1))
    order = [try_claim(db, after(3)) for _ in range(3)]
    assert order == [early_stat, late_stat, routine]


def test_a_job_is_not_claimed_before_it_is_due(db: Database) -> None:
    job_id = make_job(db, now=after(10))
    assert try_claim(db, after(9)) is None
    assert try_claim(db, after(10)) == job_id


def test_a_heartbeat_keeps_the_lease(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    heartbeat(db, job_id, worker_id=WORKER, lease_s=LEASE_S, now=after(50))
    assert return_expired(db, now=after(LEASE_S + 1)) == ()
    assert get_job(db, job_id).lease_expires_at == after(50 + LEASE_S)


def test_a_heartbeat_on_a_lost_job_says_so(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    return_expired(db, now=after(LEASE_S + 1))
    claim(db, worker_id=OTHER, now=after(LEASE_S + 2))
    with pytest.raises(LeaseLost):
        heartbeat(db, job_id, worker_id=WORKER, lease_s=LEASE_S, now=after(LEASE_S + 3))


def test_a_finished_job_keeps_everything_that_a_report_needs(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    result = job_result()
    deliveries = tuple(to_destinations("pacs", "ehr"))
    finish_job(db, job_id, worker_id=WORKER, result=result, deliveries=deliveries, now=after(9))
    finished = finished_job(db, job_id)
    assert finished.job.state is JobState.SUCCEEDED
    assert finished.job.outcome is Outcome.FINDINGS
    assert finished.job.finished_at == after(9)
    assert finished.job.worker_id is None
    assert finished.job.device == "cpu"
    assert finished.job.peak_memory_mib == 812.5
    assert list(finished.job.stage_times_s.items()) == list(result.stage_times_s.items())
    assert finished.measurements == result.measurements
    assert finished.objects == result.objects
    assert finished.study == get_study(db, STUDY)
    assert finished.series == series_of_study(db, STUDY)
    assert finished.algorithm == new_job().algorithm


def test_a_result_for_review_says_why_in_the_job_and_its_history(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    result = replace(job_result(), review="Low: mean entropy 0.4 above 0.3")
    asked = tuple(to_destinations("pacs"))
    finish_job(db, job_id, worker_id=WORKER, result=result, deliveries=asked, now=after(9))
    finished = finished_job(db, job_id)
    assert finished.review == "Low: mean entropy 0.4 above 0.3"
    assert finished.job.reason_code == job_events(db, job_id)[-1].reason_code == "for_review"
    assert list_deliveries(db, job_id=job_id)[0].reason_code == ""


def test_a_finished_job_fills_the_outbox(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    asked = to_destinations("pacs", "ehr")
    finish(db, job_id, deliveries=asked, now=after(9))
    found = sorted(list_deliveries(db, job_id=job_id), key=lambda one: one.delivery_id)
    assert [(one.destination, one.kind, one.due_at) for one in found] == [
        (one.destination, one.kind, one.due_at) for one in asked
    ]
    assert {(one.state, one.attempts, one.created_at) for one in found} == {
        (DeliveryState.PENDING, 0, after(9))
    }


def test_a_job_without_results_cannot_be_told(db: Database) -> None:
    job_id = make_job(db)
    with pytest.raises(NotFound):
        finished_job(db, job_id)
    with pytest.raises(NotFound):
        finished_job(db, job_id + 1)


def test_a_worker_that_lost_its_lease_registers_nothing(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    return_expired(db, now=after(LEASE_S + 1))
    claim(db, worker_id=OTHER, now=after(LEASE_S + 2))
    with pytest.raises(LeaseLost):
        finish(db, job_id, deliveries=to_destinations("pacs"))
    with pytest.raises(LeaseLost):
        refuse(db, job_id)
    with pytest.raises(LeaseLost):
        fail(db, job_id)
    assert list_deliveries(db, job_id=job_id) == ()
    finish(db, job_id, worker_id=OTHER)
    assert get_job(db, job_id).state is JobState.SUCCEEDED


def test_a_job_finishes_once(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    finish(db, job_id, deliveries=to_destinations("pacs"))
    with pytest.raises(LeaseLost):
        finish(db, job_id, deliveries=to_destinations("pacs"))
    assert len(list_deliveries(db, job_id=job_id)) == 1


def test_a_job_that_finishes_after_a_newer_one_was_queued_is_not_delivered(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    newer = make_job(db, new_job("in-2"))
    finish(db, older, deliveries=to_destinations("pacs", "ehr"))
    assert get_job(db, older).state is JobState.SUPERSEDED
    assert list_deliveries(db, job_id=older) == ()
    assert [change[:2] for change in events(db, older)][-2:] == [
        ("running", "succeeded"),
        ("succeeded", "superseded"),
    ]
    assert finished_job(db, older).objects == job_result(f"2.25.{older}").objects
    assert claim(db).job_id == newer


def test_what_was_not_yet_sent_of_a_superseded_job_is_withdrawn(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    finish(db, older, deliveries=to_destinations("pacs", "ehr"))
    claim_delivery(db, "pacs")
    make_job(db, new_job("in-2"))
    found = {one.destination: one for one in list_deliveries(db, job_id=older)}
    assert found["pacs"].state is DeliveryState.SENDING
    assert found["ehr"].state is DeliveryState.DEAD
    assert found["ehr"].reason_code == "newer_generation"


def test_a_refused_job_tells_its_reason(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    refuse(db, job_id)
    job = get_job(db, job_id)
    assert (job.state, job.reason_code, job.reason_text) == (
        JobState.REFUSED,
        "too_few_slices",
        "only 3 slices",
    )
    assert job.finished_at == after(1)
    assert job_events(db, job_id)[-1].reason_code == "too_few_slices"


def test_a_failed_job_is_tried_again_until_its_attempts_are_used(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=2))
    claim(db)
    assert fail(db, job_id, retry_at=after(30)) is JobState.QUEUED
    assert try_claim(db, after(29)) is None
    assert claim(db, now=after(30)).attempts == 2
    assert fail(db, job_id, retry_at=after(60)) is JobState.FAILED
    job = get_job(db, job_id)
    assert (job.reason_code, job.finished_at) == ("inference_failed", after(1))
    assert try_claim(db, after(1000)) is None


def test_a_failure_that_no_retry_can_help_ends_the_job(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    assert fail(db, job_id, retry_at=None) is JobState.FAILED


def test_jobs_are_listed_newest_first_and_by_state(db: Database) -> None:
    made = [make_job(db, new_job(study=f"1.2.{number}")) for number in range(3)]
    claim(db)
    assert [job.job_id for job in list_jobs(db, limit=2)] == [made[2], made[1]]
    assert [job.job_id for job in list_jobs(db, limit=9, state=JobState.RUNNING)] == [made[0]]


def test_every_change_has_one_event(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    fail(db, job_id, retry_at=after(2))
    claim(db, now=after(2))
    finish(db, job_id)
    assert events(db, job_id) == [
        ("", "queued", "routing"),
        ("queued", "running", WORKER),
        ("running", "queued", WORKER),
        ("queued", "running", WORKER),
        ("running", "succeeded", WORKER),
    ]
