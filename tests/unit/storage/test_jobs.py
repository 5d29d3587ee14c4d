from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from storage.database import Database
from storage.deliveries import list_deliveries
from storage.errors import IllegalTransition, LeaseLost, NotFound
from storage.jobs import (
    claim_next_job,
    fail_job,
    finish_job,
    finished_job,
    get_job,
    heartbeat,
    job_events,
    list_jobs,
    refuse_job,
    retry_job,
    return_expired,
    return_jobs_of,
)
from storage.records import DeliveryState, JobState, Outcome, Refusal
from storage.studies import get_study, route, series_of_study
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    job_result,
    make_job,
    make_ready,
    new_job,
    receive,
    to_destinations,
)

OTHER = "radnode/200"


def _try_claim(db: Database, now: datetime = NOW) -> int | None:
    job = claim_next_job(db, worker_id=WORKER, lease_s=LEASE_S, now=now)
    return None if job is None else job.job_id


def _fail(
    db: Database, job_id: int, *, retry_at: datetime | None = None, worker_id: str = WORKER
) -> JobState:
    return fail_job(
        db,
        job_id,
        worker_id=worker_id,
        code="inference_failed",
        text="the model gave no result",
        retry_at=retry_at,
        now=after(1),
    )


def _refuse(db: Database, job_id: int, worker_id: str = WORKER) -> None:
    text = "only 3 slices"
    refuse_job(db, job_id, worker_id=worker_id, code="too_few_slices", text=text, now=after(1))


def _events(db: Database, job_id: int) -> list[tuple[str, str, str]]:
    return [(one.from_state, one.to_state, one.actor) for one in job_events(db, job_id)]


def test_nothing_due_means_nothing_claimed(db: Database) -> None:
    assert _try_claim(db) is None


def test_a_claimed_job_is_leased_to_its_worker(db: Database) -> None:
    job_id = make_job(db)
    job = claim(db, now=after(5))
    assert (job.job_id, job.state, job.attempts) == (job_id, JobState.RUNNING, 1)
    assert (job.worker_id, job.lease_expires_at) == (WORKER, after(5 + LEASE_S))
    assert job.started_at == after(5)
    assert job == get_job(db, job_id)
    assert _try_claim(db, after(10_000)) is None


def test_the_most_urgent_job_comes_first_and_then_the_one_that_waits_longest(
    db: Database,
) -> None:
    routine = make_job(db, new_job(study="1.2.1", priority=20), now=after(0))
    late_stat = make_job(db, new_job(study="1.2.2", priority=0), now=after(2))
    early_stat = make_job(db, new_job(study="1.2.3", priority=0), now=after(1))
    order = [_try_claim(db, after(3)) for _ in range(3)]
    assert order == [early_stat, late_stat, routine]


def test_a_job_is_not_claimed_before_it_is_due(db: Database) -> None:
    job_id = make_job(db, now=after(10))
    assert _try_claim(db, after(9)) is None
    assert _try_claim(db, after(10)) == job_id


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
        _refuse(db, job_id)
    with pytest.raises(LeaseLost):
        _fail(db, job_id)
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
    assert [change[:2] for change in _events(db, older)][-2:] == [
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
    _refuse(db, job_id)
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
    assert _fail(db, job_id, retry_at=after(30)) is JobState.QUEUED
    assert _try_claim(db, after(29)) is None
    assert claim(db, now=after(30)).attempts == 2
    assert _fail(db, job_id, retry_at=after(60)) is JobState.FAILED
    job = get_job(db, job_id)
    assert (job.reason_code, job.finished_at) == ("inference_failed", after(1))
    assert _try_claim(db, after(1000)) is None


def test_a_failure_that_no_retry_can_help_ends_the_job(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    assert _fail(db, job_id, retry_at=None) is JobState.FAILED


def test_a_dead_workers_job_returns_to_the_queue_and_is_given_up_in_the_end(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=2))
    claim(db, now=after(0))
    assert return_expired(db, now=after(LEASE_S)) == ()
    assert return_expired(db, now=after(LEASE_S + 1)) == (job_id,)
    assert get_job(db, job_id).state is JobState.QUEUED
    claim(db, now=after(100))
    assert return_expired(db, now=after(101 + LEASE_S)) == (job_id,)
    job = get_job(db, job_id)
    assert (job.state, job.reason_code) == (JobState.FAILED, "worker_lost")
    assert _events(db, job_id)[-1] == ("running", "failed", "sweep")


def test_a_restarted_node_takes_back_its_own_jobs_only(db: Database) -> None:
    workers = ["radnode/1", "radnode/2", "radnode2/1", "other/1", "rad_node/1", "radXnode/1"]
    held = {}
    for number, worker_id in enumerate(workers):
        make_job(db, new_job(study=f"1.2.{number}"))
        held[worker_id] = claim(db, worker_id=worker_id).job_id
    assert return_jobs_of(db, "radnode", now=NOW) == (held["radnode/1"], held["radnode/2"])
    assert return_jobs_of(db, "rad_node/", now=NOW) == (held["rad_node/1"],)
    assert return_jobs_of(db, "radnode", now=NOW) == ()


def test_a_job_whose_worker_was_asked_to_stop_keeps_its_attempts(db: Database) -> None:
    job_id = make_job(db, new_job(max_attempts=1))
    claim(db)
    assert return_jobs_of(db, "radnode", now=after(1), is_attempt=False) == (job_id,)
    job = get_job(db, job_id)
    assert (job.state, job.attempts, job.due_at) == (JobState.QUEUED, 0, after(1))


def test_a_returned_job_makes_way_for_a_newer_one(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    newer = make_job(db, new_job("in-2"))
    return_expired(db, now=after(LEASE_S + 1))
    assert get_job(db, older).state is JobState.SUPERSEDED
    assert claim(db).job_id == newer
    assert _try_claim(db) is None


@pytest.mark.parametrize("end", [_refuse, _fail])
def test_a_person_has_a_job_tried_again_with_all_its_attempts(db: Database, end: object) -> None:
    job_id = make_job(db)
    claim(db)
    assert callable(end)
    end(db, job_id)
    retry_job(db, job_id, now=after(100))
    job = get_job(db, job_id)
    assert (job.state, job.attempts, job.due_at) == (JobState.QUEUED, 0, after(100))
    assert (job.reason_code, job.finished_at) == ("", None)
    assert _events(db, job_id)[-1][2] == "person"


def test_only_a_failed_or_refused_job_can_be_tried_again(db: Database) -> None:
    with pytest.raises(NotFound):
        retry_job(db, 1, now=NOW)
    job_id = make_job(db)
    with pytest.raises(IllegalTransition):
        retry_job(db, job_id, now=NOW)
    claim(db)
    finish(db, job_id)
    with pytest.raises(IllegalTransition):
        retry_job(db, job_id, now=NOW)


def test_a_job_that_was_replaced_is_not_tried_again(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    _fail(db, older)
    make_job(db, new_job("in-2"))
    with pytest.raises(IllegalTransition, match="newer"):
        retry_job(db, older, now=NOW)


def test_a_study_that_no_pipeline_took_has_no_job_to_try_again(db: Database) -> None:
    receive(db)
    refusal = Refusal("no_pipeline_matches", "no pipeline")
    generation = make_ready(db)
    (job_id,) = route(db, STUDY, generation=generation, jobs=(), refusal=refusal, now=NOW)
    with pytest.raises(IllegalTransition, match="routed again"):
        retry_job(db, job_id, now=NOW)


def test_jobs_are_listed_newest_first_and_by_state(db: Database) -> None:
    made = [make_job(db, new_job(study=f"1.2.{number}")) for number in range(3)]
    claim(db)
    assert [job.job_id for job in list_jobs(db, limit=2)] == [made[2], made[1]]
    assert [job.job_id for job in list_jobs(db, limit=9, state=JobState.RUNNING)] == [made[0]]


def test_every_change_has_one_event(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    _fail(db, job_id, retry_at=after(2))
    claim(db, now=after(2))
    finish(db, job_id)
    assert _events(db, job_id) == [
        ("", "queued", "routing"),
        ("queued", "running", WORKER),
        ("running", "queued", WORKER),
        ("queued", "running", WORKER),
        ("running", "succeeded", WORKER),
    ]
