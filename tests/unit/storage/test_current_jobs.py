"""Which job counts when a study changes, changes back, or is no longer for a pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from storage.database import Database
from storage.deliveries import claim_next_delivery, retry_delivery, settle_dead, settle_sent
from storage.delivery_reads import list_deliveries
from storage.errors import IllegalTransition, LeaseLost
from storage.jobs import (
    fail_job,
    finished_job,
    get_job,
    job_events,
    jobs_of_study,
    refuse_job,
    retry_job,
)
from storage.records import DeliveryState, JobState, NewJob, Refusal
from storage.studies import reopen_for_routing, route
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    incoming,
    job_result,
    make_ready,
    new_job,
    receive,
    to_destinations,
)

A, B = new_job("content a"), new_job("content b")
REFUSAL = Refusal("no_pipeline_matches", "none takes it")
QUEUED, RUNNING, SUCCEEDED = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED
SUPERSEDED, REFUSED = JobState.SUPERSEDED, JobState.REFUSED


class Sender:
    """Changes the study, has it routed, and so makes one generation after the other."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.sent = 0

    def send(self, *jobs: NewJob) -> tuple[int, ...]:
        """The study changes; these jobs are what it is good for now."""
        self.sent += 1
        receive(self.db, incoming(content=str(self.sent), received_at=after(self.sent)))
        return self._route(make_ready(self.db), jobs)

    def reopen(self, *jobs: NewJob) -> tuple[int, ...]:
        reopen_for_routing(self.db, STUDY, now=NOW)
        return self._route(jobs_of_study(self.db, STUDY)[-1].generation + 1, jobs)

    def _route(self, generation: int, jobs: tuple[NewJob, ...]) -> tuple[int, ...]:
        wanted = tuple(replace(job, generation=generation) for job in jobs)
        refusal = None if jobs else REFUSAL
        return route(
            self.db, STUDY, generation=generation, jobs=wanted, refusal=refusal, now=after(60)
        )

    def states(self) -> list[JobState]:
        return [job.state for job in jobs_of_study(self.db, STUDY)]


@pytest.fixture
def sender(db: Database) -> Sender:
    return Sender(db)


def _run(db: Database, job_id: int, *names: str) -> None:
    assert claim(db, now=after(60)).job_id == job_id
    finish(db, job_id, deliveries=to_destinations(*names, now=after(60)), now=after(61))


def _delivered(db: Database, destination: str) -> int:
    delivery_id = claim_delivery(db, destination, now=after(1000)).delivery_id
    settle_sent(
        db, delivery_id, worker_id=WORKER, confirmed=True, receipt={"n": "1"}, now=after(1000)
    )
    return delivery_id


def test_content_that_comes_back_is_current_again(db: Database, sender: Sender) -> None:
    (a,) = sender.send(A)
    _run(db, a)
    (b,) = sender.send(B)
    _run(db, b)
    assert sender.send(A) == (a,)
    assert sender.states() == [QUEUED, SUPERSEDED]
    job = get_job(db, a)
    assert (job.generation, job.attempts, job.finished_at) == (3, 0, None)
    event = job_events(db, a)[-1]
    assert (event.from_state, event.to_state, event.reason_code) == (
        "superseded",
        "queued",
        "current_again",
    )


def test_a_job_that_is_current_again_is_pinned_to_the_files_of_now(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    sender.send(B)
    pinned = replace(A.inputs[0].instances[0], path=PurePosixPath("instances/a.2.dcm"))
    sender.send(replace(A, inputs=(replace(A.inputs[0], instances=(pinned,)),)))
    assert get_job(db, a).inputs[0].instances == (pinned,)


def test_content_that_comes_back_before_anything_ran_leaves_one_job_to_run(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    sender.send(B)
    sender.send(A)
    _run(db, a)
    assert sender.states() == [SUCCEEDED, SUPERSEDED]


def test_a_second_success_replaces_the_results_and_is_delivered_again(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    _run(db, a, "pacs", "ehr")
    first = _delivered(db, "pacs")
    (b,) = sender.send(B)
    _run(db, b)
    sender.send(A)
    _run(db, a, "pacs", "ehr")
    finished = finished_job(db, a)
    expected = job_result(f"2.25.{a}")
    assert (finished.objects, finished.measurements) == (expected.objects, expected.measurements)
    deliveries = {one.destination: one for one in list_deliveries(db, job_id=a)}
    assert {name: one.state for name, one in deliveries.items()} == {
        "pacs": DeliveryState.PENDING,
        "ehr": DeliveryState.PENDING,
    }
    pacs = deliveries["pacs"]
    assert (pacs.delivery_id, pacs.attempts, pacs.receipt) == (first, 0, {})
    assert (pacs.created_at, pacs.settled_at) == (after(61), None)
    assert _delivered(db, "pacs") == first


def test_a_sender_that_is_still_at_the_first_delivery_loses_it_to_the_second(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    _run(db, a, "pacs")
    first = claim_delivery(db, now=after(61))
    (b,) = sender.send(B)
    _run(db, b)
    sender.send(A)
    _run(db, a, "pacs")
    with pytest.raises(LeaseLost):
        settle_sent(
            db, first.delivery_id, worker_id=WORKER, confirmed=True, receipt={}, now=after(62)
        )
    again = claim_next_delivery(
        db, destination="pacs", worker_id=WORKER, lease_s=LEASE_S, now=after(63)
    )
    assert again is not None
    assert again.delivery_id == first.delivery_id


def test_content_that_comes_back_while_its_job_runs_keeps_that_run(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    claim(db, now=after(60))
    sender.send(B)
    assert sender.send(A) == ()
    assert sender.states() == [RUNNING, SUPERSEDED]
    finish(db, a, deliveries=to_destinations("pacs"))
    assert sender.states() == [SUCCEEDED, SUPERSEDED]
    assert [one.state for one in list_deliveries(db, job_id=a)] == [DeliveryState.PENDING]


def test_a_newer_job_that_runs_when_older_content_comes_back_is_not_delivered(
    db: Database, sender: Sender
) -> None:
    sender.send(A)
    (b,) = sender.send(B)
    claim(db, now=after(60))
    sender.send(A)
    finish(db, b, deliveries=to_destinations("pacs"))
    assert sender.states() == [QUEUED, SUPERSEDED]
    assert list_deliveries(db) == ()


def test_a_refusal_of_content_that_comes_back_stands_and_may_be_retried(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    claim(db, now=after(60))
    refuse_job(db, a, worker_id=WORKER, code="tilt", text="tilted", now=after(61))
    (b,) = sender.send(B)
    with pytest.raises(IllegalTransition, match="newer"):
        retry_job(db, a, now=after(62))
    _run(db, b)
    assert sender.send(A) == ()
    assert sender.states() == [REFUSED, SUPERSEDED]
    retry_job(db, a, now=after(62))
    assert sender.states() == [QUEUED, SUPERSEDED]


@pytest.mark.parametrize("again", [Sender.send, Sender.reopen])
def test_a_study_that_no_pipeline_takes_any_more_has_no_older_result_in_force(
    db: Database, sender: Sender, again: object
) -> None:
    (a,) = sender.send(A)
    _run(db, a, "pacs")
    assert callable(again)
    again(sender)
    assert sender.states() == [SUPERSEDED, REFUSED]
    (delivery,) = list_deliveries(db, job_id=a)
    assert (delivery.state, delivery.reason_code) == (DeliveryState.DEAD, "newer_generation")


def test_only_the_pipeline_that_no_longer_matches_loses_its_job(
    db: Database, sender: Sender
) -> None:
    other = new_job("other", pipeline="other")
    (a, _) = sender.send(A, other)
    _run(db, a)
    assert sender.send(A) == ()
    assert sender.states() == [SUCCEEDED, SUPERSEDED]


def test_a_running_job_whose_pipeline_no_longer_matches_is_not_delivered(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    claim(db, now=after(60))
    sender.send()
    finish(db, a, deliveries=to_destinations("pacs"))
    assert sender.states() == [SUPERSEDED, REFUSED]
    assert list_deliveries(db) == ()


def test_a_running_job_whose_pipeline_no_longer_matches_is_not_tried_again(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    claim(db, now=after(60))
    sender.send()
    fail_job(db, a, worker_id=WORKER, code="c", text="t", retry_at=after(61), now=after(61))
    assert sender.states() == [SUPERSEDED, REFUSED]


def test_routing_again_to_an_earlier_version_of_a_pipeline_makes_its_job_current(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    _run(db, a)
    (upgraded,) = sender.reopen(replace(A, pipeline_digest="pipeline-2"))
    claim(db, now=after(60))
    assert sender.reopen(A) == (a,)
    finish(db, upgraded)
    _run(db, a)
    assert sender.states() == [SUCCEEDED, SUPERSEDED]


def test_a_person_cannot_send_out_what_a_newer_result_replaced(
    db: Database, sender: Sender
) -> None:
    (a,) = sender.send(A)
    _run(db, a, "pacs")
    delivery = claim_delivery(db, "pacs", now=after(1000))
    settle_dead(
        db, delivery.delivery_id, worker_id=WORKER, code="refused", text="no", now=after(1000)
    )
    sender.send(B)
    with pytest.raises(IllegalTransition, match="a newer result replaced"):
        retry_delivery(db, delivery.delivery_id, now=after(1001))
