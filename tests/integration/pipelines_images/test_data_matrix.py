"""The page about real series tells what this code makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.pixel_values import slice_values
from tests.integration.pipelines_images.data_matrix import table
from tests.integration.pipelines_images.four_roles import four_roles
from tests.peers.real_images import images_of

PAGE = Path(__file__).parents[3] / "docs" / "data_matrix.md"

pytestmark = pytest.mark.peer("real_images")


def test_the_page_is_what_reading_every_series_gives() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == table(), (
        "write it anew: python -m tests.integration.pipelines_images.data_matrix > "
        "docs/data_matrix.md, and judge every line that changed"
    )


def test_the_four_roles_of_a_tumour_model_are_found_by_their_headers() -> None:
    volumes = four_roles()
    assert {volume.voxels.shape for volume in volumes.values()} == {(22, 320, 280)}
    assert len({volume.headers[0].SeriesInstanceUID for volume in volumes.values()}) == 4


def test_one_image_in_nine_transfer_syntaxes_has_the_same_values() -> None:
    paths = [
        path for path in images_of("hard_dcm_qa", "transfer_syntaxes") if path.suffix == ".dcm"
    ]
    assert len(paths) == 9
    first, *others = (slice_values(path) for path in paths)
    assert first.max() > 100
    for path, values in zip(paths[1:], others, strict=True):
        assert np.array_equal(values, first), path.name
