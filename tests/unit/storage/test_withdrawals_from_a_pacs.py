"""What a PACS has of a replaced result is taken back where it takes rejection notes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.deliveries import settle_retry, settle_sent
from storage.delivery_progress import note_progress
from storage.delivery_reads import list_deliveries
from storage.predecessors import named_predecessors, with_predecessors
from storage.records import (
    DeliveryState,
    ObjectKind,
    Purpose,
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
from tests.unit.storage.samples import (
    NOW,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
)
from tests.unit.storage.withdrawn_deliveries import (
    DEAD,
    PACS,
    PENDING,
    A,
    B,
    only,
    send,
    told,
)

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
