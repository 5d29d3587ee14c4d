from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from config.errors import InvalidConfig
from config.settings import FolderDestination, PipelineSettings, Settings
from node.offered_pipelines import offered_pipelines, pipeline_problems
from pipelines.errors import InvalidDefinition
from pipelines.registry import SHIPPED_DEFINITIONS

NAME = "hippocampus_mr"


def _settings(folder: Path, *destinations: str) -> Settings:
    """A node with one destination `ehr`, whose pipeline sends to these."""
    definition = yaml.safe_load((SHIPPED_DEFINITIONS / f"{NAME}.yaml").read_text())
    definition["destinations"] = list(destinations)
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(definition))
    return Settings(
        pipelines=PipelineSettings(enabled=(NAME,), definitions_dir=folder),
        destinations=(FolderDestination(type="folder", name="ehr"),),
    )


def test_a_pipeline_whose_destinations_are_configured_is_offered(tmp_path: Path) -> None:
    assert list(offered_pipelines(_settings(tmp_path, "ehr"))) == [NAME]
    assert list(offered_pipelines(_settings(tmp_path))) == [NAME]


def test_a_pipeline_whose_results_would_go_nowhere_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="pacs9: no such destination") as caught:
        offered_pipelines(_settings(tmp_path, "ehr", "pacs9"))

    (problem,) = caught.value.problems
    assert NAME in problem.source


def test_a_pipeline_without_a_definition_is_a_problem(tmp_path: Path) -> None:
    settings = Settings(pipelines=PipelineSettings(enabled=("liver",), definitions_dir=tmp_path))

    with pytest.raises(InvalidDefinition, match="liver"):
        offered_pipelines(settings)


def test_the_problems_of_all_pipelines_are_found_at_once(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "pacs9")
    enabled = ("liver", NAME, "lung")
    wrong = settings.model_copy(
        update={"pipelines": settings.pipelines.model_copy(update={"enabled": enabled})}
    )

    told = [str(problem) for problem in pipeline_problems(wrong)]

    assert ["liver" in told[0], "lung" in told[1], "pacs9" in told[2]] == [True, True, True]
    assert len(pipeline_problems(wrong, {"destinations"})) == 2
    assert pipeline_problems(wrong, {"pipelines"}) == ()
