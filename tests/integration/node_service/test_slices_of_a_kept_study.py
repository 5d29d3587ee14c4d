from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import ReceiveSettings, SenderSettings, Settings
from node.slice_coverage import SliceCoverage
from pipelines.definition_schema import PipelineDefinition
from pipelines.registry import RegisteredPipeline, Registry
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.records import AlgorithmIdentity
from storage.studies import get_study, series_of_study
from tests.integration.node_receive.mr_study import STUDY, mr_series
from tests.integration.node_service.kept_study import keep
from tests.migrated_database import migrated_database

DEFAULTS = Settings()
CODE = {"value": "1", "scheme": "99TEST", "meaning": "Test"}
SEGMENT = {
    "label_value": 1,
    "label": "Brain",
    "tracking_id": "Brain",
    "category": CODE,
    "type": CODE,
    "color_rgb": [255, 0, 0],
}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.db")
    yield database
    database.close()


def _pipeline(name: str, *modalities: str) -> RegisteredPipeline:
    inputs = {
        f"image_{modality.lower()}": {"where": [{"tag": "Modality", "equals": modality}]}
        for modality in modalities
    }
    definition = PipelineDefinition.model_validate(
        {
            "name": name,
            "version": "1",
            "title": "Brain",
            "bundle": "brain",
            "inputs": inputs,
            "series_description": "AI brain",
            "procedure_reported": CODE,
            "segments": [SEGMENT],
        }
    )
    algorithm = AlgorithmIdentity("Brain", "1", "0" * 64, "2.25.1")
    return RegisteredPipeline(definition, Path("brain"), f"{name}-digest", "0" * 64, algorithm)


def _coverage(
    db: Database, files: InstanceFiles, registry: Registry, settings: Settings
) -> SliceCoverage:
    return SliceCoverage(settings, db, files, registry)


def _covered(
    db: Database,
    tmp_path: Path,
    paths: list[Path],
    *pipelines: RegisteredPipeline,
    settings: Settings = DEFAULTS,
) -> str | None:
    files = InstanceFiles(tmp_path / "data")
    keep(db, files, paths)
    registry = {pipeline.definition.name: pipeline for pipeline in pipelines}
    return _coverage(db, files, registry, settings).covered_pipeline(get_study(db, STUDY))


def test_the_pipeline_that_has_all_its_inputs_covers_the_study(
    db: Database, tmp_path: Path
) -> None:
    both, one = _pipeline("both", "MR", "CT"), _pipeline("one", "MR")

    assert _covered(db, tmp_path, mr_series(tmp_path, 5), both, one) == "one"


def test_a_study_of_which_a_file_cannot_be_read_now_is_not_covered(
    db: Database, tmp_path: Path
) -> None:
    files = InstanceFiles(tmp_path / "data")
    keep(db, files, mr_series(tmp_path, 5))
    for record in instances_of_series(db, series_of_study(db, STUDY)[0].header.series_instance_uid):
        files.absolute(record.path).unlink()
        files.absolute(record.path).mkdir()  # EISDIR, an error of the system
    coverage = _coverage(db, files, {"one": _pipeline("one", "MR")}, DEFAULTS)

    assert coverage.covered_pipeline(get_study(db, STUDY)) is None


def test_a_missing_input_is_not_covered(db: Database, tmp_path: Path) -> None:
    assert _covered(db, tmp_path, mr_series(tmp_path, 5), _pipeline("both", "MR", "CT")) is None


def test_a_missing_slice_is_not_covered(db: Database, tmp_path: Path) -> None:
    paths = mr_series(tmp_path, 5)

    assert _covered(db, tmp_path, [*paths[:2], *paths[3:]], _pipeline("one", "MR")) is None


def test_a_file_that_is_lost_is_not_covered(db: Database, tmp_path: Path) -> None:
    files = InstanceFiles(tmp_path / "data")
    keep(db, files, mr_series(tmp_path, 5))
    next((files.data_dir / "instances").rglob("*.dcm")).unlink()

    coverage = _coverage(db, files, {"one": _pipeline("one", "MR")}, DEFAULTS)

    assert coverage.covered_pipeline(get_study(db, STUDY)) is None


def test_only_the_pipelines_for_the_sender_count(db: Database, tmp_path: Path) -> None:
    sender = SenderSettings(ae_title="PACS", pipelines=("two",))
    settings = Settings(receive=ReceiveSettings(senders=(sender,)))
    one, two = _pipeline("one", "MR"), _pipeline("two", "MR")

    assert _covered(db, tmp_path, mr_series(tmp_path, 5), one, two, settings=settings) == "two"
