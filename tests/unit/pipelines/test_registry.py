"""Pinning a definition to its model: digests and what does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PipelineSettings
from pipelines.errors import InvalidBundle, InvalidDefinition
from pipelines.model_source import model_files
from pipelines.objects.uids import device_uid
from pipelines.registry import RegisteredPipeline, load_registry, register
from tests.unit.pipelines.definitions import SPLEEN, definition, segment, values, write_definition
from tests.unit.pipelines.threshold_bundle import metadata, write_bundle, write_json


def registered(folder: Path, **changes: object) -> RegisteredPipeline:
    return register(definition(**changes), folder)


def problem(folder: Path, **changes: object) -> str:
    with pytest.raises(InvalidBundle) as caught:
        registered(folder, **changes)
    return str(caught.value)


def test_what_is_shipped_is_offered() -> None:
    registry = load_registry(PipelineSettings())
    assert registry["hippocampus_mr"].definition.name == "hippocampus_mr"


def test_definitions_and_bundles_of_a_site_are_offered(tmp_path: Path) -> None:
    pins = model_files(write_bundle(tmp_path / "two_levels"))
    write_definition(tmp_path, model_files=pins)
    settings = PipelineSettings(
        enabled=("two_levels",), definitions_dir=tmp_path, bundles_dir=tmp_path
    )
    pipeline = load_registry(settings)["two_levels"]
    assert (pipeline.algorithm.name, pipeline.algorithm.version) == ("Two levels", "0.1.0")
    assert pipeline.algorithm.model_digest == pipeline.model_digest
    assert pipeline.algorithm.device_uid == device_uid(pipeline.model_digest)


def test_a_pipeline_that_has_no_definition_is_told_with_those_there_are(tmp_path: Path) -> None:
    write_definition(tmp_path)
    settings = PipelineSettings(enabled=("three_levels",), definitions_dir=tmp_path)
    with pytest.raises(InvalidDefinition, match=r"three_levels: no such .* there are two_levels"):
        load_registry(settings)


def test_the_same_files_give_the_same_digests_wherever_they_lie(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a" / "two_levels")
    write_bundle(tmp_path / "b" / "two_levels")
    first, second = registered(tmp_path / "a"), registered(tmp_path / "b")
    assert first.model_digest == second.model_digest
    assert first.pipeline_digest == second.pipeline_digest


@pytest.mark.parametrize(
    "changed", ["configs/inference.json", "models/model.safetensors", "scripts.py"]
)
def test_a_changed_bundle_is_another_model(tmp_path: Path, changed: str) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    before = registered(tmp_path)
    with (bundle / changed).open("ab") as file:
        file.write(b" ")
    after = registered(tmp_path)
    assert after.model_digest != before.model_digest
    assert after.pipeline_digest != before.pipeline_digest
    assert after.algorithm.device_uid != before.algorithm.device_uid


def test_documentation_does_not_make_another_model(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    before = registered(tmp_path)
    (bundle / "docs" / "README.md").write_text("read me", encoding="utf-8")
    assert registered(tmp_path) == before


def test_a_changed_definition_is_another_pipeline_with_the_same_model(tmp_path: Path) -> None:
    write_bundle(tmp_path / "two_levels")
    before, after = registered(tmp_path), registered(tmp_path, series_description="AI other")
    assert after.model_digest == before.model_digest
    assert after.pipeline_digest != before.pipeline_digest


def test_urgency_and_destinations_do_not_change_what_results_are(tmp_path: Path) -> None:
    write_bundle(tmp_path / "two_levels")
    before = registered(tmp_path)
    after = registered(tmp_path, priority=1, destinations=("pacs",))
    assert after.pipeline_digest == before.pipeline_digest


def test_a_label_value_that_the_model_does_not_have_is_told(tmp_path: Path) -> None:
    write_bundle(tmp_path / "two_levels")
    segments = [*values()["segments"], segment(7, "Other", SPLEEN, [1, 2, 3])]
    told = problem(tmp_path, segments=segments)
    assert "label values [7]" in told
    assert "there are 0 background, 1 low, 2 high" in told


def test_more_inputs_than_the_network_takes_are_told(tmp_path: Path) -> None:
    write_bundle(tmp_path / "two_levels")
    image = values()["inputs"]["image"]
    told = problem(tmp_path, inputs={"first": image, "second": image})
    assert "takes 1 channels, the definition names 2 inputs" in told


def test_a_bundle_that_is_not_there_is_told_with_its_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "two_levels") in problem(tmp_path)


@pytest.mark.parametrize(
    "missing", ["configs/metadata.json", "configs/inference.json", "models/model.safetensors"]
)
def test_a_missing_file_is_told_by_its_name(tmp_path: Path, missing: str) -> None:
    (write_bundle(tmp_path / "two_levels") / missing).unlink()
    assert Path(missing).name in problem(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": "1", "network_data_format": 3}'])
def test_metadata_without_what_is_needed_are_told(tmp_path: Path, content: str) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    (bundle / "configs" / "metadata.json").write_text(content, encoding="utf-8")
    assert "metadata.json" in problem(tmp_path)


def test_label_values_are_free_where_channels_are_not_labels(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    write_json(bundle / "configs" / "metadata.json", metadata(c0="core", c1="whole"))
    segments = [segment(4, "Other", SPLEEN, [1, 2, 3])]
    assert registered(tmp_path, segments=segments).definition.segments[0].label_value == 4


def test_routing_reads_all_this_without_torch() -> None:
    code = (
        "import sys, pipelines.registry, pipelines.selection, pipelines.definition\n"
        "from config.settings import PipelineSettings\n"
        "pipelines.registry.load_registry(PipelineSettings())\n"
        "print([name for name in ('torch', 'monai', 'highdicom') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
