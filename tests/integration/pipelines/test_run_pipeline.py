"""One job from files to proved result objects, with a model whose answer is known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.results
from pipelines.errors import InferenceFailed, ProofFailed, RefusalCode, Refused
from pipelines.model_cache import loaded_model
from pipelines.objects.write import write_object
from pipelines.registry import RegisteredPipeline, register
from storage.records import ObjectKind, Outcome
from tests.integration.pipelines.levels_run import levels, offered, run, written
from tests.unit.pipelines.definitions import definition, values
from tests.unit.pipelines.ramps import changed
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.pipelines.volume_files import write_enhanced, write_series

__all__ = ["offered"]


STAGES = ["load_model", "measure", "preprocess", "read", "restore", "seg", "sr"]


def with_criteria(offered: RegisteredPipeline, **criteria: Any) -> RegisteredPipeline:
    image = {**values()["inputs"]["image"], **criteria}
    return register(definition(inputs={"image": image}), offered.bundle_dir.parent)


def test_findings_become_a_segmentation_and_a_report(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "in", levels(), spacing_mm=(2.0, 1.0, 1.0))
    result = run(offered, tmp_path, paths)
    assert result.outcome is Outcome.FINDINGS
    assert [made.kind for made in result.objects] == [ObjectKind.SEG, ObjectKind.SR]
    assert [made.series_number for made in result.objects] == [9001, 9002]
    assert [m.value for m in result.measurements] == pytest.approx([0.280, 0.048])
    assert set(STAGES) <= set(result.stage_times_s)
    assert (result.device, result.peak_memory_mib > 0) == ("cpu", True)
    for made in result.objects:
        content = (tmp_path / made.path).read_bytes()
        assert (made.size_bytes, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert str(dcmread(tmp_path / made.path).SOPInstanceUID) == made.sop_instance_uid


def test_the_written_segmentation_shows_the_voxels_of_the_source(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    result = run(offered, tmp_path, write_series(tmp_path / "in", levels()))
    assert np.array_equal(_shown(dcmread(tmp_path / result.objects[0].path)), _truth())


def _truth() -> NDArray[np.int64]:
    truth: NDArray[np.int64] = (levels() >= 100).astype(np.int64) + (levels() >= 200)
    return truth


def _shown(seg: Dataset) -> NDArray[np.int64]:
    """Segment numbers [slice, row, column], slices found by position (10 mm + 1 mm each)."""
    shown = np.zeros((8, 16, 20), dtype=np.int64)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        z = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        shown[round(z - 10)][frame > 0] = number
    return shown


def test_a_leaning_stack_gets_its_labels_slice_by_slice_where_tilt_is_allowed(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    def lean(image: Dataset, index: int) -> None:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + index, z]

    paths = write_series(tmp_path / "in", levels(), spacing_mm=(2.0, 1.0, 1.0), edit=lean)
    with pytest.raises(Refused) as caught:
        run(offered, tmp_path, paths)
    assert caught.value.code is RefusalCode.GANTRY_TILT
    result = run(with_criteria(offered, allow_tilt=True), tmp_path, paths)
    seg = dcmread(tmp_path / result.objects[0].path)
    shown = np.zeros((8, 16, 20), dtype=np.int64)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        _, y, z = (float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient)
        assert y == -30 + (z - 10) / 2
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        shown[round(z - 10) // 2][frame > 0] = number
    assert np.array_equal(shown, _truth())
    assert [m.value for m in result.measurements] == pytest.approx([0.280, 0.048])


def test_an_input_unlike_the_training_images_is_refused_before_the_model_runs(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    statistics = {"cases": 9, "limit": 2, "features": {"longest_edge_mm": [100, 120]}}
    careful = with_criteria(offered, input_statistics=statistics)
    with pytest.raises(Refused, match="longest_edge_mm is 20, in training 100 to 120") as caught:
        run(careful, tmp_path, write_series(tmp_path / "in", levels()))
    assert caught.value.code is RefusalCode.OUT_OF_DISTRIBUTION
    assert written(tmp_path) == {}


def test_a_job_run_again_writes_the_same_bytes(offered: RegisteredPipeline, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", levels())
    first = run(offered, tmp_path / "a", paths)
    again = run(offered, tmp_path / "b", paths[::-1])
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert first.objects == again.objects
    assert first.measurements == again.measurements


def test_another_input_digest_names_other_objects(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "in", levels())
    first = run(offered, tmp_path / "a", paths)
    other = run(offered, tmp_path / "b", paths, input_digest="d2")
    uids = {made.sop_instance_uid for made in (*first.objects, *other.objects)}
    assert len(uids) == 4


def test_nothing_found_is_a_report_without_a_segmentation(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    result = run(offered, tmp_path, write_series(tmp_path / "in", levels() // 4))
    assert result.outcome is Outcome.NO_FINDINGS
    assert [made.kind for made in result.objects] == [ObjectKind.SR]
    assert [(m.is_present, m.value) for m in result.measurements] == [(False, 0.0), (False, 0.0)]
    assert list(written(tmp_path)) == ["sr.dcm"]


def test_one_structure_alone_is_segment_one(offered: RegisteredPipeline, tmp_path: Path) -> None:
    stored = levels()
    stored[stored == 150] = 50
    result = run(offered, tmp_path, write_series(tmp_path / "in", stored))
    assert [m.segment_number for m in result.measurements] == [None, 1]
    assert len(dcmread(tmp_path / result.objects[0].path).SegmentSequence) == 1


def test_an_enhanced_image_is_answered_frame_by_frame(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    def plain(image: Dataset) -> None:
        for group in image.PerFrameFunctionalGroupsSequence:
            group.PixelValueTransformationSequence[0].RescaleSlope = 1

    order = [3, 0, 7, 1, 6, 2, 5, 4]
    path = write_enhanced(tmp_path / "in" / "e.dcm", levels(), slice_of_frame=order, edit=plain)
    result = run(offered, tmp_path, [path])
    seg = dcmread(tmp_path / result.objects[0].path)
    for group in seg.PerFrameFunctionalGroupsSequence:
        z = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert order[int(source.ReferencedFrameNumber) - 1] == round((z - 10) / 2)
    assert [m.value for m in result.measurements] == pytest.approx([0.280, 0.048])


def leaning(image: Dataset, index: int) -> None:
    image.ImagePositionPatient[1] += 0.3 * index


def other(keyword: str) -> Any:
    return changed(keyword, "2.25.77", at=3)


def lossy(image: Dataset, index: int) -> None:
    image.LossyImageCompression = "01"


@pytest.mark.parametrize(
    ("criteria", "edit", "code"),
    [
        ({}, leaning, RefusalCode.GANTRY_TILT),
        ({}, lossy, RefusalCode.LOSSY_COMPRESSION),
        ({}, other("StudyInstanceUID"), RefusalCode.MIXED_SERIES),
        ({}, other("PatientID"), RefusalCode.MIXED_SERIES),
        ({"slices": {"min": 9}}, None, RefusalCode.TOO_FEW_SLICES),
        ({"slices": {"min": 3, "max": 7}}, None, RefusalCode.TOO_MANY_SLICES),
        ({"orientation": ["coronal"]}, None, RefusalCode.WRONG_ORIENTATION),
    ],
)
def test_a_series_that_must_not_be_processed_leaves_nothing(
    offered: RegisteredPipeline, tmp_path: Path, criteria: dict[str, Any], edit: Any, code: str
) -> None:
    paths = write_series(tmp_path / "in", levels(), edit=edit)
    with pytest.raises(Refused) as caught:
        run(with_criteria(offered, **criteria), tmp_path, paths)
    assert caught.value.code == code
    assert written(tmp_path) == {}


def test_a_site_may_allow_lossy_images(offered: RegisteredPipeline, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", levels(), edit=lossy)
    assert run(with_criteria(offered, allow_lossy=True), tmp_path, paths).objects


def test_a_bundle_that_changed_after_registration_is_not_run(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels", note="first")
    registered = register(definition(), tmp_path)
    with (bundle / "configs" / "inference.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(Refused, match="pipeline_changed"):
        run(registered, tmp_path, write_series(tmp_path / "in", levels()))


def test_a_file_that_is_not_what_was_computed_does_not_stay(
    offered: RegisteredPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(dataset: Dataset, path: Path) -> tuple[int, str]:
        if path.name == "seg.dcm":
            pixels = bytearray(dataset.PixelData)
            pixels[0] ^= 1
            dataset.PixelData = bytes(pixels)
        return write_object(dataset, path)

    monkeypatch.setattr(pipelines.results, "write_object", flipped)
    with pytest.raises(ProofFailed):
        run(offered, tmp_path, write_series(tmp_path / "in", levels()))
    assert written(tmp_path) == {}


def test_a_gpu_that_is_not_there_is_a_failure_that_names_it(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    with pytest.raises(InferenceFailed, match="device cuda:99 is not there"):
        run(offered, tmp_path, write_series(tmp_path / "in", levels()), device="cuda:99")


def test_a_model_is_loaded_once_for_each_device(offered: RegisteredPipeline) -> None:
    import torch

    cpu = torch.device("cpu")
    assert loaded_model(offered, cpu) is loaded_model(offered, cpu)


def test_a_request_names_every_role_and_stays_in_the_data_directory(
    offered: RegisteredPipeline, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the pipeline takes"):
        run(offered, tmp_path, [], inputs={"other": ()})
    with pytest.raises(ValueError, match="out_dir"):
        run(offered, tmp_path / "data", [], out_dir=tmp_path / "elsewhere")
