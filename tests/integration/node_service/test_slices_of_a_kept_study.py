from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.slice_coverage import SliceCoverage
from pipelines.definition_schema import PipelineDefinition
from pipelines.registry import RegisteredPipeline
from storage.database import Database, open_database, sqlite_url
from storage.instance_files import InstanceFiles
from storage.migrate import migrate
from storage.records import AlgorithmIdentity
from tests.integration.node_receive.mr_study import STUDY, mr_series
from tests.integration.node_service.kept_study import keep

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
    database = open_database(sqlite_url(tmp_path / "radnode.db"))
    migrate(database)
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


def _covered(
    db: Database, tmp_path: Path, paths: list[Path], *pipelines: RegisteredPipeline
) -> str | None:
    files = InstanceFiles(tmp_path / "data")
    keep(db, files, paths)
    registry = {pipeline.definition.name: pipeline for pipeline in pipelines}
    return SliceCoverage(db, files, registry).covered_pipeline(STUDY)


def test_the_pipeline_that_has_all_its_inputs_covers_the_study(
    db: Database, tmp_path: Path
) -> None:
    both, one = _pipeline("both", "MR", "CT"), _pipeline("one", "MR")

    assert _covered(db, tmp_path, mr_series(tmp_path, 5), both, one) == "one"


def test_a_missing_input_is_not_covered(db: Database, tmp_path: Path) -> None:
    assert _covered(db, tmp_path, mr_series(tmp_path, 5), _pipeline("both", "MR", "CT")) is None


def test_a_missing_slice_is_not_covered(db: Database, tmp_path: Path) -> None:
    paths = mr_series(tmp_path, 5)

    assert _covered(db, tmp_path, [*paths[:2], *paths[3:]], _pipeline("one", "MR")) is None


def test_a_file_that_is_lost_is_not_covered(db: Database, tmp_path: Path) -> None:
    files = InstanceFiles(tmp_path / "data")
    keep(db, files, mr_series(tmp_path, 5))
    next((files.data_dir / "instances").rglob("*.dcm")).unlink()

    coverage = SliceCoverage(db, files, {"one": _pipeline("one", "MR")})

    assert coverage.covered_pipeline(STUDY) is None
