"""Every axis mirrored, shifted or exchanged on purpose: no such result may leave.

A fault in writing must be caught by the proof before the SEG is kept. A fault in restoring cannot
be seen in the SEG alone; the test that compares the SEG with the patient must fail for each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import pipelines.objects.segmentation as segmentation
import pipelines.objects.source_header as source_header
from pipelines.errors import ProofFailed
from pipelines.registry import RegisteredPipeline, register
from pipelines.segmenting import segmented
from pipelines.series_volume import read_series
from tests.integration.pipelines.levels_run import run
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.pipelines.volume_files import write_enhanced, write_series
from tests.unit.pipelines_objects.read_elsewhere import labels_on_grid

Change = Callable[[NDArray[Any]], NDArray[Any]]
SIDE = 12
AXES = {"slices": 0, "rows": 1, "columns": 2}
OBLIQUE = (0.96, 0.28, 0.0, -0.21, 0.72, -0.6614378277661477)
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": OBLIQUE,
}
SOURCES = (*ORIENTATIONS, "enhanced")


def mirrored(axis: int) -> Change:
    return lambda values: np.flip(values, axis)


def shifted(axis: int) -> Change:
    return lambda values: np.roll(values, 1, axis)


def exchanged(first: int, second: int) -> Change:
    return lambda values: np.swapaxes(values, first, second)


FAULTS: dict[str, Change] = {
    **{f"{name} mirrored": mirrored(axis) for name, axis in AXES.items()},
    **{f"{name} shifted": shifted(axis) for name, axis in AXES.items()},
    "slices for rows": exchanged(0, 1),
    "slices for columns": exchanged(0, 2),
    "rows for columns": exchanged(1, 2),
}


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> RegisteredPipeline:
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "two_levels")
    return register(definition(), folder)


def lopsided() -> NDArray[np.uint16]:
    """Two bodies in a cube, like themselves from no other side."""
    stored = np.full((SIDE, SIDE, SIDE), 50, dtype=np.uint16)
    stored[1:5, 2:9, 3:8] = 150
    stored[6:8, 5:8, 1:7] = 250
    return stored


def files_of(source: str, folder: Path) -> list[Path]:
    if source != "enhanced":
        return write_series(folder, lopsided(), orientation=ORIENTATIONS[source])

    def unscaled(image: Dataset) -> None:
        for frame in image.PerFrameFunctionalGroupsSequence:
            frame.PixelValueTransformationSequence[0].RescaleSlope = 1

    order = [*range(0, SIDE, 2), *range(1, SIDE, 2)]
    return [write_enhanced(folder / "e.dcm", lopsided(), slice_of_frame=order, edit=unscaled)]


def kept(folder: Path) -> list[Path]:
    return list((folder / "results" / "1").iterdir())


def assert_in_place(offered: RegisteredPipeline, source: str, folder: Path) -> None:
    """Run one job and compare its SEG, read by others, with what was put into the images."""
    paths = files_of(source, folder / "in")
    result = run(offered, folder, paths)
    volume = read_series(paths)
    shown = labels_on_grid(folder / result.objects[0].path, volume.affine_lps, volume.source.shape)
    truth = (lopsided() >= 100).astype(int) + (lopsided() >= 200)
    assert np.array_equal(shown, truth), "the SEG does not lie where the structures are"


@pytest.mark.parametrize("source", SOURCES)
def test_without_a_fault_every_voxel_lies_where_it_was(
    offered: RegisteredPipeline, source: str, tmp_path: Path
) -> None:
    assert_in_place(offered, source, tmp_path)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_writing_is_caught_by_the_proof(
    offered: RegisteredPipeline,
    fault: Change,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = segmentation.segment_numbers
    monkeypatch.setattr(segmentation, "segment_numbers", lambda *given: fault(sound(*given)))
    with pytest.raises(ProofFailed):
        run(offered, tmp_path, files_of(source, tmp_path / "in"))
    assert kept(tmp_path) == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_restoring_is_seen_in_the_patient(
    offered: RegisteredPipeline,
    fault: Change,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def faulty(*given: Any, **named: Any) -> NDArray[Any]:
        labels = segmented(*given, **named)
        assert isinstance(labels, np.ndarray)
        return np.ascontiguousarray(fault(labels))

    monkeypatch.setattr("pipelines.run.segmented", faulty)
    with pytest.raises(AssertionError, match="does not lie where"):
        assert_in_place(offered, source, tmp_path)


def negated(cosines: list[str], which: slice) -> list[str]:
    turned = list(cosines)
    turned[which] = [str(-float(value)) for value in cosines[which]]
    return turned


TURNS: dict[str, Callable[[list[str]], list[str]]] = {
    "rows run backwards": lambda cosines: negated(cosines, slice(3)),
    "columns run backwards": lambda cosines: negated(cosines, slice(3, 6)),
    "rows for columns": lambda cosines: cosines[3:] + cosines[:3],
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_fault_in_the_written_directions_is_caught_by_the_proof(
    offered: RegisteredPipeline,
    turn: Callable[[list[str]], list[str]],
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = source_header._orientation
    monkeypatch.setattr(source_header, "_orientation", lambda plane: turn(sound(plane)))
    with pytest.raises(ProofFailed):
        run(offered, tmp_path, files_of(source, tmp_path / "in"))
    assert kept(tmp_path) == []


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("source", SOURCES)
def test_a_position_written_a_voxel_off_is_caught_by_the_proof(
    offered: RegisteredPipeline,
    source: str,
    axis: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = files_of(source, tmp_path / "in")
    step = read_series(paths).affine_lps[:3, axis]
    sound = segmentation.build_segmentation

    def faulty(request: Any) -> Dataset:
        written = sound(request)
        for frame in written.PerFrameFunctionalGroupsSequence:
            (place,) = frame.PlanePositionSequence
            place.ImagePositionPatient = [
                float(value) + float(off)
                for value, off in zip(place.ImagePositionPatient, step, strict=True)
            ]
        return written

    monkeypatch.setattr("pipelines.results.build_segmentation", faulty)
    with pytest.raises(ProofFailed):
        run(offered, tmp_path, paths)
    assert kept(tmp_path) == []


def test_references_in_the_reverse_order_are_caught_by_the_proof(
    offered: RegisteredPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        segmentation, "sanitised", lambda *given: source_header.sanitised(*given)[::-1]
    )
    with pytest.raises(ProofFailed):
        run(offered, tmp_path, files_of("axial", tmp_path / "in"))
    assert kept(tmp_path) == []


def test_a_mirrored_answer_of_a_model_that_knows_sides_is_never_kept(
    offered: RegisteredPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the source, the middle of label 1 lies further left (+x) than that of label 2.
    sided = register(definition(left_right=[{"left": 1, "right": 2}]), offered.bundle_dir.parent)
    for source in ("axial", "coronal", "oblique"):
        run(sided, tmp_path / source, files_of(source, tmp_path / source / "in"))

    def mirrored_restore(*given: Any, **named: Any) -> NDArray[Any]:
        labels = segmented(*given, **named)
        assert isinstance(labels, np.ndarray)
        return np.ascontiguousarray(np.flip(labels, 2))

    monkeypatch.setattr("pipelines.run.segmented", mirrored_restore)
    for source in ("axial", "coronal", "oblique"):
        folder = tmp_path / source / "mirrored"
        with pytest.raises(ProofFailed, match="mirrored or exchanged"):
            run(sided, folder, files_of(source, folder / "in"))
        assert kept(folder) == []
