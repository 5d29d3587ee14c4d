"""Heat maps as pictures, and what the report says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.results
from pipelines.errors import ProofFailed
from pipelines.objects.write import write_object
from pipelines.pages import Wanted
from pipelines.run import run_study
from storage.records import ObjectKind
from tests.integration.pipelines.explained_runs import (
    heat_of,
    items,
    offered,
    pictures,
    run,
    spots,
)
from tests.peers.dicom_checkers import dciodvfy
from tests.unit.pipelines.bright_spot import BRIGHT, explained_classes
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.volume_files import write_series


def test_pictures_show_the_map_on_the_slices_that_they_name(tmp_path: Path) -> None:
    voxels = spots()
    write_series(tmp_path / "in", voxels)
    result = run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    found = pictures(result, tmp_path / "out")
    shown = {str(p.SourceImageSequence[0].ReferencedSOPInstanceUID): heat_of(p) for p in found}
    assert set(shown) == {"2.25.2001.2", "2.25.2001.3", "2.25.2001.6"}
    for uid, heat in shown.items():
        index = int(uid.rpartition(".")[2]) - 1
        assert np.array_equal(heat > 0, voxels[index] > BRIGHT)
    assert {str(p.SeriesDescription) for p in found} == {"AI levels heat map"}
    assert len({str(p.SeriesInstanceUID) for p in found}) == 1
    assert "Grad-CAM of Cyst at layer 1" in found[0].DerivationDescription


def test_the_report_names_them_as_visual_explanations(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    result = run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    (made,) = (one for one in result.objects if one.kind is ObjectKind.SR)
    report = dcmread(tmp_path / "out" / made.path)
    named = [
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "130401"
    ]
    assert named == [str(p.SOPInstanceUID) for p in pictures(result, tmp_path / "out")]
    evidence = {
        str(one.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert set(named) <= evidence


def test_key_images_of_a_classifier_are_those_with_heat(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    wanted = Wanted(frozenset({ObjectKind.KOS, ObjectKind.PR}))
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert ObjectKind.PR not in {made.kind for made in result.objects}
    (made,) = (one for one in result.objects if one.kind is ObjectKind.KOS)
    selection = dcmread(tmp_path / "out" / made.path)
    named = {
        str(one.ReferencedSOPInstanceUID)
        for item in items(selection)
        for one in item.get("ReferencedSOPSequence", [])
    }
    assert named == {"2.25.2001.2", "2.25.2001.3", "2.25.2001.6"}


def test_a_report_that_names_another_picture_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(dataset: Dataset, path: Path) -> tuple[int, str]:
        for item in items(dataset):
            if item.ConceptNameCodeSequence[0].CodeValue == "130401":
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1"
        return write_object(dataset, path)

    write_series(tmp_path / "in", spots())
    monkeypatch.setattr(pipelines.results, "write_object", turned)
    with pytest.raises(ProofFailed, match="pictures"):
        run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_pictures_and_report(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (300, 280)).astype(np.uint16)
    saved(x_ray(pixels), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    for made in result.objects:
        told = dciodvfy(tmp_path / "out" / made.path)
        # Our own codes are no defined term of any template.
        assert [one for one in told if "<99RADNODE>" not in one] == [], made.path.name


def test_what_is_absent_is_not_explained(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots() // 4)
    result = run(offered(tmp_path, explained_classes(0.99, 0.99)), tmp_path)
    assert pictures(result, tmp_path / "out") == []
    assert len(result.objects) == 3


def test_the_same_job_writes_the_same_pictures(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    one, other = (run(registered, tmp_path, out) for out in ("one", "two"))
    assert [made.sha256 for made in one.objects] == [made.sha256 for made in other.objects]


def test_what_is_burnt_into_an_x_ray_stays_marked_in_its_pictures(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (30, 26)).astype(np.uint16)
    saved(x_ray(pixels, BurnedInAnnotation="YES"), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    made = [one for one in result.objects if one.kind in (ObjectKind.HEAT, ObjectKind.SC)]
    marks = {dcmread(tmp_path / "out" / one.path).BurnedInAnnotation for one in made}
    assert (len(made), marks) == (2, {"YES"})
