from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from storage.database import Database
from storage.deliveries import (
    claim_next_delivery,
    confirm_delivery,
    retry_delivery,
    return_deliveries_of,
    return_expired_deliveries,
    settle_dead,
    settle_retry,
    settle_sent,
)
from storage.delivery_reads import delivery_events, get_delivery, list_deliveries
from storage.errors import IllegalTransition, LeaseLost, NotFound
from storage.records import DeliveryRecord, DeliveryState
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
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

OTHER = "radnode/200"


def _to(db: Database, job_id: int, destination: str) -> DeliveryRecord:
    found = list_deliveries(db, job_id=job_id)
    (delivery,) = (one for one in found if one.destination == destination)
    return delivery


def _try_claim(db: Database, destination: str, now: datetime = NOW) -> int | None:
    delivery = claim_next_delivery(
        db, destination=destination, worker_id=WORKER, lease_s=LEASE_S, now=now
    )
    return None if delivery is None else delivery.delivery_id


def _sent(db: Database, delivery_id: int, *, confirmed: bool = False) -> None:
    settle_sent(
        db,
        delivery_id,
        worker_id=WORKER,
        confirmed=confirmed,
        receipt={"status": "0000"},
        now=after(1),
    )


def _again(db: Database, delivery_id: int, *, due_at: datetime) -> None:
    settle_retry(
        db,
        delivery_id,
        worker_id=WORKER,
        code="no_connection",
        text="the receiver does not answer",
        due_at=due_at,
        now=after(1),
    )


def _dead(db: Database, delivery_id: int) -> None:
    text = "the receiver refuses the object"
    settle_dead(db, delivery_id, worker_id=WORKER, code="refused", text=text, now=after(1))


def test_a_claimed_delivery_is_leased_to_its_sender(db: Database) -> None:
    job_id = make_deliveries(db, "pacs")
    delivery = claim_delivery(db, now=after(5))
    assert (delivery.job_id, delivery.state, delivery.attempts) == (
        job_id,
        DeliveryState.SENDING,
        1,
    )
    assert (delivery.worker_id, delivery.lease_expires_at) == (WORKER, after(5 + LEASE_S))
    assert _try_claim(db, "pacs", after(9)) is None


def test_each_destination_claims_its_own_deliveries(db: Database) -> None:
    make_deliveries(db, "pacs", "pacs2")
    assert _try_claim(db, "elsewhere") is None
    assert claim_delivery(db, "pacs2").destination == "pacs2"
    assert claim_delivery(db, "pacs").destination == "pacs"


def test_the_delivery_that_is_due_longest_comes_first(db: Database) -> None:
    due = []
    for number, seconds in enumerate((20, 10)):
        job_id = make_job(db, new_job(study=f"1.2.{number}"))
        claim(db)
        finish(db, job_id, deliveries=to_destinations("pacs", now=after(seconds)))
        due.append(_to(db, job_id, "pacs").delivery_id)
    assert [_try_claim(db, "pacs", after(30)) for _ in range(2)] == due[::-1]


@pytest.mark.parametrize(
    ("confirmed", "state"), [(False, DeliveryState.SENT), (True, DeliveryState.CONFIRMED)]
)
def test_a_sent_delivery_keeps_its_receipt(
    db: Database, confirmed: bool, state: DeliveryState
) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    _sent(db, delivery_id, confirmed=confirmed)
    delivery = get_delivery(db, delivery_id)
    assert (delivery.state, delivery.receipt) == (state, {"status": "0000"})
    assert (delivery.settled_at, delivery.worker_id) == (after(1), None)


def test_a_sent_delivery_may_be_confirmed_later(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    arguments = {"worker_id": WORKER, "receipt": {"commitment": "2.25.5"}}
    with pytest.raises(IllegalTransition):
        confirm_delivery(db, delivery_id, now=after(2), **arguments)  # type: ignore[arg-type]
    _sent(db, delivery_id)
    confirm_delivery(db, delivery_id, now=after(2), **arguments)  # type: ignore[arg-type]
    delivery = get_delivery(db, delivery_id)
    assert delivery.state is DeliveryState.CONFIRMED
    assert delivery.receipt == {"status": "0000", "commitment": "2.25.5"}
    assert delivery.settled_at == after(1)


def test_a_delivery_that_did_not_work_is_pending_until_it_is_due_again(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    _again(db, delivery_id, due_at=after(30))
    assert get_delivery(db, delivery_id).reason_code == "no_connection"
    assert _try_claim(db, "pacs", after(29)) is None
    assert claim_delivery(db, now=after(30)).attempts == 2


def test_a_dead_delivery_stays_dead_until_a_person_asks(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    with pytest.raises(IllegalTransition):
        retry_delivery(db, delivery_id, now=after(2))
    _dead(db, delivery_id)
    assert _try_claim(db, "pacs", after(10_000)) is None
    retry_delivery(db, delivery_id, now=after(50))
    delivery = get_delivery(db, delivery_id)
    assert (delivery.state, delivery.attempts, delivery.due_at) == (
        DeliveryState.PENDING,
        0,
        after(50),
    )
    assert delivery.settled_at is None
    assert delivery_events(db, delivery_id)[-1].actor == "person"


def test_a_person_hurries_a_waiting_delivery_and_nothing_else_of_it_changes(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    _again(db, delivery_id, due_at=after(10_000))
    before, events = get_delivery(db, delivery_id), delivery_events(db, delivery_id)
    assert _try_claim(db, "pacs", after(50)) is None
    retry_delivery(db, delivery_id, now=after(50))
    assert get_delivery(db, delivery_id) == replace(before, due_at=after(50))
    assert delivery_events(db, delivery_id) == events
    retry_delivery(db, delivery_id, now=after(60))
    assert get_delivery(db, delivery_id).due_at == after(50)
    assert _try_claim(db, "pacs", after(60)) is not None


def test_a_delivery_that_is_not_there_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound):
        retry_delivery(db, 4711, now=NOW)
    with pytest.raises(NotFound):
        _sent(db, 4711)


def test_a_sender_that_lost_its_lease_settles_nothing(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    assert return_expired_deliveries(db, now=after(LEASE_S)) == ()
    assert return_expired_deliveries(db, now=after(LEASE_S + 1)) == (delivery_id,)
    claim_delivery(db, worker_id=OTHER, now=after(LEASE_S + 1))
    for settle in (_sent, _dead):
        with pytest.raises(LeaseLost):
            settle(db, delivery_id)
    with pytest.raises(LeaseLost):
        _again(db, delivery_id, due_at=NOW)
    assert get_delivery(db, delivery_id).worker_id == OTHER


def test_a_restarted_node_takes_back_its_own_deliveries_only(db: Database) -> None:
    make_deliveries(db, "pacs", "pacs2")
    mine = claim_delivery(db, "pacs", worker_id="radnode/1").delivery_id
    claim_delivery(db, "pacs2", worker_id="radnode2/1")
    assert return_deliveries_of(db, "radnode", now=after(1)) == (mine,)
    delivery = get_delivery(db, mine)
    assert (delivery.state, delivery.due_at) == (DeliveryState.PENDING, after(1))


def test_the_report_waits_for_the_images(db: Database) -> None:
    job_id = make_deliveries(db, "pacs", "ehr")
    assert _try_claim(db, "ehr", after(299)) is None
    _sent(db, claim_delivery(db).delivery_id)
    assert _to(db, job_id, "ehr").due_at == after(1)
    assert _try_claim(db, "ehr", after(1)) is not None


def test_the_report_waits_for_the_last_pacs(db: Database) -> None:
    job_id = make_deliveries(db, "pacs", "pacs2", "ehr")
    _sent(db, claim_delivery(db, "pacs").delivery_id)
    assert _to(db, job_id, "ehr").due_at == after(300)
    _sent(db, claim_delivery(db, "pacs2").delivery_id)
    assert _to(db, job_id, "ehr").due_at == after(1)


def test_a_pacs_that_refuses_does_not_hold_the_report(db: Database) -> None:
    job_id = make_deliveries(db, "pacs", "ehr")
    _dead(db, claim_delivery(db).delivery_id)
    assert _to(db, job_id, "ehr").due_at == after(1)


def test_a_pacs_that_is_down_holds_the_report_only_so_long(db: Database) -> None:
    make_deliveries(db, "pacs", "ehr")
    _again(db, claim_delivery(db).delivery_id, due_at=after(600))
    assert _try_claim(db, "ehr", after(299)) is None
    assert _try_claim(db, "ehr", after(300)) is not None


def test_a_report_that_is_being_retried_keeps_its_own_pace(db: Database) -> None:
    job_id = make_deliveries(db, "pacs", "ehr")
    report = claim_delivery(db, "ehr", now=after(300))
    _again(db, report.delivery_id, due_at=after(900))
    _sent(db, claim_delivery(db).delivery_id)
    assert _to(db, job_id, "ehr").due_at == after(900)


def test_another_jobs_report_is_left_alone(db: Database) -> None:
    make_deliveries(db, "pacs", "ehr")
    other = make_job(db, new_job(study="1.2.9"))
    claim(db)
    finish(db, other, deliveries=to_destinations("pacs", "ehr"))
    _sent(db, claim_delivery(db).delivery_id)
    assert _to(db, other, "ehr").due_at == after(300)


def test_what_was_replaced_while_it_was_being_sent_is_not_tried_again(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    finish(db, older, deliveries=to_destinations("pacs", "pacs2"))
    first, second = claim_delivery(db, "pacs"), claim_delivery(db, "pacs2")
    make_job(db, new_job("in-2"))
    _again(db, first.delivery_id, due_at=after(30))
    return_expired_deliveries(db, now=after(LEASE_S + 1))
    for delivery in (first, second):
        assert get_delivery(db, delivery.delivery_id).state is DeliveryState.DEAD


def test_deliveries_are_listed_newest_first(db: Database) -> None:
    make_deliveries(db, "pacs", "pacs2", "ehr")
    assert [one.destination for one in list_deliveries(db, limit=2)] == ["ehr", "pacs2"]


def test_every_change_has_one_event(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    _again(db, delivery_id, due_at=NOW)
    claim_delivery(db)
    _sent(db, delivery_id)
    changes = [(one.from_state, one.to_state) for one in delivery_events(db, delivery_id)]
    assert changes == [
        ("", "pending"),
        ("pending", "sending"),
        ("sending", "pending"),
        ("pending", "sending"),
        ("sending", "sent"),
    ]
