from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.objects.source_series import SourceSeries
from tests.unit.pipelines_objects.synthetic_series import (
    OBLIQUE,
    classic_series,
    enhanced_series,
    regular_positions,
)


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_of_an_enhanced_image_lie_where_classic_images_do(per_frame: bool) -> None:
    classic = classic_series().planes()
    enhanced = enhanced_series(per_frame=per_frame).planes()
    for one, other in zip(classic, enhanced, strict=True):
        assert np.allclose(one.corners(24, 32), other.corners(24, 32), atol=1e-5)
    assert [plane.frame_number for plane in enhanced] == [6, 5, 4, 3, 2, 1]


def test_corners_follow_spacing_along_rows_and_columns() -> None:
    plane = classic_series().planes()[0]
    first, in_row, in_column = plane.corners(24, 32)
    assert np.allclose(first, regular_positions(6)[0], atol=1e-5)
    assert np.allclose(in_row - first, np.asarray(OBLIQUE[:3]) * 0.8 * 31)
    assert np.allclose(in_column - first, np.asarray(OBLIQUE[3:]) * 0.9 * 23)


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_an_image_without_a_place_is_refused(keyword: str) -> None:
    def edit(header: Dataset, index: int) -> None:
        if index == 3:
            delattr(header, keyword)

    with pytest.raises(Refused) as refused:
        classic_series(edit=edit).planes()
    assert refused.value.code is RefusalCode.NO_GEOMETRY


def test_an_enhanced_image_without_orientation_is_refused() -> None:
    source = enhanced_series()
    del source.first.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    with pytest.raises(Refused):
        source.planes()


def test_frame_numbers_belong_to_one_image() -> None:
    with pytest.raises(ValueError, match="one enhanced image"):
        SourceSeries(classic_series().headers, (1, 2, 3, 4, 5, 6))


def test_a_series_without_images_is_no_series() -> None:
    with pytest.raises(ValueError, match="at least one header"):
        SourceSeries(())
