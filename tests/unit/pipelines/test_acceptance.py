"""Only accepted models are offered, and a changed file is told by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import PipelineSettings
from pipelines.acceptance import (
    ACCEPTED_FILE,
    AcceptedModel,
    read_acceptances,
    record_acceptance,
)
from pipelines.errors import InvalidBundle
from pipelines.model_source import model_files
from pipelines.registry import digest_of, load_registry
from tests.unit.pipelines.definitions import write_definition
from tests.unit.pipelines.threshold_bundle import write_bundle


def accepted(bundle: Path) -> AcceptedModel:
    files = model_files(bundle)
    return AcceptedModel(bundle.name, digest_of(files), files, "2026-01-01", "somebody", "passed")


def offer(folder: Path) -> None:
    settings = PipelineSettings(enabled=("two_levels",), definitions_dir=folder, bundles_dir=folder)
    load_registry(settings, read_acceptances(folder / "data"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "two_levels")
    write_definition(tmp_path)
    return tmp_path


def test_a_model_that_nobody_accepted_is_not_offered(site: Path) -> None:
    with pytest.raises(InvalidBundle, match=r"two_levels: not accepted yet.*radnode model accept"):
        offer(site)


def test_an_accepted_model_is_offered(site: Path) -> None:
    record_acceptance(site / "data", accepted(site / "two_levels"))
    offer(site)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("configs/inference.json", "configs/inference.json changed"),
        ("models/model.safetensors", "models/model.safetensors changed"),
        ("scripts.py", "scripts.py is new"),
    ],
)
def test_a_file_that_changed_is_named(site: Path, name: str, told: str) -> None:
    record_acceptance(site / "data", accepted(site / "two_levels"))
    with (site / "two_levels" / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InvalidBundle, match=f"{told} since it was accepted"):
        offer(site)


def test_a_definition_can_pin_the_files_itself(site: Path) -> None:
    write_definition(site, model_files=model_files(site / "two_levels"))
    offer(site)
    (site / "two_levels" / "configs" / "inference.json").write_text("{}")
    with pytest.raises(InvalidBundle, match=r"configs/inference\.json changed"):
        offer(site)


def test_earlier_acceptances_stay_on_record(site: Path) -> None:
    first = accepted(site / "two_levels")
    record_acceptance(site / "data", first)
    record_acceptance(site / "data", replace(first, model_digest="0" * 64, left_right="failed"))
    assert [one.left_right for one in read_acceptances(site / "data").models] == [
        "passed",
        "failed",
    ]
    offer(site)
    assert (site / "data" / ACCEPTED_FILE).stat().st_mode & 0o077 == 0


def test_a_record_that_cannot_be_read_is_told(site: Path) -> None:
    (site / "data").mkdir()
    (site / "data" / ACCEPTED_FILE).write_text("[{]")
    with pytest.raises(InvalidBundle, match=ACCEPTED_FILE):
        offer(site)
