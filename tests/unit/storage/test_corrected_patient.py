"""A person corrects the patient of a study: whom its reports named is kept where they went."""

from __future__ import annotations

from storage.database import Database
from storage.deliveries import return_deliveries_of, settle_sent
from storage.delivery_reads import list_deliveries
from storage.identity import keep_told_identity, told_identity
from storage.records import DeliveryRecord, DeliveryState, Purpose
from storage.studies import found_study
from tests.unit.storage.samples import STUDY, WORKER, after, claim_delivery
from tests.unit.storage.withdrawn_deliveries import EHR, RIS, B, arrived, only, send, told

_FORMER = {"PatientID": "PID-1"}


def _correct(db: Database) -> None:
    with db.begin() as session:
        found_study(session, STUDY, lock=True)
        keep_told_identity(session, STUDY, _FORMER)


def test_a_report_that_never_left_is_dropped_and_not_withdrawn(db: Database) -> None:
    job_id = told(db, RIS, EHR)
    _correct(db)
    send(db, B)
    ends = {(each.purpose, each.state) for each in list_deliveries(db, job_id=job_id)}
    assert ends == {(Purpose.TELL, DeliveryState.DEAD)}


def test_a_withdrawal_that_waits_goes_to_whom_the_report_named(db: Database) -> None:
    job_id = told(db, RIS)
    arrived(db, "ris")
    send(db, B)
    _correct(db)
    assert only(db, job_id).purpose is Purpose.WITHDRAW
    assert told_identity(only(db, job_id).receipt) == _FORMER


def test_a_report_in_a_senders_hand_may_have_named_the_former_patient(db: Database) -> None:
    job_id = told(db, RIS)
    claim_delivery(db, "ris", now=after(3))
    _correct(db)
    assert told_identity(only(db, job_id).receipt) == _FORMER


def test_a_report_that_was_being_sent_is_taken_back_from_whom_it_named(db: Database) -> None:
    job_id = told(db, RIS)
    claimed = claim_delivery(db, "ris", now=after(3))
    _correct(db)
    _settle(db, claimed)
    assert told_identity(only(db, job_id).receipt) == _FORMER


def test_a_report_that_is_told_anew_names_the_patient_of_now(db: Database) -> None:
    job_id = told(db, RIS)
    claim_delivery(db, "ris", now=after(3))
    _correct(db)
    return_deliveries_of(db, WORKER, now=after(4))
    _settle(db, claim_delivery(db, "ris", now=after(5)))
    assert told_identity(only(db, job_id).receipt) == {}


def _settle(db: Database, claimed: DeliveryRecord) -> None:
    settle_sent(
        db,
        claimed.delivery_id,
        worker_id=WORKER,
        confirmed=True,
        receipt={"acknowledged": "AA"},
        now=after(6),
        claimed=claimed.receipt,
    )
