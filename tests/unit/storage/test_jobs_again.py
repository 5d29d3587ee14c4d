"""Jobs that return to the queue: their worker is gone, or a person wants them again."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.errors import IllegalTransition, NotFound
from storage.jobs import (
    get_job,
    retry_job,
    return_expired,
    return_jobs_of,
)
from storage.records import JobState, Refusal
from storage.studies import route
from tests.unit.storage.job_ends import events, fail, refuse, try_claim
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    STUDY,
    after,
    claim,
    finish,
    make_job,
    make_ready,
    new_job,
    receive,
)


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
    assert events(db, job_id)[-1] == ("running", "failed", "sweep")


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
    assert try_claim(db) is None


@pytest.mark.parametrize("end", [refuse, fail])
def test_a_person_has_a_job_tried_again_with_all_its_attempts(db: Database, end: object) -> None:
    job_id = make_job(db)
    claim(db)
    assert callable(end)
    end(db, job_id)
    retry_job(db, job_id, now=after(100))
    job = get_job(db, job_id)
    assert (job.state, job.attempts, job.due_at) == (JobState.QUEUED, 0, after(100))
    assert (job.reason_code, job.finished_at) == ("", None)
    assert events(db, job_id)[-1][2] == "person"


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
    fail(db, older)
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
