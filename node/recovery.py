"""What a node does about its own past when it starts: a killed process leaves claims behind."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from config.settings import Destination
from node.delivery_plan import plan_of
from storage.abandoned_receipts import record_abandoned
from storage.database import Database
from storage.deliveries import return_deliveries_of
from storage.instance_files import InstanceFiles
from storage.jobs import return_jobs_of
from storage.orphaned_files import sweep_orphans

log = structlog.get_logger()


def recover(
    db: Database,
    files: InstanceFiles,
    node_name: str,
    destinations: tuple[Destination, ...] = (),
) -> None:
    """Take back everything that former processes of this node held, without waiting for leases.

    Their associations end later, when senders can come back (`node.receivers`). Files that they
    received, but never acknowledged, are deleted: they hold patient data. What they acknowledged by
    a receipt alone gets its row.
    Only sound while the data directory is locked: no other process of this node is alive then.
    """
    now = datetime.now(UTC)
    # Before the sweep of files: what was acknowledged and has no row yet is no orphan.
    record_receipts(db, files)
    jobs = take_back_jobs(db, node_name, destinations)
    deliveries = return_deliveries_of(db, worker_prefix(node_name), now=now)
    log.info(
        "recovered",
        jobs=len(jobs),
        deliveries=len(deliveries),
        incoming_files=files.sweep_incoming(None),
        orphaned_files=sweep_orphans(db, files, older_than=None),
    )


def record_receipts(db: Database, files: InstanceFiles) -> None:
    """Write the rows that killed receivers owe to what they acknowledged.

    Raises:
        DatabaseUnavailable, OutOfSpace: try again later; nothing is lost.
    """
    found = record_abandoned(db, files)
    if found.recorded:
        log.warning("receipts_recorded", instances=found.recorded)
    if found.left:
        log.error("receipts_not_recorded", instances=found.left)


def take_back_jobs(
    db: Database,
    node_name: str,
    destinations: tuple[Destination, ...] = (),
    *,
    is_attempt: bool = True,
) -> tuple[int, ...]:
    """Return every running job of this node's worker, which is known to be dead, to the queue.

    `is_attempt` False, where the worker was asked to stop: however often an operator restarts
    the node, a long job does not run out of attempts. `destinations` that want it are told of a job
    that has no attempt left.
    """
    now = datetime.now(UTC)
    plan = plan_of(destinations, now)
    prefix = worker_prefix(node_name)
    return return_jobs_of(db, prefix, now=now, is_attempt=is_attempt, plan=plan)


def worker_prefix(node_name: str) -> str:
    """Return how the ids of this node's workers begin; a node's name holds no slash."""
    return f"{node_name}/"
