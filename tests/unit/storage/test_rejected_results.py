"""A note of a PACS on our own SEG or SR withdraws the result wherever else it was told."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.deliveries import settle_sent
from storage.delivery_reads import list_deliveries
from storage.jobs import get_job
from storage.records import (
    DeliveryRecord,
    DeliveryState,
    DestinationKind,
    JobState,
    NewDelivery,
    ObjectKind,
    Purpose,
)
from storage.rejected_results import RESULT_REJECTED, ResultRules
from storage.rejection_notes import settle_note, unsettled_notes
from storage.rejection_records import NoteState, ReadNote, RejectionCode
from storage.sent_objects import RECEIPT_KEY, TRIED_KEY, SentObject
from storage.sent_objects import told as receipt_text
from tests.unit.storage.samples import NOW, SERIES, WORKER, after, claim, claim_delivery, receive
from tests.unit.storage.test_rejection_notes import note, own_studies, shown
from tests.unit.storage.withdrawn_deliveries import EHR, PACS, RIS, A, B, arrived, send, told

SEG, SR, SC = "2.25.800.1", "2.25.800.2", "2.25.800.3"
PACS2 = NewDelivery("pacs2", DestinationKind.DICOM, NOW, is_rejectable=True)
OF_PACS = ResultRules(is_heeded=True, destinations=frozenset({"pacs"}))
WRONG = [code for code in RejectionCode if code.withdraws]


def sent(*objects: tuple[ObjectKind, str]) -> str:
    return receipt_text([SentObject(kind, "", "1.2", uid, "1.3", "") for kind, uid in objects])


SEG_AND_SR = {RECEIPT_KEY: sent((ObjectKind.SEG, SEG), (ObjectKind.SR, SR))}


def to_pacs(db: Database, name: str = "pacs", receipt: dict[str, str] | None = None) -> None:
    delivery_id = claim_delivery(db, name, now=after(3)).delivery_id
    settle_sent(
        db,
        delivery_id,
        worker_id=WORKER,
        confirmed=True,
        receipt=receipt or SEG_AND_SR,
        now=after(3),
    )


def reject(
    db: Database,
    *uids: str,
    title: RejectionCode = RejectionCode.QUALITY,
    results: ResultRules = OF_PACS,
    sender: str = "ARCHIVE",
) -> None:
    receive(db, note(sender=sender))
    (kept,) = unsettled_notes(db)
    read = ReadNote(title, uids)
    settle_note(db, kept, read, may_reject=own_studies, results=results, now=after(9))


def to(db: Database, job_id: int) -> dict[str, DeliveryRecord]:
    return {each.destination: each for each in list_deliveries(db, job_id=job_id)}


def stands(db: Database, job_id: int) -> bool:
    return get_job(db, job_id).state is JobState.SUCCEEDED


@pytest.fixture
def job_id(db: Database) -> int:
    """A result that a PACS, an EHR and a RIS have."""
    made = told(db, PACS, EHR, RIS)
    to_pacs(db)
    arrived(db, "ehr")
    arrived(db, "ris")
    return made


@pytest.mark.parametrize("title", WRONG, ids=lambda title: title.value)
@pytest.mark.parametrize("named", [[SEG], [SR], [SEG, SR]], ids=["SEG", "SR", "both"])
def test_a_rejected_result_is_withdrawn_from_all_but_the_pacs_that_rejected_it(
    db: Database, job_id: int, title: RejectionCode, named: list[str]
) -> None:
    reject(db, *named, title=title)

    job = get_job(db, job_id)
    assert (job.state, job.reason_code) == (JobState.SUPERSEDED, RESULT_REJECTED)
    assert title.value in job.reason_text
    there = to(db, job_id)
    for name in ("ehr", "ris"):
        pending = there[name]
        assert (pending.purpose, pending.state) == (Purpose.WITHDRAW, DeliveryState.PENDING)
    assert (there["pacs"].purpose, there["pacs"].state) == (
        Purpose.TELL,
        DeliveryState.CONFIRMED,
    )
    assert [each.state for each in shown(db).rejection_notes] == [NoteState.OBEYED]


def test_images_stay_in_use_when_a_result_is_rejected(db: Database, job_id: int) -> None:
    reject(db, SEG, f"{SERIES}.1")
    assert not stands(db, job_id)
    assert shown(db).rejected_count == 0


def test_another_pacs_is_told_by_a_note_of_ours(db: Database) -> None:
    job_id = told(db, PACS, PACS2)
    to_pacs(db)
    to_pacs(db, "pacs2")
    reject(db, SR)
    assert to(db, job_id)["pacs2"].purpose is Purpose.WITHDRAW
    assert to(db, job_id)["pacs"].purpose is Purpose.TELL


def test_what_was_not_sent_yet_is_not_sent_any_more(db: Database) -> None:
    job_id = told(db, PACS, PACS2, EHR)
    to_pacs(db)
    reject(db, SEG)
    states = {name: each.state for name, each in to(db, job_id).items()}
    assert states == {
        "pacs": DeliveryState.CONFIRMED,
        "pacs2": DeliveryState.DEAD,
        "ehr": DeliveryState.DEAD,
    }


def test_a_part_that_arrived_of_a_broken_sending_may_be_rejected_too(db: Database) -> None:
    job_id = told(db, PACS, EHR)
    tried = {TRIED_KEY: sent((ObjectKind.SEG, SEG))}
    to_pacs(db, receipt=tried)
    reject(db, SEG)
    assert not stands(db, job_id)


@pytest.mark.parametrize(
    ("results", "sender", "is_withdrawn"),
    [
        (ResultRules(), "PACS", False),
        (ResultRules(is_heeded=True), "STRANGER", False),
        (ResultRules(is_heeded=True, destinations=frozenset({"pacs2"})), "ARCHIVE", False),
        (ResultRules(is_heeded=True), "PACS", True),
        (ResultRules(is_heeded=True, is_for_all=True), "STRANGER", True),
        (OF_PACS, "ARCHIVE", True),
    ],
    ids=["stand", "a stranger", "another PACS", "a sender of images", "for all", "a receiver"],
)
def test_who_may_reject_a_result(
    db: Database, job_id: int, results: ResultRules, sender: str, is_withdrawn: bool
) -> None:
    reject(db, SEG, results=results, sender=sender)
    assert stands(db, job_id) is not is_withdrawn


def test_a_result_that_is_deleted_because_its_time_is_over_was_not_wrong(
    db: Database, job_id: int
) -> None:
    reject(db, SEG, SR, title=RejectionCode.RETENTION_EXPIRED)
    assert stands(db, job_id)


def test_a_page_alone_is_no_result(db: Database) -> None:
    job_id = told(db, PACS, EHR)
    objects = (ObjectKind.SEG, SEG), (ObjectKind.SR, SR), (ObjectKind.SC, SC)
    to_pacs(db, receipt={RECEIPT_KEY: sent(*objects)})
    reject(db, SC)
    assert stands(db, job_id)


def test_a_page_is_the_result_where_nothing_else_went(db: Database) -> None:
    job_id = told(db, PACS, EHR)
    to_pacs(db, receipt={RECEIPT_KEY: sent((ObjectKind.SC, SC))})
    reject(db, SC)
    assert not stands(db, job_id)


def test_objects_of_another_result_change_nothing(db: Database, job_id: int) -> None:
    reject(db, "2.25.801")
    assert stands(db, job_id)
    assert [each.state for each in shown(db).rejection_notes] == [NoteState.NOT_OBEYED]


def test_a_rejected_result_is_not_made_again_for_the_same_images_and_model(
    db: Database, job_id: int
) -> None:
    reject(db, SEG)
    send(db, B)
    assert send(db, A, content="in-1") == ()
    assert get_job(db, job_id).state is JobState.SUPERSEDED
    assert get_job(db, job_id).reason_code == RESULT_REJECTED
    assert to(db, job_id)["ehr"].purpose is Purpose.WITHDRAW


def test_other_images_make_a_new_result_after_a_rejection(db: Database, job_id: int) -> None:
    reject(db, SEG)
    (newer,) = send(db, B)
    assert newer != job_id
    assert get_job(db, newer).state is JobState.QUEUED
    assert claim(db, now=after(20)).job_id == newer


def test_a_job_that_was_replaced_before_is_not_rejected_again(db: Database, job_id: int) -> None:
    send(db, B)
    reject(db, SEG)
    assert get_job(db, job_id).reason_code == "newer_generation"
