"""What `radnode model check` says of a model before it is loaded."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings
from node.model_choice import chosen_model
from node.model_page import model_page
from tests.unit.pipelines.definitions import write_definition
from tests.unit.pipelines.threshold_bundle import write_bundle


def page(site: Path) -> str:
    folders = {"bundles_dir": site / "models", "definitions_dir": site / "definitions"}
    settings = Settings.model_validate(
        {
            "node": {"data_dir": site / "data"},
            "worker": {"enabled": False},
            "pipelines": {"enabled": [], **folders},
        }
    )
    return model_page(chosen_model(settings, "two_levels"), None)


def site_with(folder: Path, **changes: object) -> Path:
    write_bundle(folder / "models" / "two_levels")
    (folder / "definitions").mkdir()
    write_definition(folder / "definitions", **changes)
    return folder


def test_the_definition_that_names_the_model_is_used(tmp_path: Path) -> None:
    assert "definition   two_levels\n" in page(site_with(tmp_path))


def test_a_wrong_definition_that_names_the_model_is_told(tmp_path: Path) -> None:
    told = page(site_with(tmp_path, inputs={"T1": {"where": [], "slices": {"min": 3}}}))
    assert "the one that names it is wrong; a proposal is used" in told
    assert "not used     " in told
    assert "two_levels.yaml" in told
    assert "inputs.T1" in told


def test_a_wrong_definition_of_another_model_is_not_told(tmp_path: Path) -> None:
    told = page(site_with(tmp_path, bundle="other", nonsense=1))
    assert "none names it; a proposal is used" in told
    assert "not used" not in told
