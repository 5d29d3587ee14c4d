from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.demo.archive import Archive
from node.demo.cut_data import (
    CASE_COUNT,
    CHECKSUMS,
    LOWEST_MM,
    WHOLE_SERIES,
    checksums,
    cut_brain,
    position_mm,
)
from node.demo.nifti import read_nifti
from node.demo.studies import DATA_DIR, MISSING_SLICES, fill
from pipelines.registry import SHIPPED_BUNDLES

BRAIN = DATA_DIR / "pgbm"


def test_every_data_file_is_as_it_was_published() -> None:
    listed = (DATA_DIR / CHECKSUMS).read_text().splitlines()

    assert [f"{digest}  {name}" for name, digest in checksums(DATA_DIR)] == listed


def test_every_data_folder_names_origin_and_licence() -> None:
    for folder in (path for path in DATA_DIR.iterdir() if path.is_dir()):
        text = (folder / "SOURCE.md").read_text()
        assert "creativecommons.org/licenses/by" in text
        assert "commit" in text


def test_no_slice_of_a_head_reaches_down_to_the_face() -> None:
    heads = [path for path in BRAIN.rglob("*.dcm") if path.parent.name != WHOLE_SERIES]

    positions = [position_mm(dcmread(path, stop_before_pixels=True)) for path in heads]

    assert len(heads) == 20
    assert min(positions) > LOWEST_MM


def test_the_crop_is_whole_and_no_wider_than_a_hippocampus() -> None:
    images = [dcmread(path) for path in (BRAIN / WHOLE_SERIES).glob("*.dcm")]

    assert sorted(position_mm(image) for image in images) == [float(n) for n in range(1, 41)]
    assert {(image.Rows, image.Columns) for image in images} == {(50, 34)}


def test_cutting_again_keeps_what_was_cut(tmp_path: Path) -> None:
    cut_brain(BRAIN, tmp_path)

    assert list(checksums(tmp_path)) == list(checksums(BRAIN))


def test_the_cases_are_usable_pairs_with_both_structures() -> None:
    images = sorted((DATA_DIR / "hippocampus" / "images").glob("*.nii.gz"))

    assert len(images) == CASE_COUNT
    for path in images:
        image = read_nifti(path)
        label = read_nifti(path.parents[1] / "labels" / path.name)
        assert image.voxels.shape == label.voxels.shape
        np.testing.assert_array_equal(image.affine_ras, label.affine_ras)
        assert set(np.unique(label.voxels)) == {0, 1, 2}


def test_no_case_was_trained_on() -> None:
    record = json.loads((SHIPPED_BUNDLES / "hippocampus_mr" / "docs" / "training.json").read_text())
    cases = {path.name.removesuffix(".nii.gz") for path in DATA_DIR.rglob("images/*.nii.gz")}

    assert len(record["training_cases"]) > 100
    assert cases.isdisjoint(record["training_cases"])


def test_the_archive_holds_studies_with_fictional_names_only(tmp_path: Path) -> None:
    archive = Archive(tmp_path)

    studies = fill(archive)

    names = {
        str(held.header.PatientName)
        for study in studies
        for held in archive.instances(study.study_instance_uid)
    }
    assert len({study.study_instance_uid for study in studies}) == len(studies) == 7
    assert all(name.startswith("DEMO^") for name in names - {"Albus^Dumbledore", "A002304"})


def test_the_broken_study_lacks_exactly_one_inner_slice(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    broken = next(study for study in fill(archive) if study.expected == MISSING_SLICES)

    held = archive.instances(broken.study_instance_uid)
    places = np.array(sorted(float(dcmread(one.path).ImagePositionPatient[2]) for one in held))

    assert sorted(np.diff(places)) == pytest.approx([1.0] * (len(held) - 2) + [2.0])
