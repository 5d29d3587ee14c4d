"""Two changes at once that must know of each other: the second waits for the first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy.orm import Session

from storage.database import Database
from storage.deliveries import _settle_in, settle_sent
from storage.delivery_reads import list_deliveries
from storage.job_queue import enqueue
from storage.jobs import fail_job, get_job, refuse_job, return_jobs_of
from storage.records import DeliveryState, JobRecord, JobState, NewDelivery
from storage.rejections import (
    OTHERS,
    RejectionCount,
    _add,
    _surplus,
    add_rejections,
    list_rejections,
)
from storage.state_change import Actor, Step
from storage.studies import found_study
from tests.unit.storage.samples import (
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    make_deliveries,
    make_job,
    new_job,
    to_destinations,
)

# What waits for a lock waits for ever: this only has to be longer than a change takes.
LONG_ENOUGH_S = 1.0


def _while_open(
    transaction: AbstractContextManager[Session],
    first: Callable[[Session], object],
    second: Callable[[], object],
) -> None:
    """Do `first`, start `second` beside it, and only then commit the first."""
    with ThreadPoolExecutor(1) as pool:
        with transaction as session:
            first(session)
            future: Future[object] = pool.submit(second)
            wait([future], LONG_ENOUGH_S)
        future.result()


def test_of_two_dicom_deliveries_settled_at_once_the_later_one_frees_the_report(
    db: Database,
) -> None:
    job_id = make_deliveries(db, "pacs", "pacs2", "ehr")
    first, second = claim_delivery(db, "pacs"), claim_delivery(db, "pacs2")
    step = Step(Actor.WORKER, NOW, WORKER)

    def settle_second() -> None:
        settle_sent(
            db, second.delivery_id, worker_id=WORKER, confirmed=False, receipt={}, now=after(1)
        )

    _while_open(
        db.begin(),
        lambda session: _settle_in(session, job_id, first.delivery_id, DeliveryState.SENT, step),
        settle_second,
    )
    (report,) = (one for one in list_deliveries(db, job_id=job_id) if one.destination == "ehr")
    assert report.due_at == after(1)


def test_a_job_that_finishes_while_a_newer_one_is_queued_is_replaced(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)

    def queue_newer(session: Session) -> None:
        found_study(session, STUDY, lock=True)
        enqueue(session, new_job("in-2", generation=2), NOW)

    _while_open(
        db.begin(),
        queue_newer,
        lambda: finish(db, older, deliveries=to_destinations("pacs")),
    )
    assert get_job(db, older).state is JobState.SUPERSEDED
    assert list_deliveries(db, job_id=older) == ()


def _ended_beside_a_newer_one(
    db: Database, end: Callable[[int], object], *, max_attempts: int = 2
) -> int:
    """A job whose attempt ends without a result while a newer one is being queued."""
    older = make_job(db, new_job("in-1", max_attempts=max_attempts))
    claim(db)

    def queue_newer(session: Session) -> None:
        found_study(session, STUDY, lock=True)
        enqueue(session, new_job("in-2", generation=2), NOW)

    _while_open(db.begin(), queue_newer, lambda: end(older))
    return older


def _to_ehr(_job: JobRecord) -> tuple[NewDelivery, ...]:
    return tuple(to_destinations("ehr"))


def _fail(db: Database, job_id: int) -> None:
    fail_job(
        db,
        job_id,
        worker_id=WORKER,
        code="x",
        text="broke",
        retry_at=NOW,
        now=NOW,
        plan=_to_ehr,
    )


def _refuse(db: Database, job_id: int) -> None:
    refuse_job(
        db,
        job_id,
        worker_id=WORKER,
        code="x",
        text="no volume",
        now=NOW,
        plan=_to_ehr,
    )


def _lose_worker(db: Database, _job_id: int) -> None:
    return_jobs_of(db, WORKER, now=NOW, plan=_to_ehr)


@pytest.mark.parametrize("end", [_fail, _refuse, _lose_worker])
def test_an_end_without_a_result_is_not_told_while_a_newer_job_is_queued(
    db: Database, end: Callable[[Database, int], None]
) -> None:
    older = _ended_beside_a_newer_one(db, partial(end, db), max_attempts=1)
    assert list_deliveries(db, job_id=older) == ()


@pytest.mark.parametrize("end", [_fail, _lose_worker])
def test_an_attempt_that_ends_while_a_newer_job_is_queued_is_not_repeated(
    db: Database, end: Callable[[Database, int], None]
) -> None:
    older = _ended_beside_a_newer_one(db, partial(end, db))
    assert get_job(db, older).state is JobState.SUPERSEDED


def test_the_rarest_counts_are_folded_once_by_two_receivers_at_once(db: Database) -> None:
    counts = [RejectionCount("unknown", f"CT{n}", "10.0.0.1", 1 + n, NOW, NOW) for n in range(4)]
    add_rejections(db, counts, most_rows=4)

    def fold(session: Session) -> None:
        for row in _surplus(session, 2):
            session.delete(row)
            folded = replace(counts[0], calling_ae_title=OTHERS, address=OTHERS, count=row.count)
            _add(session, folded)
        session.flush()

    _while_open(db.begin(), fold, lambda: add_rejections(db, [], most_rows=2))
    assert sum(each.count for each in list_rejections(db)) == sum(each.count for each in counts)
