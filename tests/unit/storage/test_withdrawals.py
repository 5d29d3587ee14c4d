from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.deliveries import (
    claim_next_delivery,
    get_delivery,
    list_deliveries,
    retry_delivery,
    settle_dead,
    settle_retry,
    settle_sent,
)
from storage.delivery_progress import note_progress
from storage.jobs import finished_job, refuse_job
from storage.predecessors import named_predecessors, with_predecessors
from storage.records import (
    DeliveryRecord,
    DeliveryState,
    DestinationKind,
    JobState,
    NewDelivery,
    NewJob,
    ObjectKind,
    Purpose,
    Refusal,
)
from storage.sent_objects import (
    RECEIPT_KEY,
    REJECTED_KEY,
    TRIED_KEY,
    SentObject,
    all_rejected,
    rejected_objects,
)
from storage.sent_objects import told as receipt_text
from storage.studies import route
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
    make_ready,
    new_job,
    receive,
)

EHR = NewDelivery("ehr", DestinationKind.FHIR, NOW)
RIS = NewDelivery("ris", DestinationKind.HL7, NOW)
PACS = NewDelivery("pacs", DestinationKind.DICOM, NOW)
A, B = new_job("in-1"), new_job("in-2")
PENDING, DEAD, SENDING = DeliveryState.PENDING, DeliveryState.DEAD, DeliveryState.SENDING


def send(db: Database, *jobs: NewJob, content: str = "") -> tuple[int, ...]:
    """The study changes and is routed to these jobs, or to none."""
    receive(db, incoming(content=content or "".join(each.input_digest for each in jobs)))
    generation = make_ready(db)
    return route(
        db,
        STUDY,
        generation=generation,
        jobs=tuple(replace(each, generation=generation) for each in jobs),
        refusal=None if jobs else Refusal("no_match", "none"),
        now=after(1),
    )


def told(db: Database, *deliveries: NewDelivery) -> int:
    """A job with these deliveries, not sent yet."""
    (job_id,) = send(db, A)
    claim(db, now=after(2))
    finish(db, job_id, deliveries=deliveries, now=after(2))
    return job_id


def arrived(db: Database, destination: str, *, confirmed: bool = True) -> int:
    delivery_id = claim_delivery(db, destination, now=after(3)).delivery_id
    receipt = {"report": "DiagnosticReport/7"}
    settle_sent(
        db, delivery_id, worker_id=WORKER, confirmed=confirmed, receipt=receipt, now=after(3)
    )
    return delivery_id


def only(db: Database, job_id: int) -> DeliveryRecord:
    (delivery,) = list_deliveries(db, job_id=job_id)
    return delivery


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


SENT = SentObject(ObjectKind.SR, "", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.3", "2.25.4", "")
SEG = replace(SENT, kind=ObjectKind.SEG, sop_instance_uid="2.25.1")
NOTE = replace(SENT, kind=ObjectKind.KO, sop_instance_uid="2.25.9")
REJECTABLE = replace(PACS, is_rejectable=True)


def stored(db: Database, *objects: SentObject, **more: str) -> None:
    delivery_id = claim_delivery(db, "pacs", now=after(3)).delivery_id
    receipt = {RECEIPT_KEY: receipt_text(objects), **more}
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=False, receipt=receipt, now=after(3))


def test_what_a_pacs_has_is_withdrawn_where_it_takes_rejection_notes(db: Database) -> None:
    job_id = told(db, REJECTABLE)
    stored(db, SEG, SENT)
    send(db, B)
    withdrawal = only(db, job_id)
    assert (withdrawal.purpose, withdrawal.state) == (Purpose.WITHDRAW, PENDING)
    assert all_rejected(withdrawal.receipt) == (SEG, SENT)


def test_a_pacs_that_takes_none_keeps_what_it_has(db: Database) -> None:
    job_id = told(db, PACS)
    stored(db, SENT)
    send(db, B)
    assert (only(db, job_id).purpose, only(db, job_id).state) == (
        Purpose.TELL,
        DeliveryState.SENT,
    )


@pytest.mark.parametrize("tried", [(), (SEG,)], ids=["nothing", "half of it"])
def test_only_what_may_have_arrived_at_a_pacs_is_withdrawn(
    db: Database, tried: tuple[SentObject, ...]
) -> None:
    job_id = told(db, REJECTABLE)
    delivery_id = claim_delivery(db, "pacs", now=after(3)).delivery_id
    receipt = {TRIED_KEY: receipt_text(tried)}
    note_progress(db, delivery_id, worker_id=WORKER, receipt=receipt)
    send(db, B)
    settle_retry(
        db, delivery_id, worker_id=WORKER, code="aborted", text="", due_at=NOW, now=after(4)
    )
    expected = (Purpose.WITHDRAW, PENDING) if tried else (Purpose.TELL, DEAD)
    assert (only(db, job_id).purpose, only(db, job_id).state) == expected


def test_what_a_note_took_back_is_remembered_when_the_result_is_told_again(db: Database) -> None:
    job_id = told(db, REJECTABLE)
    stored(db, SEG, SENT)
    send(db, B)
    stored(db, NOTE, **{REJECTED_KEY: receipt_text((SEG, SENT))})
    send(db, A, content="as before")
    claim(db, now=after(5))
    finish(db, job_id, deliveries=(REJECTABLE,), now=after(5))
    again = only(db, job_id)
    assert (again.purpose, again.state) == (Purpose.TELL, PENDING)
    assert rejected_objects(again.receipt) == (SEG, SENT)


def test_a_note_that_was_never_tried_took_nothing_back(db: Database) -> None:
    job_id = told(db, REJECTABLE)
    stored(db, SENT)
    send(db, B)
    send(db, A, content="as before")
    claim(db, now=after(5))
    finish(db, job_id, deliveries=(REJECTABLE,), now=after(5))
    assert rejected_objects(only(db, job_id).receipt) == ()


def test_a_report_follows_on_the_replaced_one_that_the_same_pacs_has(db: Database) -> None:
    told(db, PACS)
    stored(db, SEG, SENT)
    (newer,) = send(db, B)
    claim(db, now=after(5))
    elsewhere = replace(PACS, destination="pacs2")
    finish(db, newer, deliveries=(PACS, elsewhere), now=after(5))
    named = {
        each.destination: named_predecessors(with_predecessors(db, each))
        for each in list_deliveries(db, job_id=newer)
    }
    assert named == {"pacs": (SENT,), "pacs2": ()}
