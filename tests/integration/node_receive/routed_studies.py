"""Studies that are received, made complete and routed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from config.settings import Settings
from node.routing import route_ready_studies
from pipelines.definition_schema import PipelineDefinition
from pipelines.registry import RegisteredPipeline
from storage import jobs
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.records import AlgorithmIdentity, JobRecord
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.arrived_file import keep
from tests.integration.node_receive.mr_study import ROOT, STUDY, mr_instance, write
from tests.migrated_database import migrated_database

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)

LOCALIZER = f"{ROOT}.1.2"

CODE = {"value": "1", "scheme": "99TEST", "meaning": "Test"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.db")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data")


def a_pipeline(
    name: str = "brain", *, modality: str = "MR", priority: int = 100
) -> RegisteredPipeline:
    definition = PipelineDefinition.model_validate(
        {
            "name": name,
            "version": "1",
            "title": "Brain",
            "bundle": "brain",
            "priority": priority,
            "inputs": {
                "image": {
                    "where": [
                        {"tag": "Modality", "equals": modality},
                        {"tag": "ImageType", "not_contains": "LOCALIZER"},
                    ]
                }
            },
            "series_description": "AI brain",
            "procedure_reported": CODE,
            "segments": [
                {
                    "label_value": 1,
                    "label": "Brain",
                    "tracking_id": "Brain",
                    "category": CODE,
                    "type": CODE,
                    "color_rgb": [255, 0, 0],
                }
            ],
            "destinations": ["pacs"],
        }
    )
    algorithm = AlgorithmIdentity("Brain", "1", "0" * 64, "2.25.1")
    return RegisteredPipeline(definition, Path("brain"), f"{name}-digest", "0" * 64, algorithm)


def receive(db: Database, files: InstanceFiles, dataset: Dataset, folder: Path) -> Path:
    """Keep one instance as the listener does; return its file."""
    return keep(db, files, write(dataset, folder), NOW)


def receive_study(db: Database, files: InstanceFiles, folder: Path, slices: int = 4) -> list[Path]:
    """A series of `slices` and a localizer of one."""
    scout = mr_instance(1, series=LOCALIZER)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SeriesNumber = 1
    kept = [receive(db, files, scout, folder)]
    for number in range(1, slices + 1):
        kept.append(receive(db, files, mr_instance(number), folder))
    return kept


def of_another_study(number: int) -> Dataset:
    """One slice of a study beside; its UID begins with that of the usual one."""
    slice_ = mr_instance(number, series=f"{STUDY}.8.1")
    slice_.StudyInstanceUID = f"{STUDY}.8"
    return slice_


def make_ready(db: Database, study_uid: str = STUDY) -> None:
    study = get_study(db, study_uid)
    assert mark_ready(
        db,
        study_uid,
        generation=study.generation,
        last_received_at=study.last_received_at,
        evidence="quiet_time",
        now=NOW,
    )


def route_all(
    db: Database,
    files: InstanceFiles,
    pipelines: Sequence[RegisteredPipeline],
    settings: Settings | None = None,
) -> int:
    registry = {pipeline.definition.name: pipeline for pipeline in pipelines}
    return route_ready_studies(db, files, registry, settings or Settings(), now=NOW)


def only_job(db: Database) -> JobRecord:
    (job,) = jobs.list_jobs(db, limit=10)
    return job
