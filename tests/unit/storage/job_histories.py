"""Random histories of a study's jobs and deliveries, and the rules that they must keep."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from storage.database import Database
from storage.deliveries import (
    claim_next_delivery,
    retry_delivery,
    return_deliveries_of,
    return_expired_deliveries,
    settle_dead,
    settle_retry,
    settle_sent,
)
from storage.delivery_reads import delivery_events, list_deliveries
from storage.delivery_state import TRANSITIONS as DELIVERY_TRANSITIONS
from storage.dicom_records import StudyState
from storage.errors import IllegalTransition, LeaseLost, NotFound
from storage.event_records import EventRecord
from storage.job_state import TRANSITIONS as JOB_TRANSITIONS
from storage.jobs import (
    claim_next_job,
    fail_job,
    heartbeat,
    job_events,
    list_jobs,
    refuse_job,
    retry_job,
    return_expired,
    return_jobs_of,
)
from storage.records import DeliveryRecord, DeliveryState, JobRecord, JobState, Purpose, Refusal
from storage.state_change import Actor
from storage.studies import list_studies, open_studies, ready_studies, reopen_for_routing, route
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    finish,
    incoming,
    make_ready,
    new_job,
    receive,
    to_destinations,
)

workers = st.sampled_from(["radnode/1", "radnode/2", "other/1"])

studies = st.sampled_from(["1.2.1", "1.2.2"])

numbers = st.integers(1, 6)

REFUSED_CHANGES = (LeaseLost, IllegalTransition, NotFound)


class History(RuleBasedStateMachine):
    """Senders, workers, sweeps and people at work on one database, in any order.

    `held` is what the outside world may believe: who was given which job, and until when.
    """

    db: Database

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.sent = 0
        self.held: dict[int, tuple[str, datetime]] = {}

    @rule(seconds=st.sampled_from([1, 30, int(LEASE_S) + 1]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @initialize(worker=workers, how=st.sampled_from(["finish", "finish", "retry"]))
    def the_first_studies_come(self, worker: str, how: str) -> None:
        """Most changes need a job, and those of deliveries a finished one: begin with both."""
        self.an_instance_comes("1.2.1", 1, True, "again")
        self.a_worker_takes_its_turn(worker, how)
        self.a_worker_takes_its_turn(worker, how)
        self.an_instance_comes("1.2.2", 1, True, "routed")

    @rule(
        study=studies,
        number=st.integers(1, 3),
        is_new=st.booleans(),
        then=st.sampled_from(["routed", "routed", "again", "refused", "complete", "receiving"]),
    )
    def an_instance_comes(self, study: str, number: int, is_new: bool, then: str) -> None:
        """`again`: what the pipeline reads of it is as it was for the first job."""
        self.sent += is_new
        content = str(self.sent if is_new else 0)
        sent = incoming(
            number, study=study, series=f"{study}.1", content=content, received_at=self.now
        )
        receive(self.db, sent)
        if then != "receiving":
            self._complete(study)
        if then in ("routed", "again", "refused"):
            self._route(0 if then == "again" else self.sent, is_refused=then == "refused")

    def _complete(self, study: str) -> None:
        if study in {one.study.header.study_instance_uid for one in open_studies(self.db)}:
            make_ready(self.db, study, now=self.now)

    def _route(self, content: int, *, is_refused: bool) -> None:
        for study in ready_studies(self.db):
            uid = study.header.study_instance_uid
            job = new_job(f"{uid} {content}", study=uid, generation=study.generation)
            refusal = Refusal("no_pipeline_matches", "none") if is_refused else None
            route(
                self.db,
                uid,
                generation=study.generation,
                jobs=() if is_refused else (job,),
                refusal=refusal,
                now=self.now,
            )

    @rule(
        worker=workers,
        how=st.sampled_from(["finish", "finish", "refuse", "fail", "retry", "go on"]),
    )
    def a_worker_takes_its_turn(self, worker: str, how: str) -> None:
        mine = [job_id for job_id, (holder, _) in self.held.items() if holder == worker]
        if not mine:
            self._claim(worker)
        elif how == "go on":
            heartbeat(self.db, mine[0], worker_id=worker, lease_s=LEASE_S, now=self.now)
            self.held[mine[0]] = (worker, self._lease_end())
        else:
            self._end(worker, mine[0], how)
            del self.held[mine[0]]

    def _claim(self, worker: str) -> None:
        job = claim_next_job(self.db, worker_id=worker, lease_s=LEASE_S, now=self.now)
        if job is not None:
            assert job.job_id not in self.held, "two workers run the same job"
            self.held[job.job_id] = (worker, self._lease_end())

    def _lease_end(self) -> datetime:
        return self.now + timedelta(seconds=LEASE_S)

    @rule(
        worker=workers, job_id=numbers, how=st.sampled_from(["finish", "refuse", "fail", "retry"])
    )
    def a_worker_ends_what_is_not_its_own(self, worker: str, job_id: int, how: str) -> None:
        if self.held.get(job_id, ("", self.now))[0] != worker:
            with pytest.raises((LeaseLost, NotFound)):
                self._end(worker, job_id, how)
            with pytest.raises(LeaseLost):
                heartbeat(self.db, job_id, worker_id=worker, lease_s=LEASE_S, now=self.now)

    def _end(self, worker: str, job_id: int, how: str) -> None:
        reason: dict[str, Any] = {"worker_id": worker, "code": how, "text": how, "now": self.now}
        if how == "finish":
            deliveries = to_destinations("pacs", "ehr", now=self.now)
            finish(self.db, job_id, worker_id=worker, deliveries=deliveries, now=self.now)
        elif how == "refuse":
            refuse_job(self.db, job_id, **reason)
        else:
            fail_job(self.db, job_id, retry_at=self.now if how == "retry" else None, **reason)

    @rule(
        worker=workers,
        destination=st.sampled_from(["pacs", "ehr"]),
        how=st.sampled_from(["sent", "confirmed", "retry", "dead", "vanish"]),
    )
    def a_sender_takes_its_turn(self, worker: str, destination: str, how: str) -> None:
        delivery = claim_next_delivery(
            self.db, destination=destination, worker_id=worker, lease_s=LEASE_S, now=self.now
        )
        if delivery is not None:
            self._settle(delivery.delivery_id, worker, how)

    @rule(delivery_id=numbers, worker=workers, how=st.sampled_from(["sent", "retry", "dead"]))
    def a_sender_settles_what_may_not_be_its_own(
        self, delivery_id: int, worker: str, how: str
    ) -> None:
        with suppress(*REFUSED_CHANGES):
            self._settle(delivery_id, worker, how)

    def _settle(self, delivery_id: int, worker: str, how: str) -> None:
        step: dict[str, Any] = {"worker_id": worker, "now": self.now}
        if how in ("sent", "confirmed"):
            confirmed = how == "confirmed"
            settle_sent(self.db, delivery_id, confirmed=confirmed, receipt={}, **step)
        elif how == "retry":
            settle_retry(self.db, delivery_id, code="c", text="t", due_at=self.now, **step)
        elif how == "dead":
            settle_dead(self.db, delivery_id, code="c", text="t", **step)

    @rule(restarts=st.booleans())
    def a_sweep_takes_back_what_is_lost(self, restarts: bool) -> None:
        if restarts:
            lost = {one for one, (holder, _) in self.held.items() if holder.startswith("radnode/")}
            assert set(return_jobs_of(self.db, "radnode", now=self.now)) == lost
            return_deliveries_of(self.db, "radnode", now=self.now)
        else:
            lost = {one for one, (_, lease_end) in self.held.items() if lease_end < self.now}
            assert set(return_expired(self.db, now=self.now)) == lost
            return_expired_deliveries(self.db, now=self.now)
        for job_id in lost:
            del self.held[job_id]

    @rule(what=st.sampled_from(["job", "delivery", "study"]), number=numbers, study=studies)
    def a_person_asks_for_another_try(self, what: str, number: int, study: str) -> None:
        with suppress(*REFUSED_CHANGES):
            if what == "job":
                retry_job(self.db, number, now=self.now)
            elif what == "delivery":
                retry_delivery(self.db, number, now=self.now)
            else:
                reopen_for_routing(self.db, study, now=self.now)

    @invariant()
    def jobs_are_held_by_one_worker_and_current_for_one_pipeline(self) -> None:
        jobs = list_jobs(self.db, limit=1000)
        running = [job for job in jobs if job.state is JobState.RUNNING]
        found = {job.job_id: (job.worker_id, job.lease_expires_at) for job in running}
        assert found == self.held
        succeeded = [job for job in jobs if job.state is JobState.SUCCEEDED]
        current = [(job.study_instance_uid, job.pipeline_name) for job in succeeded]
        assert len(current) == len(set(current))

    @invariant()
    def what_waits_or_counts_belongs_to_the_newest_routing(self) -> None:
        jobs = list_jobs(self.db, limit=1000)
        for study in list_studies(self.db, 10):
            of_study = [
                job for job in jobs if job.study_instance_uid == study.header.study_instance_uid
            ]
            routed = max((job.generation for job in of_study), default=0)
            if study.state is StudyState.ROUTED:
                assert routed == study.generation
            counting = [
                job for job in of_study if job.state in (JobState.QUEUED, JobState.SUCCEEDED)
            ]
            assert {job.generation for job in counting} <= {routed}

    def teardown(self) -> None:
        jobs = {job.job_id: job for job in list_jobs(self.db, limit=1000)}
        for job in jobs.values():
            self._check_job(job)
        for delivery in list_deliveries(self.db, limit=1000):
            self._check_delivery(delivery, jobs[delivery.job_id])

    def _check_job(self, job: JobRecord) -> None:
        events = job_events(self.db, job.job_id)
        check_story(events, job.state, JOB_TRANSITIONS)
        assert sum(one.to_state == JobState.RUNNING for one in events) >= job.attempts
        is_running = job.state is JobState.RUNNING
        assert (job.worker_id is not None) == (job.lease_expires_at is not None) == is_running

    def _check_delivery(self, delivery: DeliveryRecord, job: JobRecord) -> None:
        events = delivery_events(self.db, delivery.delivery_id)
        check_story(events, delivery.state, DELIVERY_TRANSITIONS)
        assert (delivery.worker_id is not None) == (delivery.state is DeliveryState.SENDING)
        is_pending = delivery.state is DeliveryState.PENDING
        if job.state is JobState.SUPERSEDED and is_pending and delivery.purpose is Purpose.TELL:
            assert events[-1].actor == Actor.PERSON


def check_story(events: tuple[EventRecord, ...], state: Any, transitions: Any) -> None:
    """The events form one chain from '' to the present state, each link in the table."""
    assert events[0].from_state == ""
    assert events[-1].to_state == state
    for earlier, later in pairwise(events):
        assert earlier.to_state == later.from_state
        assert earlier.at <= later.at
        allowed = transitions[later.from_state, later.to_state]
        actor = later.actor if later.actor in set(Actor) else Actor.WORKER
        assert actor in allowed.actors
