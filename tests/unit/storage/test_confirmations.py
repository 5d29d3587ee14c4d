from __future__ import annotations

from datetime import datetime

from storage import confirmations
from storage.database import Database
from storage.deliveries import settle_sent
from storage.delivery_reads import delivery_events, get_delivery
from storage.evidence_records import ConfirmationRecord, ConfirmationState
from storage.overview import study_rows
from storage.records import DeliveryState
from storage.sent_objects import objects_of_delivery
from tests.unit.storage.samples import (
    NOW,
    WORKER,
    after,
    claim_delivery,
    incoming,
    make_deliveries,
    make_job,
    new_job,
    receive,
)


def _sent(db: Database) -> int:
    make_deliveries(db, "pacs")
    return _settle(db, 0)


def _settle(db: Database, seconds: float) -> int:
    delivery_id = claim_delivery(db, now=after(seconds)).delivery_id
    settle_sent(
        db,
        delivery_id,
        worker_id=WORKER,
        confirmed=False,
        receipt={"1.2": "0x0000"},
        now=after(seconds),
    )
    return delivery_id


def _begin(db: Database, seconds: float = 1) -> int:
    return confirmations.begin_confirmations(db, "pacs", sent_after=NOW, now=after(seconds))


def _due(
    db: Database, now: datetime, destination: str = "pacs", limit: int = 10
) -> tuple[ConfirmationRecord, ...]:
    return confirmations.due_confirmations(db, destination, now=now, limit=limit)


def _unconfirmed(db: Database) -> str:
    (study,) = study_rows(db, 10)
    return study.jobs[0].deliveries[0].unconfirmed


def test_what_was_sent_is_asked_about_once(db: Database) -> None:
    delivery_id = _sent(db)
    assert _due(db, after(1), "pacs") == ()
    assert (_begin(db), _begin(db)) == (1, 0)
    (due,) = _due(db, after(1))
    assert (due.delivery_id, due.state) == (delivery_id, ConfirmationState.ASKING)
    assert _due(db, after(1), "pacs2") == ()


def test_what_was_sent_is_asked_about_once_when_the_clock_is_set_back(db: Database) -> None:
    make_deliveries(db, "pacs")
    _settle(db, 3600)
    assert (_begin(db, 1), _begin(db, 2)) == (1, 0)
    assert len(_due(db, after(1))) == 1


def test_what_was_sent_long_ago_is_left_alone(db: Database) -> None:
    _sent(db)
    assert confirmations.begin_confirmations(db, "pacs", sent_after=after(5), now=after(6)) == 0


def test_a_report_is_awaited_until_its_time(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    confirmations.await_report(db, delivery_id, transaction_uid="1.9", due_at=after(60))
    assert _due(db, after(59), "pacs") == ()
    assert _unconfirmed(db) == "awaited"
    (due,) = _due(db, after(60))
    assert due.state is ConfirmationState.AWAITED
    assert confirmations.delivery_of_transaction(db, "1.9") == due
    assert confirmations.delivery_of_transaction(db, "1.8") is None


def test_a_report_is_awaited_until_it_has_come_whatever_it_says(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    assert not confirmations.are_awaited(db, ["1.9"])
    confirmations.await_report(db, delivery_id, transaction_uid="1.9", due_at=after(60))
    assert confirmations.are_awaited(db, ["1.8", "1.9"])
    assert not confirmations.are_awaited(db, ["1.8"])
    assert not confirmations.are_awaited(db, [])
    _again(db, delivery_id)
    assert not confirmations.are_awaited(db, ["1.9"])


def test_a_confirmed_delivery_keeps_both_receipts(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    receipt = {"commitment": "1.9"}
    done = [
        confirmations.confirm(
            db, delivery_id, worker_id=WORKER, receipt=receipt, now=after(seconds)
        )
        for seconds in (2, 3)
    ]
    assert done == [True, False]
    delivery = get_delivery(db, delivery_id)
    assert delivery.state is DeliveryState.CONFIRMED
    assert delivery.receipt == {"1.2": "0x0000", "commitment": "1.9"}
    assert _unconfirmed(db) == ""
    assert _begin(db, 4) == 0


def test_what_is_not_kept_is_sent_and_asked_about_again(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    assert _again(db, delivery_id)
    delivery = get_delivery(db, delivery_id)
    assert (delivery.state, delivery.due_at) == (DeliveryState.PENDING, after(30))
    assert (delivery.reason_code, delivery.settled_at) == ("commitment_failed", None)
    assert delivery_events(db, delivery_id)[-1].from_state == "sent"
    assert not _again(db, delivery_id)
    assert _settle(db, 40) == delivery_id
    assert _begin(db, 41) == 1


def _again(db: Database, delivery_id: int) -> bool:
    return confirmations.send_again(
        db,
        delivery_id,
        worker_id=WORKER,
        code="commitment_failed",
        text="1 of 2",
        due_at=after(30),
        now=after(2),
    )


def test_what_a_newer_result_replaced_is_not_sent_again(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    receive(db, incoming(2))
    make_job(db, new_job("in-2"), now=after(2))
    assert not _again(db, delivery_id)
    assert get_delivery(db, delivery_id).state is DeliveryState.SENT


def test_what_nobody_will_say_stays_sent_with_the_reason(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    confirmations.give_up_confirmation(db, delivery_id, code="gave_up", text="7 days")
    assert _due(db, after(10_000), "pacs") == ()
    assert get_delivery(db, delivery_id).state is DeliveryState.SENT
    assert _unconfirmed(db) == "gave_up"
    assert _begin(db, 10_000) == 0


def test_a_try_that_failed_is_made_again_with_its_reason(db: Database) -> None:
    delivery_id = _sent(db)
    _begin(db)
    confirmations.postpone_confirmation(
        db,
        delivery_id,
        state=ConfirmationState.ASKING,
        due_at=after(30),
        code="no_association",
        text="down",
    )
    assert _unconfirmed(db) == "no_association"
    (due,) = _due(db, after(30))
    assert due.attempts == 1


def test_a_delivery_without_record_brought_what_the_job_made(db: Database) -> None:
    delivery_id = _sent(db)
    job_id = get_delivery(db, delivery_id).job_id
    sent = objects_of_delivery(db, delivery_id)
    assert [item.sop_instance_uid for item in sent] == [f"2.25.{job_id}.1", f"2.25.{job_id}.3"]
    assert sent[0].series_instance_uid == f"2.25.{job_id}.2"
