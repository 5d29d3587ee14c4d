from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.objects.montage import write_montage
from pipelines.objects.montage_tiles import Window, edge_letters, window_around
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import (
    STRUCTURES,
    label_map,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import (
    AXIAL,
    classic_series,
    enhanced_series,
    write_series,
)


def montage(
    folder: Path, source: SourceSeries, *, title: str | None = None, tiles: int = 8
) -> NDArray[np.uint8]:
    """Make a montage of a synthetic result and give its pixels [y, x, rgb]."""
    paths = write_series(source, folder / "images")
    write_object(build_segmentation(segmentation_request(source, label_map())), folder / "seg.dcm")
    png = folder / "montage.png"
    write_montage(paths, folder / "seg.dcm", png, title=title, tiles=tiles)
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.info == {}
        return np.asarray(picture.convert("RGB"))


def pixels_like(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    distance = np.abs(picture.astype(int) - np.asarray(colour)).max(axis=2)
    return int(np.count_nonzero(distance < 40))


@pytest.mark.parametrize(
    "source", [classic_series(), enhanced_series()], ids=["classic", "enhanced"]
)
def test_every_structure_is_drawn_in_its_colour(tmp_path: Path, source: SourceSeries) -> None:
    picture = montage(tmp_path, source)
    for structure in STRUCTURES:
        legend_swatch = 18 * 18
        assert pixels_like(picture, structure.color_rgb) > 4 * legend_swatch


def test_fewer_tiles_make_a_smaller_picture(tmp_path: Path) -> None:
    many = montage(tmp_path / "many", classic_series())
    few = montage(tmp_path / "few", classic_series(), tiles=1)
    assert few.size < many.size


def test_a_title_needs_its_own_line(tmp_path: Path) -> None:
    plain = montage(tmp_path / "plain", classic_series())
    titled = montage(tmp_path / "titled", classic_series(), title="Hippocampus")
    assert titled.shape[0] > plain.shape[0]
    assert titled.shape[1] == plain.shape[1]


def test_the_same_result_gives_the_same_picture(tmp_path: Path) -> None:
    montage(tmp_path / "one", classic_series())
    montage(tmp_path / "two", classic_series())
    one, two = (tmp_path / name / "montage.png" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_seg_of_other_images_is_not_drawn(tmp_path: Path) -> None:
    montage(tmp_path, classic_series())

    def other(header: object, index: int) -> None:
        setattr(header, "SOPInstanceUID", f"2.25.77.{index + 1}")  # noqa: B010

    paths = write_series(classic_series(edit=other), tmp_path / "others")
    with pytest.raises(ValueError, match="other images"):
        write_montage(paths, tmp_path / "seg.dcm", tmp_path / "wrong.png")
    assert not (tmp_path / "wrong.png").exists()


def test_the_window_is_square_in_millimetres_and_holds_the_mask() -> None:
    mask = np.zeros((100, 200), dtype=np.bool_)
    mask[40:50, 60:100] = True
    window = window_around(mask, (1.0, 0.5), 10.0)
    assert window == Window(25, 65, 40, 120)
    assert window.of(mask).sum() == mask.sum()
    assert window.size_px((1.0, 0.5), 320) == (320, 320)


def test_the_window_ends_at_the_border_of_the_image() -> None:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[0, 19] = True
    assert window_around(mask, (1.0, 1.0), 5.0) == Window(0, 6, 14, 20)


def test_edges_are_lettered_by_patient_direction() -> None:
    (plane, *_) = classic_series(orientation=AXIAL).planes()
    assert edge_letters(plane) == ("R", "A")
    (coronal, *_) = classic_series(orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0)).planes()
    assert edge_letters(coronal) == ("R", "S")
