"""A study as the node keeps it after receiving and routing, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread

from config.settings import Settings
from node.routing import route_ready_studies
from pipelines.registry import Registry
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles
from storage.instances import record_instance
from storage.jobs import list_jobs
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.arrived_file import arrived


def keep(db: Database, files: InstanceFiles, paths: Sequence[Path]) -> None:
    """Keep instances as the listener does."""
    for path in paths:
        _keep(db, files, path)


def _keep(db: Database, files: InstanceFiles, path: Path) -> None:
    syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    header, digest = arrived(path, syntax)
    with files.open_incoming() as incoming:
        incoming.write(path.read_bytes())
        place = incoming.keep(
            header.study.study_instance_uid,
            header.series.series_instance_uid,
            header.sop_instance_uid,
            digest.dataset_digest,
        )
    record_instance(
        db,
        IncomingInstance(
            study=header.study,
            series=header.series,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=syntax,
            instance_number=header.instance_number,
            path=place,
            size_bytes=digest.size,
            dataset_digest=digest.dataset_digest,
            calling_ae_title="PACS",
            association_id=None,
            is_own_result=False,
            received_at=datetime.now(UTC),
        ),
    )


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
