from __future__ import annotations

import pytest

from storage.database import Database
from storage.deliveries import (
    claim_next_delivery,
    retry_delivery,
    settle_dead,
    settle_retry,
    settle_sent,
)
from storage.delivery_reads import get_delivery
from storage.jobs import finished_job, refuse_job
from storage.records import (
    DeliveryState,
    JobState,
    Purpose,
)
from tests.unit.storage.samples import (
    LEASE_S,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    new_job,
)
from tests.unit.storage.withdrawn_deliveries import (
    DEAD,
    EHR,
    PACS,
    PENDING,
    RIS,
    SENDING,
    A,
    B,
    arrived,
    only,
    send,
    told,
)


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "sent"])
@pytest.mark.parametrize("kind", ["ehr", "ris"])
def test_what_arrived_of_a_replaced_job_is_withdrawn(
    db: Database, kind: str, confirmed: bool
) -> None:
    job_id = told(db, EHR if kind == "ehr" else RIS)
    arrived(db, kind, confirmed=confirmed)
    send(db, B)

    withdrawal = only(db, job_id)
    assert (withdrawal.purpose, withdrawal.state) == (Purpose.WITHDRAW, PENDING)
    assert withdrawal.receipt == {"report": "DiagnosticReport/7"}
    assert (withdrawal.attempts, withdrawal.reason_code) == (0, "newer_generation")
    assert finished_job(db, job_id).job.state is JobState.SUPERSEDED


def test_a_withdrawal_is_claimed_settled_and_done_once(db: Database) -> None:
    job_id = told(db, EHR)
    arrived(db, "ehr")
    send(db, B)
    assert arrived(db, "ehr") == only(db, job_id).delivery_id
    assert (only(db, job_id).state, only(db, job_id).purpose) == (
        DeliveryState.CONFIRMED,
        Purpose.WITHDRAW,
    )
    send(db, new_job("in-3"))
    assert only(db, job_id).state is DeliveryState.CONFIRMED


def test_what_was_not_sent_is_dropped_and_needs_no_withdrawal(db: Database) -> None:
    job_id = told(db, EHR)
    send(db, B)
    assert (only(db, job_id).state, only(db, job_id).purpose) == (DEAD, Purpose.TELL)


def test_objects_in_a_pacs_are_left_as_they_are(db: Database) -> None:
    job_id = told(db, PACS)
    arrived(db, "pacs")
    send(db, B)
    assert only(db, job_id).purpose is Purpose.TELL


def test_what_is_being_sent_is_withdrawn_when_it_has_arrived(db: Database) -> None:
    job_id = told(db, EHR)
    delivery = claim_delivery(db, "ehr", now=after(3))
    send(db, B)
    assert only(db, job_id).state is SENDING
    settle_sent(
        db, delivery.delivery_id, worker_id=WORKER, confirmed=True, receipt={}, now=after(4)
    )
    assert (only(db, job_id).state, only(db, job_id).purpose) == (PENDING, Purpose.WITHDRAW)


def test_an_answer_that_was_lost_is_taken_for_a_report_that_may_be_there(db: Database) -> None:
    job_id = told(db, EHR)
    delivery = claim_delivery(db, "ehr", now=after(3))
    send(db, B)
    late = {"worker_id": WORKER, "code": "timeout", "text": "no answer"}
    settle_retry(db, delivery.delivery_id, due_at=after(9), now=after(4), **late)
    assert (only(db, job_id).state, only(db, job_id).purpose) == (PENDING, Purpose.WITHDRAW)


def test_a_withdrawal_that_fails_waits_and_a_dead_one_can_be_tried_again(db: Database) -> None:
    job_id = told(db, EHR)
    arrived(db, "ehr")
    send(db, B)
    delivery_id = claim_delivery(db, "ehr", now=after(5)).delivery_id
    settle_retry(
        db,
        delivery_id,
        worker_id=WORKER,
        code="timeout",
        text="no answer",
        due_at=after(6),
        now=after(5),
    )
    assert (only(db, job_id).state, only(db, job_id).purpose) == (PENDING, Purpose.WITHDRAW)
    claim_delivery(db, "ehr", now=after(6))
    settle_dead(db, delivery_id, worker_id=WORKER, code="refused", text="no", now=after(7))
    retry_delivery(db, delivery_id, now=after(8))
    assert (only(db, job_id).state, only(db, job_id).purpose) == (PENDING, Purpose.WITHDRAW)


def test_a_result_that_is_current_again_is_told_instead_of_withdrawn(db: Database) -> None:
    job_id = told(db, EHR)
    arrived(db, "ehr")
    send(db, B)
    assert send(db, A) == (job_id,)
    assert claim(db, now=after(5)).job_id == job_id
    finish(db, job_id, deliveries=(EHR,), now=after(6))

    again = only(db, job_id)
    assert (again.state, again.purpose, again.receipt) == (PENDING, Purpose.TELL, {})


def test_the_report_of_a_refusal_is_withdrawn_and_told_again(db: Database) -> None:
    (job_id,) = send(db, A)
    claim(db, now=after(2))
    refuse_job(
        db,
        job_id,
        worker_id=WORKER,
        code="gap",
        text="a gap",
        now=after(2),
        plan=lambda _job: (EHR,),
    )
    arrived(db, "ehr")
    send(db, B)
    assert only(db, job_id).purpose is Purpose.WITHDRAW
    assert finished_job(db, job_id).job.state is JobState.REFUSED
    assert send(db, A) == ()
    assert (only(db, job_id).state, only(db, job_id).purpose) == (PENDING, Purpose.TELL)


def test_a_study_that_no_pipeline_takes_any_more_withdraws_its_reports(db: Database) -> None:
    job_id = told(db, EHR)
    arrived(db, "ehr")
    send(db, content="other")
    assert only(db, job_id).purpose is Purpose.WITHDRAW


def test_an_oru_waits_until_the_older_one_of_its_order_is_withdrawn(db: Database) -> None:
    older = told(db, RIS)
    arrived(db, "ris")
    (newer,) = send(db, B)
    claim(db, now=after(4))
    finish(db, newer, deliveries=(RIS,), now=after(4))

    first = claim_delivery(db, "ris", now=after(5))
    assert first.job_id == older
    claimed = claim_next_delivery(
        db, destination="ris", worker_id=WORKER, lease_s=LEASE_S, now=after(5)
    )
    assert claimed is None
    settle_sent(db, first.delivery_id, worker_id=WORKER, confirmed=True, receipt={}, now=after(6))
    assert claim_delivery(db, "ris", now=after(7)).job_id == newer
    assert get_delivery(db, first.delivery_id).purpose is Purpose.WITHDRAW
