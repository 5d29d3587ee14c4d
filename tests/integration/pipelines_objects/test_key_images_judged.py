"""Key Object Selection and presentation state before dicom3tools and DCMTK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.integration.pipelines_objects.charset_samples import SAMPLES, in_charset_of
from tests.integration.pipelines_objects.result_cases import (
    CASES,
    WITH_SEG,
    ascii_only,
)
from tests.peers.dicom_checkers import dcentvfy, dciodvfy, dcmp2pgm, dcmpschk, dsrdump
from tests.unit.pipelines_objects.key_image_requests import made_key_images
from tests.unit.pipelines_objects.synthetic_series import classic_series

pytestmark = pytest.mark.peer("dicom3tools", "dcmtk")


def judged(selection: Path, state: Path, folder: Path) -> tuple[str, ...]:
    messages = dsrdump(selection)[1]
    return (*dciodvfy(selection), *dciodvfy(state), *messages, *dcmpschk(state, folder))


@pytest.mark.parametrize("name", [name for name in WITH_SEG if name != "gapped"])
def test_they_have_nothing_to_say_about_key_images(tmp_path: Path, name: str) -> None:
    made = made_key_images(tmp_path, *CASES[name])
    assert judged(*made.written(tmp_path), tmp_path) == ()


@pytest.mark.peer("real_images")
@pytest.mark.parametrize("name", SAMPLES)
def test_key_images_keep_the_names_of_every_character_set(tmp_path: Path, name: str) -> None:
    source = in_charset_of(name, tmp_path)
    paths = made_key_images(tmp_path, source).written(tmp_path)
    assert judged(*paths, tmp_path) == ()
    for path in paths:
        written = dcmread(path)
        assert written.PatientName == source.first.PatientName
        assert written.StudyDescription == source.first.StudyDescription


def test_key_images_agree_with_their_study(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, classic_series(edit=ascii_only))
    images = sorted((tmp_path / "images").iterdir())
    assert dcentvfy([*images, *made.written(tmp_path)]) == ()


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_dcmtk_shows_every_image_in_the_same_window(tmp_path: Path, photometric: str) -> None:
    """Also where each image has a rescale of its own."""

    def edit(header: Dataset, index: int) -> None:
        header.PhotometricInterpretation, header.Modality = photometric, "PT"
        header.RescaleSlope, header.RescaleIntercept = 1 + index, 10 * index
        header.WindowCenter, header.WindowWidth = 900, 1201
        header.Units, header.SUVType = "GML", "BW"

    made = made_key_images(tmp_path, classic_series(edit=edit))
    _, state = made.written(tmp_path)
    assert "RescaleSlope" not in dcmread(state)
    for index in made.slices:
        shown = dcmp2pgm(state, tmp_path / "images" / f"{index:04d}.dcm", tmp_path)
        share = np.clip((made.volume.voxels[index] - 899.5) / 1200 + 0.5, 0, 1)
        expected = 255 * (share if photometric == "MONOCHROME2" else 1 - share)
        assert np.abs(shown - expected).max() <= 1.5
        assert np.ptp(shown) > 40
