"""Volume -> SEG -> volume is the identity, wherever and however a series lies in the patient.

The images' voxels are the labels themselves, so that reading, ordering, writing and proving are
all on the way; the SEG is placed by another library and compared with what was made up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from pipelines.objects.description import SegmentDescription, numbered
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.write import write_object
from pipelines.series_volume import SeriesVolume, read_series
from tests.unit.pipelines.volume_files import write_enhanced, write_series
from tests.unit.pipelines_objects.read_elsewhere import labels_on_grid
from tests.unit.pipelines_objects.result_requests import (
    ANTERIOR,
    segmentation_request,
    structure,
)

LABEL_VALUES = (1, 2, 5, 117, 300)
STRUCTURES = tuple(
    structure(value, f"Structure {value}", ANTERIOR, (value % 256, 10 * number, 90))
    for number, value in enumerate(LABEL_VALUES)
)


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A series made up: label values as stored pixels [slice, row, column], and its place."""

    stored: NDArray[np.uint16]
    orientation: tuple[float, ...]
    origin: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    order: tuple[int, ...]

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        row, column = np.asarray(self.orientation[:3]), np.asarray(self.orientation[3:])
        steps = np.stack([np.cross(row, column), column, row], axis=1) * self.spacing_mm
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = steps, self.origin
        return affine

    def classic(self, folder: Path) -> list[Path]:
        """One file a slice, given in an order of its own."""
        paths = write_series(
            folder,
            self.stored,
            orientation=self.orientation,
            origin=self.origin,
            spacing_mm=self.spacing_mm,
        )
        return [paths[index] for index in self.order]

    def enhanced(self, folder: Path, *, per_frame: bool = False) -> list[Path]:
        """One file, its frames stored in an order of their own."""

        def place(image: Dataset) -> None:
            (shared,) = image.SharedFunctionalGroupsSequence
            (measures,) = shared.PixelMeasuresSequence
            measures.PixelSpacing = list(self.spacing_mm[1:])
            measures.SliceThickness = self.spacing_mm[0]
            shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(self.orientation)
            frames = image.PerFrameFunctionalGroupsSequence
            for frame, index in zip(frames, self.order, strict=True):
                position = (self.affine_lps @ [index, 0, 0, 1])[:3]
                frame.PlanePositionSequence[0].ImagePositionPatient = np.round(position, 6).tolist()
                del frame.PixelValueTransformationSequence
                if per_frame:
                    frame.update(shared)
            if per_frame:
                image.SharedFunctionalGroupsSequence = [Dataset()]

        path = folder / "enhanced.dcm"
        return [write_enhanced(path, self.stored, slice_of_frame=self.order, edit=place)]


def decimal_strings(values: Any) -> tuple[float, ...]:
    """As a header tells them: sixteen characters at the most."""
    return tuple(round(float(value), 9) for value in values)


def directions() -> st.SearchStrategy[tuple[float, ...]]:
    """Rows and columns along body axes, or turned by any angles."""
    turns = st.tuples(*[st.floats(-180, 180) | st.sampled_from([-90, 0, 90, 180])] * 3)
    return turns.map(
        lambda angles: decimal_strings(
            Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:2].ravel()
        )
    )


@st.composite
def acquisitions(draw: st.DrawFn) -> Acquisition:
    shape = draw(st.tuples(st.integers(3, 7), st.integers(1, 19), st.integers(1, 19)))
    values = draw(st.lists(st.sampled_from(LABEL_VALUES), min_size=1, unique=True))
    dice = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stored = dice.choice(np.asarray([0, 0, *values], dtype=np.uint16), size=shape)
    stored[dice.random(shape[0]) < 0.3] = 0
    stored.flat[0], stored.flat[-1] = 0, values[0]  # neither blank nor without a finding
    order = list(range(shape[0]))
    random.Random(int(dice.integers(2**31))).shuffle(order)
    millimetres = st.floats(0.3, 6.0).map(lambda value: round(value, 6))
    return Acquisition(
        stored=stored,
        orientation=draw(directions()),
        origin=draw(st.tuples(*[st.integers(-900, 900).map(lambda value: value / 7)] * 3)),
        spacing_mm=draw(st.tuples(millimetres, millimetres, millimetres)),
        order=tuple(order),
    )


def written(folder: Path, volume: SeriesVolume) -> tuple[Path, tuple[SegmentDescription, ...]]:
    labels = volume.voxels.astype(np.uint16)
    request = segmentation_request(
        volume.source,
        labels,
        structures=numbered(STRUCTURES, set(np.unique(labels).tolist())),
        spacing_between_slices_mm=volume.spacing_mm[0],
    )
    path = folder / "seg.dcm"
    write_object(build_segmentation(request), path)
    prove_segmentation(
        path, labels, volume.source, request.structures, affine_lps=volume.affine_lps
    )
    return path, request.structures


def assert_identity(
    acquisition: Acquisition, write: Callable[[Acquisition, Path], list[Path]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        volume = read_series(write(acquisition, folder / "source"))
        path, structures = written(folder, volume)
        shape = volume.source.shape
        numbers = labels_on_grid(path, acquisition.affine_lps, shape)
    values = np.asarray([0, *(item.label_value for item in structures)])
    assert np.array_equal(values[numbers], acquisition.stored)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(acquisitions())
def test_a_label_map_comes_back_from_the_seg_of_a_classic_series(acquisition: Acquisition) -> None:
    assert_identity(acquisition, Acquisition.classic)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(acquisitions(), st.booleans())
def test_a_label_map_comes_back_from_the_seg_of_an_enhanced_image(
    acquisition: Acquisition, per_frame: bool
) -> None:
    def write(made: Acquisition, folder: Path) -> list[Path]:
        return made.enhanced(folder, per_frame=per_frame)

    assert_identity(acquisition, write)
