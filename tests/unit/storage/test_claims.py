from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from storage.database import Database
from storage.deliveries import claim_next_delivery
from storage.jobs import claim_next_job, job_events
from tests.unit.storage.samples import (
    LEASE_S,
    NOW,
    make_deliveries,
    make_job,
    new_job,
)

WORKERS = 6


def _claim_all(claim_one: Callable[[str], int | None]) -> list[int]:
    """What all workers together claimed, each going on until nothing is left."""

    def work(number: int) -> list[int]:
        claimed = []
        while (row_id := claim_one(f"radnode/{number}")) is not None:
            claimed.append(row_id)
        return claimed

    with ThreadPoolExecutor(WORKERS) as pool:
        return [row_id for rows in pool.map(work, range(WORKERS)) for row_id in rows]


def test_two_workers_never_get_the_same_job(db: Database) -> None:
    made = [make_job(db, new_job(study=f"1.2.{number}")) for number in range(24)]

    def claim_one(worker_id: str) -> int | None:
        job = claim_next_job(db, worker_id=worker_id, lease_s=LEASE_S, now=NOW)
        return None if job is None else job.job_id

    claimed = _claim_all(claim_one)
    assert sorted(claimed) == made
    assert {len(job_events(db, job_id)) for job_id in made} == {2}


def test_two_senders_never_get_the_same_delivery(db: Database) -> None:
    for number in range(16):
        make_deliveries(db, "pacs", study=f"1.2.{number}")

    def claim_one(worker_id: str) -> int | None:
        delivery = claim_next_delivery(
            db, destination="pacs", worker_id=worker_id, lease_s=LEASE_S, now=NOW
        )
        return None if delivery is None else delivery.delivery_id

    claimed = Counter(_claim_all(claim_one))
    assert len(claimed) == 16
    assert set(claimed.values()) == {1}
