"""Studies in which something waits, or that a person has to see to, are shown beyond any limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage import overview
from storage.database import Database
from storage.deliveries import retry_delivery, settle_dead, settle_sent
from storage.identity import keep_identity
from storage.jobs import fail_job
from storage.overview import study_count, study_rows
from storage.records import Refusal
from storage.studies import route
from tests.unit.storage.samples import (
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    incoming,
    make_deliveries,
    make_job,
    make_ready,
    new_job,
    receive,
)


def receiving(db: Database) -> None:
    receive(db)


def ready(db: Database) -> None:
    receive(db)
    make_ready(db)


def queued(db: Database) -> None:
    make_job(db)


def running(db: Database) -> None:
    make_job(db)
    claim(db)


def failed(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    fail_job(db, job_id, worker_id=WORKER, code="x", text="broke", retry_at=None, now=NOW)


def pending(db: Database) -> None:
    make_deliveries(db, "pacs")


def sending(db: Database) -> None:
    make_deliveries(db, "pacs")
    claim_delivery(db)


def dead(db: Database) -> int:
    make_deliveries(db, "pacs")
    delivery_id = claim_delivery(db).delivery_id
    settle_dead(db, delivery_id, worker_id=WORKER, code="refused", text="why", now=NOW)
    return delivery_id


def told(db: Database) -> None:
    make_deliveries(db, "ehr")
    number = claim_delivery(db, "ehr").delivery_id
    settle_sent(db, number, worker_id=WORKER, confirmed=True, receipt={"id": "1"}, now=NOW)


def outdated(db: Database) -> None:
    told(db)
    keep_identity(db, STUDY, {"PatientID": "PID-2"})


def dead_withdrawal(db: Database) -> None:
    told(db)
    make_job(db, new_job("in-2", generation=2))
    number = claim_delivery(db, "ehr").delivery_id
    settle_dead(db, number, worker_id=WORKER, code="refused", text="why", now=NOW)
    claim(db)
    refuse_newer(db)


def refuse(db: Database, study: str) -> None:
    generation = make_ready(db, study)
    refusal = Refusal("no_pipeline_matches", "none")
    route(db, study, generation=generation, jobs=(), refusal=refusal, now=NOW)


def refuse_newer(db: Database) -> None:
    """Something new comes for the study, and no pipeline takes it any more."""
    receive(db, incoming(2, content="newer"))
    refuse(db, STUDY)


def add_newer_studies(db: Database, count: int) -> None:
    for number in range(count):
        uid = f"1.2.{number}"
        receive(db, incoming(study=uid, series=f"{uid}.1", received_at=after(100 + number)))
        refuse(db, uid)


def shown(db: Database, limit: int) -> list[str]:
    return [row.study_instance_uid for row in study_rows(db, limit)]


@pytest.mark.parametrize(
    "unfinished",
    [receiving, ready, queued, running, failed, pending, sending, dead, outdated, dead_withdrawal],
)
def test_what_waits_or_needs_a_person_is_shown_however_many_newer_studies_there_are(
    db: Database, unfinished: Callable[[Database], object]
) -> None:
    unfinished(db)
    add_newer_studies(db, 3)

    assert shown(db, 1) == ["1.2.2", STUDY]
    assert study_count(db) == 4


def test_what_is_told_or_refused_makes_room_for_newer_studies(db: Database) -> None:
    told(db)
    add_newer_studies(db, 3)

    assert shown(db, 2) == ["1.2.2", "1.2.1"]


@pytest.mark.parametrize("replaced", [failed, dead])
def test_what_newer_work_has_replaced_needs_nobody(
    db: Database, replaced: Callable[[Database], object]
) -> None:
    replaced(db)
    refuse_newer(db)
    add_newer_studies(db, 2)

    assert shown(db, 1) == ["1.2.1"]


def test_the_delivery_that_a_person_has_sent_again_makes_room_when_it_is_there(
    db: Database,
) -> None:
    number = dead(db)
    add_newer_studies(db, 2)
    assert STUDY in shown(db, 1)

    retry_delivery(db, number, now=NOW)
    claim_delivery(db)
    settle_sent(db, number, worker_id=WORKER, confirmed=True, receipt={}, now=NOW)

    assert STUDY not in shown(db, 1)


def test_many_studies_are_read_in_parts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_AT_ONCE", 2)
    pending(db)
    add_newer_studies(db, 4)

    rows = study_rows(db, 4)

    assert [row.study_instance_uid for row in rows] == ["1.2.3", "1.2.2", "1.2.1", "1.2.0", STUDY]
    assert [len(row.jobs) for row in rows] == [1] * 5
