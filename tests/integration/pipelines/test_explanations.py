"""Heat maps of classifiers: where they lie, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet, resnet18
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.gradcam
import pipelines.results
from pipelines.class_cases import class_cases
from pipelines.classifying import Judge
from pipelines.errors import InvalidBundle, ProofFailed
from pipelines.explaining import placed_map
from pipelines.explanation_schema import Explanation
from pipelines.gradcam import Explainer, found_layer, map_shapes
from pipelines.model_check import checked_model
from pipelines.model_loading import load_model
from pipelines.objects.parametric_map import MapRequest, build_parametric_map, decoded_frames
from pipelines.objects.write import write_object
from pipelines.pages import Wanted
from pipelines.preprocessing import preprocessed
from pipelines.reading_policy import ReadingPolicy
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from pipelines.series_volume import SeriesVolume, read_series
from storage.records import JobResult, ObjectKind
from tests.peers.dicom_checkers import dciodvfy
from tests.unit.pipelines.bright_spot import BRIGHT, explained_classes, write_bright_spot
from tests.unit.pipelines.classifier_bundle import CHANNEL, LOAD
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import DX, saved, x_ray
from tests.unit.pipelines.threshold_bundle import FLOAT, RAS, spacing
from tests.unit.pipelines.volume_files import write_series

PAGES = Wanted(frozenset({ObjectKind.PDF, ObjectKind.SC}))
CPU = torch.device("cpu")
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "axial, mirrored": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "transposed": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
}


def spots(shape: tuple[int, int, int] = (8, 12, 10)) -> NDArray[np.uint16]:
    """Two bright spots of different size and brightness, nowhere symmetric."""
    voxels = np.random.default_rng(2).integers(0, 200, shape).astype(np.uint16)
    voxels[1:3, 2:5, 6:8] = 900
    voxels[5, 8, 1] = 600
    return voxels


def expected(voxels: NDArray[Any]) -> NDArray[np.float64]:
    heat = np.clip(voxels.astype(np.float64) - BRIGHT, 0, None)
    share: NDArray[np.float64] = heat / heat.max()
    return share


def offered(folder: Path, changes: dict[str, Any], **bundle: Any) -> RegisteredPipeline:
    write_bright_spot(folder / "tiny", **bundle)
    return register(definition(**changes), folder)


def map_of(registered: RegisteredPipeline, volume: SeriesVolume) -> NDArray[np.float32]:
    bundle = load_model(registered, CPU)
    definition = registered.definition
    (case,) = class_cases(definition, {"image": volume}, bundle, registered.channel_roles)
    explainer = Explainer(case.data, Judge(bundle), definition.explanation or Explanation())
    return placed_map(explainer, 1, case.pictures[0], bundle)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_the_map_lies_on_the_voxels_that_decided(
    tmp_path: Path, method: str, orientation: Sequence[float]
) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9, method=method))
    voxels = spots()
    paths = write_series(tmp_path / "in", voxels, orientation=orientation)
    volume = read_series(paths)
    assert np.array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(map_of(registered, volume), expected(voxels), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_image_has_the_mirrored_map_whatever_the_bundle_prepares(
    tmp_path: Path, axis: int
) -> None:
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}
    crop["select_fn"] = "$lambda x: x > 150"
    resized = {"_target_": "Resized", "keys": "image", "spatial_size": [20, 16, 18]}
    chain = [LOAD, CHANNEL, RAS, spacing(0.8, 1.1, 1.6), crop, resized, FLOAT]
    registered = offered(tmp_path, explained_classes(0.1, 0.9), preprocessing=chain)
    volume = read_series(write_series(tmp_path / "in", spots(), spacing_mm=(2.0, 1.0, 1.0)))
    mirrored = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))
    straight, other = map_of(registered, volume), map_of(registered, mirrored)
    difference = np.abs(np.flip(other, axis) - straight)
    # Rounding the size of a resampled grid moves it by part of a voxel.
    assert np.corrcoef(np.flip(other, axis).ravel(), straight.ravel())[0, 1] > 0.9
    assert difference.mean() < 0.03
    assert np.corrcoef(other.ravel(), straight.ravel())[0, 1] < 0.5
    brightest = np.unravel_index(straight.argmax(), straight.shape)
    assert volume.voxels[brightest] == 900


def test_a_planted_fault_in_the_way_back_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    volume = read_series(write_series(tmp_path / "in", spots((10, 10, 10))))
    right = map_of(registered, volume)
    was = pipelines.gradcam.Explainer.network_map
    for fault in ((0,), (1,), (2,)):
        monkeypatch.setattr(
            pipelines.gradcam.Explainer,
            "network_map",
            lambda self, output, channels, axes=fault: torch.flip(was(self, output), axes),
        )
        assert np.abs(map_of(registered, volume) - right).max() > 0.5


def test_a_tilted_stack_gets_its_map_slice_by_slice(tmp_path: Path) -> None:
    def lean(image: Dataset, index: int) -> None:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + index, z]

    changes = explained_classes(0.1, 0.9)
    changes["inputs"] = {
        "image": {"where": [{"tag": "Modality", "equals": "MR"}], "allow_tilt": True}
    }
    registered = offered(tmp_path, changes)
    voxels = spots()
    paths = write_series(tmp_path / "in", voxels, spacing_mm=(2.0, 1.0, 1.0), edit=lean)
    policy = ReadingPolicy.of(registered.definition.inputs["image"])
    found = map_of(registered, read_series(paths, policy))
    np.testing.assert_allclose(found, expected(voxels), atol=1e-5)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    at = datetime(2024, 1, 15, tzinfo=UTC)
    return run_study(
        registered, tmp_path / "in", tmp_path / out, device="cpu", content_time=at, wanted=PAGES
    )


def pictures(result: JobResult, folder: Path) -> list[Dataset]:
    made = [one for one in result.objects if one.path.name.startswith("heat-")]
    return [dcmread(folder / one.path) for one in made]


def heat_of(picture: Dataset) -> NDArray[np.int64]:
    """How coloured each pixel is: grey ones have three equal values."""
    rgb = picture.pixel_array.astype(int)
    heat: NDArray[np.int64] = rgb.max(axis=-1) - rgb.min(axis=-1)
    return heat


def test_pictures_show_the_map_on_the_slices_that_they_name(tmp_path: Path) -> None:
    voxels = spots()
    write_series(tmp_path / "in", voxels)
    result = run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    found = pictures(result, tmp_path / "out")
    shown = {str(p.SourceImageSequence[0].ReferencedSOPInstanceUID): heat_of(p) for p in found}
    assert set(shown) == {"2.25.2001.2", "2.25.2001.3", "2.25.2001.6"}
    for uid, heat in shown.items():
        index = int(uid.rpartition(".")[2]) - 1
        assert np.array_equal(heat > 0, voxels[index] > BRIGHT)
    assert {str(p.SeriesDescription) for p in found} == {"AI levels heat map"}
    assert len({str(p.SeriesInstanceUID) for p in found}) == 1
    assert "Grad-CAM of Cyst at layer 1" in found[0].DerivationDescription


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def test_the_report_names_them_as_visual_explanations(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    result = run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    (made,) = (one for one in result.objects if one.kind is ObjectKind.SR)
    report = dcmread(tmp_path / "out" / made.path)
    named = [
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "130401"
    ]
    assert named == [str(p.SOPInstanceUID) for p in pictures(result, tmp_path / "out")]
    evidence = {
        str(one.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert set(named) <= evidence


def test_key_images_of_a_classifier_are_those_with_heat(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    wanted = Wanted(frozenset({ObjectKind.KOS, ObjectKind.PR}))
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert ObjectKind.PR not in {made.kind for made in result.objects}
    (made,) = (one for one in result.objects if one.kind is ObjectKind.KOS)
    selection = dcmread(tmp_path / "out" / made.path)
    named = {
        str(one.ReferencedSOPInstanceUID)
        for item in items(selection)
        for one in item.get("ReferencedSOPSequence", [])
    }
    assert named == {"2.25.2001.2", "2.25.2001.3", "2.25.2001.6"}


def test_a_report_that_names_another_picture_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(dataset: Dataset, path: Path) -> tuple[int, str]:
        for item in items(dataset):
            if item.ConceptNameCodeSequence[0].CodeValue == "130401":
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1"
        return write_object(dataset, path)

    write_series(tmp_path / "in", spots())
    monkeypatch.setattr(pipelines.results, "write_object", turned)
    with pytest.raises(ProofFailed, match="pictures"):
        run(offered(tmp_path, explained_classes(0.1, 0.9)), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_pictures_and_report(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (300, 280)).astype(np.uint16)
    saved(x_ray(pixels), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    for made in result.objects:
        told = dciodvfy(tmp_path / "out" / made.path)
        # Our own codes are no defined term of any template.
        assert [one for one in told if "<99RADNODE>" not in one] == [], made.path.name


def test_what_is_absent_is_not_explained(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots() // 4)
    result = run(offered(tmp_path, explained_classes(0.99, 0.99)), tmp_path)
    assert pictures(result, tmp_path / "out") == []
    assert len(result.objects) == 3


def test_the_same_job_writes_the_same_pictures(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    one, other = (run(registered, tmp_path, out) for out in ("one", "two"))
    assert [made.sha256 for made in one.objects] == [made.sha256 for made in other.objects]


@pytest.mark.parametrize("stated", [["L", "F"], ["R", "F"], ["L", "H"], ["F", "L"]], ids="/".join)
def test_an_x_ray_gets_its_map_on_its_own_stored_pixels(tmp_path: Path, stated: list[str]) -> None:
    pixels = np.random.default_rng(3).integers(0, 200, (30, 26)).astype(np.uint16)
    pixels[4:9, 15:19] = 1000
    saved(x_ray(pixels, PatientOrientation=stated), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    (picture,) = pictures(result, tmp_path / "out")
    assert (picture.Rows, picture.Columns) == pixels.shape
    assert np.array_equal(heat_of(picture) > 0, pixels > BRIGHT)
    assert list(picture.PatientOrientation) == stated


def test_the_warm_network_stays_as_it_was(tmp_path: Path) -> None:
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    volume = read_series(write_series(tmp_path / "in", spots()))
    bundle = load_model(registered, CPU)
    before = Judge(bundle).of(preprocessed({"image": volume}, bundle))
    map_of(registered, volume)
    data = preprocessed({"image": volume}, bundle)
    Explainer(data, Judge(bundle), Explanation()).network_map(1)
    assert not any(module._forward_hooks for module in bundle.network.modules())
    after = Judge(bundle).of(preprocessed({"image": volume}, bundle))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (DenseNet(2, 1, 3, 8, 4, (2, 2), bn_size=2), "class_layers.relu"),
        (resnet18(spatial_dims=2, n_input_channels=1, num_classes=3), "layer4"),
    ],
    ids=["DenseNet", "ResNet"],
)
def test_the_layer_that_is_found_is_the_one_that_is_usually_named(
    network: torch.nn.Module, layer: str
) -> None:
    assert found_layer(map_shapes(network.eval(), torch.zeros(1, 1, 64, 64))) == layer


def test_a_named_layer_is_taken_and_a_wrong_one_told(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    named = offered(tmp_path, explained_classes(0.1, 0.9, layer="0"))
    checked = checked_model(named, tmp_path / "in", "cpu")
    assert checked.explanation == "Grad-CAM at layer 0 (named), whose map is 10 x 12 x 8"
    wrong = register(definition(**explained_classes(0.1, 0.9, layer="encoder.7")), tmp_path)
    assert "layer encoder.7 answers no map of the image; the last that do: 0, 1" in (
        checked_model(wrong, tmp_path / "in", "cpu").failure
    )
    with pytest.raises(InvalidBundle, match=r"encoder\.7"):
        run(wrong, tmp_path)


def test_a_check_says_what_could_be_looked_at_where_nothing_is_asked(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    changes = {**explained_classes(0.1, 0.9), "explanation": None}
    checked = checked_model(offered(tmp_path, changes), tmp_path / "in", "cpu")
    told = "not asked for; it would be Grad-CAM at layer 1 (found), whose map is 10 x 12 x 8"
    assert checked.explanation == told


def test_a_torchscript_network_is_told_to_be_opaque(tmp_path: Path) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    torch.jit.script(network.eval()).save(  # type: ignore[no-untyped-call]
        str(tmp_path / "flat.ts")
    )
    changes = {**explained_classes(0.01, 0.01), "inputs": {"image": DX}, "bundle": "flat.ts"}
    changes["classes"] = changes["classes"][:1]
    changes["network"] = {"labels": {0: "nothing", 1: "cyst"}}
    saved(x_ray(np.arange(900, dtype=np.uint16).reshape(30, 30)), tmp_path / "in" / "1.dcm")
    with pytest.raises(InvalidBundle, match="TorchScript network cannot be looked into"):
        run(register(definition(**changes), tmp_path), tmp_path)


def test_what_is_burnt_into_an_x_ray_stays_marked_in_its_pictures(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (30, 26)).astype(np.uint16)
    saved(x_ray(pixels, BurnedInAnnotation="YES"), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    result = run(offered(tmp_path, changes, dimensions=2), tmp_path)
    made = [one for one in result.objects if one.kind in (ObjectKind.HEAT, ObjectKind.SC)]
    marks = {dcmread(tmp_path / "out" / one.path).BurnedInAnnotation for one in made}
    assert (len(made), marks) == (2, {"YES"})


def test_the_values_of_a_volumes_map_are_written_where_somebody_wants_them(tmp_path: Path) -> None:
    write_series(tmp_path / "in", spots())
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    wanted = Wanted(frozenset({ObjectKind.PM}))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    (made,) = (one for one in result.objects if one.kind is ObjectKind.PM)
    frames = decoded_frames(dcmread(tmp_path / "out" / made.path))
    shares = expected(spots())
    assert sorted(map(float, frames.max(axis=(1, 2)))) == pytest.approx(
        sorted(map(float, shares.max(axis=(1, 2)))), abs=1e-5
    )


def test_an_x_ray_has_no_values_to_write_and_its_result_goes_on(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 1200, (30, 26)).astype(np.uint16)
    saved(x_ray(pixels), tmp_path / "in" / "1.dcm")
    changes = {**explained_classes(0.1, 0.9), "inputs": {"image": DX}}
    registered = offered(tmp_path, changes, dimensions=2)
    wanted = Wanted(frozenset({ObjectKind.PM}))
    result = run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert [one.kind for one in result.objects] == [ObjectKind.HEAT, ObjectKind.SR]


def test_a_map_that_is_not_proved_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(request: MapRequest) -> Dataset:
        heat = replace(request.heat, values=request.heat.values[:, ::-1])
        return build_parametric_map(replace(request, heat=heat))

    monkeypatch.setattr("pipelines.results.build_parametric_map", flipped)
    write_series(tmp_path / "in", spots())
    wanted = Wanted(frozenset({ObjectKind.PM}))
    registered = offered(tmp_path, explained_classes(0.1, 0.9))
    with pytest.raises(ProofFailed, match="Parametric Map differs"):
        run_study(registered, tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted)
    assert list((tmp_path / "out").iterdir()) == []
