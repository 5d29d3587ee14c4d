"""A study as the node keeps it after receiving and routing, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from config.settings import Settings
from node.routing import route_ready_studies
from pipelines.registry import Registry
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.jobs import list_jobs
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.arrived_file import keep as keep_one


def keep(db: Database, files: InstanceFiles, paths: Sequence[Path]) -> None:
    """Keep instances as the listener does."""
    for path in paths:
        keep_one(db, files, path, datetime.now(UTC))


def route(
    db: Database, files: InstanceFiles, registry: Registry, settings: Settings, study_uid: str
) -> int:
    """Take the study as complete, route it to one job, and return the job's number."""
    study = get_study(db, study_uid)
    now = datetime.now(UTC)
    assert mark_ready(
        db,
        study_uid,
        generation=study.generation,
        last_received_at=study.last_received_at,
        evidence="quiet_time",
        now=now,
    )
    assert route_ready_studies(db, files, registry, settings, now=now) == 1
    return list_jobs(db, limit=1)[0].job_id
