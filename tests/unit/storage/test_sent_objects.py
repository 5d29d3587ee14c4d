from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.deliveries import settle_sent
from storage.delivery_reads import get_delivery
from storage.jobs import finished_job
from storage.overview import study_rows
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import (
    FALLBACK_KEY,
    LEFT_OUT_KEY,
    RECEIPT_KEY,
    REJECTED_KEY,
    UNCONFIRMED_KEY,
    SentObject,
    as_the_pacs_has_it,
    objects_at_pacs,
    objects_of_delivery,
    sent_objects,
    told,
)
from tests.unit.storage.samples import NOW, WORKER, claim_delivery, make_deliveries

LABEL_MAP = SentObject(
    ObjectKind.SEG,
    "LABELMAP",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "2.25.71",
    "2.25.72",
    "1.2.840.10008.1.2.5",
)
PART = SentObject(
    ObjectKind.SEG,
    "LABELMAP",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "2.25.73",
    "2.25.74",
    "1.2.840.10008.1.2.5",
)


def _delivered(db: Database, *sent: SentObject) -> int:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db, now=NOW).delivery_id
    settle_sent(
        db,
        delivery_id,
        worker_id=WORKER,
        confirmed=False,
        receipt={"2.25.71": "0x0000", RECEIPT_KEY: told(sent)},
        now=NOW,
    )
    return delivery_id


def test_what_was_sent_is_read_back_from_the_receipt(db: Database) -> None:
    delivery_id = _delivered(db, LABEL_MAP, PART)
    assert sent_objects(get_delivery(db, delivery_id).receipt) == (LABEL_MAP, PART)
    assert objects_of_delivery(db, delivery_id) == (LABEL_MAP, PART)
    assert sent_objects({"2.25.71": "0x0000"}) == ()


def test_the_status_tells_what_was_really_sent(db: Database) -> None:
    _delivered(db, LABEL_MAP)
    (study,) = study_rows(db, 5)
    assert study.jobs[0].deliveries[0].sent == (LABEL_MAP,)


def uids_of(finished: FinishedJob) -> set[str]:
    return {made.sop_instance_uid for made in finished.objects}


def test_every_uid_is_known_under_which_an_object_was_kept_or_sent(db: Database) -> None:
    """Taken-back ones as well: a study in an EHR may still list them."""
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db, now=NOW).delivery_id
    receipt = {RECEIPT_KEY: told((LABEL_MAP,)), REJECTED_KEY: told((PART,))}
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=True, receipt=receipt, now=NOW)
    kept = finished_job(db, get_delivery(db, delivery_id).job_id)
    named = as_the_pacs_has_it(db, kept)
    assert named.known_uids == uids_of(kept) | {"2.25.71", "2.25.73"}


def test_a_report_names_the_objects_that_the_pacs_has(db: Database) -> None:
    job_id = get_delivery(db, _delivered(db, LABEL_MAP, PART)).job_id
    kept = finished_job(db, job_id)
    named = as_the_pacs_has_it(db, kept)
    assert [made.kind for made in named.objects] == [ObjectKind.SEG, ObjectKind.SEG, ObjectKind.SR]
    assert [made.series_instance_uid for made in named.objects[:2]] == ["2.25.72", "2.25.74"]
    assert named.objects[2] == kept.objects[1]


@pytest.mark.parametrize("sent", [(), None], ids=["nothing_sent", "not_yet_sent"])
def test_a_report_names_the_kept_objects_where_no_pacs_has_any(
    db: Database, sent: tuple[SentObject, ...] | None
) -> None:
    if sent is None:
        make_deliveries(db, "pacs")
        job_id = claim_delivery(db, now=NOW).job_id
    else:
        job_id = get_delivery(db, _delivered(db)).job_id
    kept = finished_job(db, job_id)
    assert as_the_pacs_has_it(db, kept) == replace(kept, known_uids=frozenset(uids_of(kept)))


PICTURE = SentObject(
    ObjectKind.SC, "", "1.2.840.10008.5.1.4.1.1.7", "2.25.75", "2.25.76", "1.2.840.10008.1.2.1"
)


def test_a_report_refers_to_no_segmentation_that_no_pacs_has(db: Database) -> None:
    job_id = get_delivery(db, _delivered(db, PICTURE)).job_id
    named = as_the_pacs_has_it(db, finished_job(db, job_id))
    assert {ObjectKind.SEG, ObjectKind.SR} == named.missing_at_pacs
    assert objects_at_pacs(named) == ()


def test_of_each_kind_the_first_pacs_that_has_it_is_named(db: Database) -> None:
    make_deliveries(db, "pacs", "pacs2")
    for name, sent in (("pacs", (PICTURE,)), ("pacs2", (LABEL_MAP,))):
        delivery_id = claim_delivery(db, name, now=NOW).delivery_id
        receipt = {RECEIPT_KEY: told(sent)}
        settle_sent(db, delivery_id, worker_id=WORKER, confirmed=True, receipt=receipt, now=NOW)
    job_id = get_delivery(db, delivery_id).job_id
    named = objects_at_pacs(as_the_pacs_has_it(db, finished_job(db, job_id)))
    assert [made.sop_instance_uid for made in named] == ["2.25.71"]


def test_the_status_tells_why_a_pacs_got_no_segmentation(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db, now=NOW).delivery_id
    receipt = {RECEIPT_KEY: told((PICTURE,)), FALLBACK_KEY: "it takes none"}
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=False, receipt=receipt, now=NOW)
    (study,) = study_rows(db, 5)
    (delivery,) = study.jobs[0].deliveries
    assert (delivery.fallback, delivery.sent) == ("it takes none", (PICTURE,))


def test_the_status_tells_what_a_pacs_did_not_take_beside_the_result(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db, now=NOW).delivery_id
    receipt = {RECEIPT_KEY: told((PICTURE,)), LEFT_OUT_KEY: "PR: it takes none"}
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=False, receipt=receipt, now=NOW)
    (study,) = study_rows(db, 5)
    assert study.jobs[0].deliveries[0].left_out == "PR: it takes none"


def test_a_success_without_proof_is_told_as_unconfirmed(db: Database) -> None:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db, now=NOW).delivery_id
    receipt = {RECEIPT_KEY: told((PICTURE,)), UNCONFIRMED_KEY: "no names"}
    settle_sent(db, delivery_id, worker_id=WORKER, confirmed=False, receipt=receipt, now=NOW)
    (study,) = study_rows(db, 5)
    assert study.jobs[0].deliveries[0].unconfirmed == "no names"
