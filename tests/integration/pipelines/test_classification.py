"""A model that judges the whole image, from DICOM files to a proved report."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.bundle import run as monai_run
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.results
from pipelines.bundle_metadata import read_metadata
from pipelines.definition_proposal import proposed_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InferenceFailed, InvalidBundle, ProofFailed
from pipelines.left_right import Verdict
from pipelines.model_check import checked_model
from pipelines.objects.write import write_object
from pipelines.preprocessing import affine_ras
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from pipelines.series_volume import read_series
from storage.quantities import CERTAINTY, OPERATING_POINT
from storage.records import JobResult, ObjectKind, Outcome
from tests.unit.pipelines.classifier_bundle import classes, write_classifier
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.volume_files import write_series


def offered(folder: Path, *points: float, **changes: Any) -> RegisteredPipeline:
    if not (folder / "tiny").exists():
        write_classifier(folder / "tiny")
    return register(definition(**classes(*points, **changes)), folder)


def study(folder: Path) -> list[Path]:
    voxels = np.random.default_rng(3).integers(0, 400, (12, 24, 20)).astype(np.uint16)
    return write_series(folder, voxels, spacing_mm=(2.0, 1.0, 1.5))


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    if not (tmp_path / "in").exists():
        study(tmp_path / "in")
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu")


def certainties(result: JobResult) -> dict[str, float]:
    return {m.structure: m.value for m in result.measurements if m.quantity == CERTAINTY}


def items(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def code(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def test_certainties_are_those_of_monais_own_runner(tmp_path: Path) -> None:
    found = certainties(run(offered(tmp_path, 0.5, 0.5), tmp_path))
    volume = read_series(sorted((tmp_path / "in").iterdir()))
    image = nibabel.Nifti1Image(volume.voxels.transpose(2, 1, 0), affine_ras(volume.affine_lps))
    (tmp_path / "nifti").mkdir()
    nibabel.save(image, tmp_path / "nifti" / "case.nii")
    bundle = tmp_path / "tiny"
    monai_run(
        run_id="run",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "nifti"),
        output_dir=str(tmp_path / "csv"),
    )
    (saved,) = (tmp_path / "csv").glob("*.csv")
    (row,) = csv.reader(saved.open())
    stock = [100.0 * float(value) for value in row[1:]]
    assert found == pytest.approx({"Cyst": stock[1], "Mass": stock[2]}, rel=1e-4)
    assert len(set(stock)) == 3


def test_the_operating_point_decides_what_is_found(tmp_path: Path) -> None:
    low = run(offered(tmp_path, 0.01, 0.99), tmp_path, "low")
    assert low.outcome is Outcome.FINDINGS
    assert [m.is_present for m in low.measurements if m.quantity == CERTAINTY] == [True, False]
    assert [made.kind for made in low.objects] == [ObjectKind.SR]
    high = run(offered(tmp_path, 0.99, 0.99), tmp_path, "high")
    assert high.outcome is Outcome.NO_FINDINGS
    assert certainties(high) == certainties(low)
    assert {m.value for m in high.measurements if m.quantity == OPERATING_POINT} == {99.0}


def test_a_calibration_moves_the_log_odds(tmp_path: Path) -> None:
    plain = certainties(run(offered(tmp_path, 0.5, 0.5), tmp_path, "plain"))
    moved = offered(tmp_path, 0.5, 0.5, calibration={"a": 2.0, "b": -0.5})
    for label, percent in certainties(run(moved, tmp_path, "moved")).items():
        odds = plain[label] / (100.0 - plain[label])
        expected = odds**2 * np.exp(-0.5)
        assert percent == pytest.approx(100.0 * expected / (1.0 + expected))


def test_a_temperature_divides_the_answers_before_they_are_activated(tmp_path: Path) -> None:
    plain = certainties(run(offered(tmp_path, 0.5, 0.5), tmp_path, "plain"))
    changes = {**classes(0.5, 0.5), "temperature": 2.5}
    cooler = certainties(run(register(definition(**changes), tmp_path), tmp_path, "cooler"))
    nothing = 100.0 - sum(plain.values())
    roots = {name: (percent / 100) ** (1 / 2.5) for name, percent in plain.items()}
    total = sum(roots.values()) + (nothing / 100) ** (1 / 2.5)
    expected = {name: 100 * root / total for name, root in roots.items()}
    assert cooler == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="for classes only"):
        definition(temperature=2.0)


def test_the_report_tells_class_certainty_and_presence(tmp_path: Path) -> None:
    result = run(offered(tmp_path, 0.01, 0.99), tmp_path)
    report = dcmread(tmp_path / "out" / result.objects[0].path)
    found = list(items(report))
    groups = [list(item.ContentSequence) for item in found if code(item) == "125007"]
    told = [{code(item): item for item in group} for group in groups]
    presences = [one["705057003"].ConceptCodeSequence[0].CodeValue for one in told]
    assert presences == ["52101004", "272519000"]
    values = [float(one["111012"].MeasuredValueSequence[0].NumericValue) for one in told]
    assert values == pytest.approx(list(certainties(result).values()))
    assert [one["121071"].ConceptCodeSequence[0].CodeMeaning for one in told] == ["Cyst", "Mass"]
    (summary,) = (item for item in found if code(item) == "111017")
    assert summary.ConceptCodeSequence[0].CodeValue == "111242"


def test_the_same_job_writes_the_same_bytes(tmp_path: Path) -> None:
    registered = offered(tmp_path, 0.5, 0.5)
    study(tmp_path / "in")
    at = datetime(2024, 1, 15, tzinfo=UTC)
    written = []
    for out in ("one", "two"):
        run_study(registered, tmp_path / "in", tmp_path / out, device="cpu", content_time=at)
        written.append((tmp_path / out / "sr.dcm").read_bytes())
    assert written[0] == written[1]


def test_a_report_of_another_presence_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(dataset: Dataset, path: Path) -> tuple[int, str]:
        presence = next(item for item in items(dataset) if code(item) == "705057003")
        presence.ConceptCodeSequence[0].CodeValue = "272519000"
        return write_object(dataset, path)

    monkeypatch.setattr(pipelines.results, "write_object", turned)
    with pytest.raises(ProofFailed, match="class of output 1"):
        run(offered(tmp_path, 0.01, 0.99), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_that_are_no_probabilities_are_told(tmp_path: Path) -> None:
    chain = {"_target_": "Compose", "transforms": []}
    write_classifier(tmp_path / "tiny", seed=7, postprocessing=chain)
    with pytest.raises(InferenceFailed, match="no probabilities"):
        run(offered(tmp_path, 0.5, 0.5), tmp_path)


def test_an_output_that_the_model_does_not_have_is_told(tmp_path: Path) -> None:
    write_classifier(tmp_path / "tiny")
    with pytest.raises(InvalidBundle, match=r"outputs \[9\]"):
        register(definition(**_with_output(classes(0.5, 0.5), 9)), tmp_path)


def _with_output(changes: dict[str, Any], output: int) -> dict[str, Any]:
    changes["classes"][0]["output"] = output
    return changes


def test_a_check_runs_it_and_a_proposal_for_it_is_valid(tmp_path: Path) -> None:
    registered = offered(tmp_path, 0.5, 0.5)
    study(tmp_path / "in")
    checked = checked_model(registered, tmp_path / "in", "cpu")
    assert checked.failure == ""
    assert checked.left_right.verdict is Verdict.NOT_MEANINGFUL
    assert checked.network_shape == (1, 32, 32, 32)
    told = read_metadata(tmp_path / "tiny" / "configs" / "metadata.json")
    proposal = PipelineDefinition.model_validate(proposed_definition("mine", "tiny", told))
    assert [(one.output, one.label) for one in proposal.classes] == [
        (0, "nothing"),
        (1, "cyst"),
        (2, "mass"),
    ]
