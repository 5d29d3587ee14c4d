"""The shipped model on cases it never saw, from DICOM files to the written SEG.

The Dice is taken between the truth drawn by people and the SEG placed by its own tags, so that
it also falls when anything on the way is flipped or shifted.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from node.demo.dice import dice, masks_on
from node.demo.grid import as_slices
from node.demo.nifti import read_nifti
from node.demo.studies import DATA_DIR
from node.demo.wrap import WrappedStudy, wrap
from pipelines.run import run_study
from storage.records import Outcome

CASES = sorted((DATA_DIR / "hippocampus" / "images").glob("*.nii.gz"))
LOWEST_DICE = 0.75


def test_there_are_cases() -> None:
    assert CASES


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".nii.gz"))
def test_a_held_out_case_is_found_where_people_drew_it(case: Path, tmp_path: Path) -> None:
    _write_study(case, tmp_path / "in")
    result = run_study("hippocampus_mr", tmp_path / "in", tmp_path / "out", device="cpu")
    assert result.outcome is Outcome.FINDINGS
    truth = read_nifti(case.parents[1] / "labels" / case.name)
    masks = masks_on(truth, dcmread(tmp_path / "out" / result.objects[0].path))
    scores = [
        dice(masks[item.tracking_uid], truth.voxels == item.label_value)
        for item in result.measurements
    ]
    assert min(scores) >= LOWEST_DICE


def _write_study(case: Path, folder: Path) -> None:
    folder.mkdir()
    study = WrappedStudy(case.name, "DEMO^HELD OUT", "D-1", "A-1", "MR brain")
    for index, image in enumerate(wrap(as_slices(read_nifti(case)), study)):
        image.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)


def test_the_real_crop_is_chosen_among_the_series_of_its_study(tmp_path: Path) -> None:
    result = run_study("hippocampus_mr", DATA_DIR / "pgbm", tmp_path, device="cpu")
    assert result.outcome is Outcome.FINDINGS
    seg = dcmread(tmp_path / result.objects[0].path)
    crop = dcmread(next((DATA_DIR / "pgbm" / "11_HCropVolume").glob("*.dcm")))
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == crop.SeriesInstanceUID
    assert all(0.5 < item.value < 4 for item in result.measurements)
