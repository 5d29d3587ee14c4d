"""Folders that are run, and the key images that are wanted of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.results
from pipelines.errors import ProofFailed, Refused
from pipelines.objects.write import write_object
from pipelines.pages import Wanted
from pipelines.registry import RegisteredPipeline
from pipelines.run import run_study
from storage.records import ObjectKind
from tests.integration.pipelines.levels_run import levels, offered, run, written
from tests.unit.pipelines.volume_files import write_series

__all__ = ["offered"]


def test_a_folder_is_run_with_the_series_that_fits(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    def other_series(image: Dataset, index: int) -> None:
        image.SeriesInstanceUID, image.SOPInstanceUID = "2.25.9", f"2.25.9.{index}"

    write_series(tmp_path / "in" / "ct", levels(), modality="CT", edit=other_series)
    write_series(tmp_path / "in" / "mr", levels())
    (tmp_path / "in" / "notes.txt").write_text("not an image", encoding="utf-8")
    result = run_study(offered, tmp_path / "in", tmp_path / "out", device="cpu")
    source = dcmread(tmp_path / "out" / result.objects[0].path).ReferencedSeriesSequence[0]
    assert source.SeriesInstanceUID == "2.25.2001"


def test_a_folder_in_which_no_series_fits_is_refused_with_the_reasons(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    write_series(tmp_path / "in", levels(), modality="CT")
    with pytest.raises(
        Refused, match="no_pipeline_matches: series 3, image: Modality CT is not MR"
    ):
        run_study(offered, tmp_path / "in", tmp_path / "out", device="cpu")


def test_a_folder_of_two_studies_is_refused(offered: RegisteredPipeline, tmp_path: Path) -> None:
    def other_study(image: Dataset, index: int) -> None:
        image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.8", "2.25.9"

    write_series(tmp_path / "in" / "a", levels())
    write_series(tmp_path / "in" / "b", levels(), edit=other_study)
    with pytest.raises(Refused, match="the folder holds 2 studies"):
        run_study(offered, tmp_path / "in", tmp_path / "out", device="cpu")


KEY_IMAGES = Wanted(frozenset({ObjectKind.KOS, ObjectKind.PR}))


def test_key_images_and_outlines_are_made_where_they_are_wanted(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "in", levels(), spacing_mm=(2.0, 1.0, 1.0))
    result = run(offered, tmp_path, paths, wanted=KEY_IMAGES)
    assert [made.kind.name for made in result.objects] == ["SEG", "SR", "KOS", "PR"]
    assert [made.series_number for made in result.objects] == [9001, 9002, 9006, 9007]
    assert len({made.series_instance_uid for made in result.objects}) == 4
    before = written(tmp_path)
    run(offered, tmp_path, paths, wanted=KEY_IMAGES)
    assert written(tmp_path) == before


def test_a_result_without_findings_has_no_key_images(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "in", levels() // 4)
    result = run(offered, tmp_path, paths, wanted=KEY_IMAGES)
    assert [made.kind for made in result.objects] == [ObjectKind.SR]


def test_outlines_that_are_not_those_of_the_segmentation_are_not_sent(
    offered: RegisteredPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(dataset: Dataset, path: Path) -> tuple[int, str]:
        for annotation in dataset.get("GraphicAnnotationSequence", []):
            for line in annotation.get("GraphicObjectSequence", []):
                line.GraphicData = [value + 1 for value in line.GraphicData]
        return write_object(dataset, path)

    monkeypatch.setattr(pipelines.results, "write_object", shifted)
    paths = write_series(tmp_path / "in", levels(), spacing_mm=(2.0, 1.0, 1.0))
    with pytest.raises(ProofFailed, match="PR outlines"):
        run(offered, tmp_path, paths, wanted=KEY_IMAGES)
    assert written(tmp_path) == {}
