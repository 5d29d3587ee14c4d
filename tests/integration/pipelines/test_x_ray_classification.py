"""A classifier of X-rays, from DICOM files to a proved report and its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import DenseNet
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.bundle_metadata import read_metadata
from pipelines.definition_proposal import proposed_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InferenceFailed, RefusalCode, Refused
from pipelines.model_check import checked_model
from pipelines.pages import Wanted
from pipelines.registry import RegisteredPipeline, register
from pipelines.run import run_study
from storage.quantities import CERTAINTY
from storage.records import JobResult, ObjectKind
from tests.unit.pipelines.classifier_bundle import LOAD, SCALE
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.projections import (
    NETWORK,
    SIZE,
    chest,
    flat_classes,
    saved,
    write_flat_classifier,
    write_x_ray,
    x_ray,
)
from tests.unit.pipelines.threshold_bundle import FLOAT, spacing

PAGES = Wanted(frozenset({ObjectKind.PDF, ObjectKind.SC}))


def offered(folder: Path, **image: Any) -> RegisteredPipeline:
    if not (folder / "tiny").exists():
        write_flat_classifier(folder / "tiny")
    return register(definition(**flat_classes(0.01, 0.99, **image)), folder)


def run(registered: RegisteredPipeline, tmp_path: Path, out: str = "out") -> JobResult:
    if not (tmp_path / "in").exists():
        write_x_ray(tmp_path / "in")
    return run_study(registered, tmp_path / "in", tmp_path / out, device="cpu", wanted=PAGES)


def certainties(result: JobResult) -> list[float]:
    return [m.value for m in result.measurements if m.quantity == CERTAINTY]


def by_stock(bundle: Path, picture: NDArray[Any], folder: Path) -> list[float]:
    """What the bundle says of the same pixels as a picture, loaded by MONAI itself, in percent."""
    path = folder / "picture.png"
    Image.fromarray(picture).save(path)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    loaded = parser.get_parsed_content("preprocessing")({"image": str(path)})["image"]
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt")["model"])
    with torch.inference_mode():
        answer = torch.softmax(network(loaded[None].as_tensor()), dim=1)[0]
    return [100 * float(value) for value in answer]


@pytest.mark.parametrize("channels", [1, 3])
def test_certainties_are_those_that_monai_finds_on_the_exported_picture(
    tmp_path: Path, channels: int
) -> None:
    write_flat_classifier(tmp_path / "tiny", channels=channels)
    window = {"WindowCenter": 2000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}
    write_x_ray(tmp_path / "in", **window)
    found = certainties(run(offered(tmp_path, values="displayed"), tmp_path))
    shown = np.rint(255 * np.clip((chest() - 2000.0) / 2000 + 0.5, 0, 1)).astype(np.uint8)
    picture = np.stack([shown] * 3, axis=-1) if channels == 3 else shown
    assert found == pytest.approx(by_stock(tmp_path / "tiny", picture, tmp_path)[1:], rel=1e-4)


def test_report_and_pages_name_the_image_and_what_is_found(tmp_path: Path) -> None:
    result = run(offered(tmp_path), tmp_path)
    assert [made.kind for made in result.objects] == [
        ObjectKind.SR,
        ObjectKind.PDF,
        ObjectKind.SC,
    ]
    report, _, capture = (dcmread(tmp_path / "out" / made.path) for made in result.objects)
    images = {str(item.ReferencedSOPInstanceUID) for item in _references(report)}
    assert images == {"2.25.3100.1"}
    assert (report.PatientID, report.StudyInstanceUID) == ("PID-1", "2.25.3000")
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == "2.25.3100.1"
    present = [m.is_present for m in result.measurements if m.quantity == CERTAINTY]
    assert present == [True, False]


def _references(node: Dataset) -> Any:
    for item in node.get("ContentSequence", []):
        yield from item.get("ReferencedSOPSequence", [])
        yield from _references(item)


def test_the_key_image_of_a_finding_is_the_x_ray_and_nothing_is_outlined(tmp_path: Path) -> None:
    write_x_ray(tmp_path / "in")
    wanted = Wanted(frozenset({ObjectKind.KOS, ObjectKind.PR}))
    result = run_study(
        offered(tmp_path), tmp_path / "in", tmp_path / "out", device="cpu", wanted=wanted
    )
    assert [made.kind for made in result.objects] == [ObjectKind.SR, ObjectKind.KOS]
    selection = dcmread(tmp_path / "out" / result.objects[-1].path)
    assert {str(item.ReferencedSOPInstanceUID) for item in _references(selection)} == {
        "2.25.3100.1"
    }


@pytest.mark.parametrize(
    ("stated", "stored"),
    [
        (["R", "F"], lambda pixels: pixels[:, ::-1]),
        (["L", "H"], lambda pixels: pixels[::-1]),
        (["F", "L"], lambda pixels: pixels.T),
    ],
    ids=["mirrored", "upside down", "lying"],
)
def test_an_x_ray_stored_otherwise_gets_the_same_certainties(
    tmp_path: Path, stated: list[str], stored: Any
) -> None:
    registered = offered(tmp_path)
    upright = certainties(run(registered, tmp_path))
    turned = x_ray(np.ascontiguousarray(stored(chest())), PatientOrientation=stated)
    saved(turned, tmp_path / "turned" / "1.dcm")
    result = run_study(registered, tmp_path / "turned", tmp_path / "other", device="cpu")
    assert certainties(result) == pytest.approx(upright, rel=1e-6)


def test_a_series_of_two_views_is_chosen_by_the_view_it_holds(tmp_path: Path) -> None:
    lateral = x_ray(chest(seed=8), 1, ViewPosition="LL", PatientOrientation=["A", "F"])
    saved(lateral, tmp_path / "in" / "1.dcm")
    saved(x_ray(chest(), 2), tmp_path / "in" / "2.dcm")
    result = run(offered(tmp_path, views=["frontal"]), tmp_path)
    report = dcmread(tmp_path / "out" / result.objects[0].path)
    assert {str(i.ReferencedSOPInstanceUID) for i in _references(report)} == {"2.25.3100.2"}
    with pytest.raises(Refused, match="the view is lateral, not cc") as caught:
        run(offered(tmp_path, views=["cc"]), tmp_path, "other")
    assert caught.value.code is RefusalCode.NO_PIPELINE_MATCHES


def test_a_plain_torchscript_classifier_needs_but_a_few_lines(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = DenseNet(**NETWORK).eval()
    torch.jit.trace(network, torch.zeros(1, 1, *SIZE)).save(str(tmp_path / "flat.ts"))  # type: ignore[no-untyped-call]
    told = {
        "labels": {0: "nothing", 1: "cyst", 2: "mass"},
        "resize": list(SIZE),
        "intensity": [{"range": [0, 4095]}],
    }
    registered = register(
        definition(**{**flat_classes(0.01, 0.99), "bundle": "flat.ts", "network": told}), tmp_path
    )
    found = certainties(run(registered, tmp_path))
    assert 0 < min(found) < max(found) < 100


def test_pixels_that_are_not_square_are_refused_unless_the_model_resamples(
    tmp_path: Path,
) -> None:
    write_x_ray(tmp_path / "in", ImagerPixelSpacing=[0.2, 0.1])
    with pytest.raises(Refused, match=r"0\.2 high and 0\.1 wide") as caught:
        run(offered(tmp_path), tmp_path)
    assert caught.value.code is RefusalCode.NON_SQUARE_PIXELS
    channel = {"_target_": "EnsureChannelFirstd", "keys": "image"}
    pad = {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": list(SIZE)}
    steps = [LOAD, channel, spacing(0.2, 0.2), SCALE, pad, FLOAT]
    chain = {"_target_": "Compose", "transforms": steps}
    write_flat_classifier(tmp_path / "mm" / "tiny", preprocessing=chain)
    registered = offered(tmp_path / "mm")
    assert len(certainties(run(registered, tmp_path, "mm_out"))) == 2
    write_x_ray(tmp_path / "unstated", ImagerPixelSpacing=None)
    with pytest.raises(Refused) as caught:
        run_study(registered, tmp_path / "unstated", tmp_path / "no", device="cpu")
    assert caught.value.code is RefusalCode.NO_GEOMETRY


def test_an_argmax_without_an_activation_is_taken_as_softmax(tmp_path: Path) -> None:
    argmax = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True, "to_onehot": 3}
    chain = {"_target_": "Compose", "transforms": [argmax]}
    write_flat_classifier(tmp_path / "other" / "tiny", postprocessing=chain)
    plain = certainties(run(offered(tmp_path), tmp_path))
    assert certainties(run(offered(tmp_path / "other"), tmp_path, "more")) == plain


def test_a_network_for_volumes_breaks_with_a_message(tmp_path: Path) -> None:
    config = {"_target_": "DenseNet", **NETWORK, "in_channels": 2}
    bundle = write_flat_classifier(tmp_path / "tiny", network_def=config)
    state = DenseNet(**{**NETWORK, "in_channels": 2}).state_dict()
    torch.save(state, bundle / "models" / "model.pt")
    with pytest.raises(InferenceFailed, match=r"the network broke on an image of \(1, 48, 40\)"):
        run(offered(tmp_path), tmp_path)


def test_a_check_runs_it_and_a_proposal_for_it_is_valid(tmp_path: Path) -> None:
    registered = offered(tmp_path)
    write_x_ray(tmp_path / "in")
    checked = checked_model(registered, tmp_path / "in", "cpu")
    assert (checked.failure, checked.network_shape) == ("", (1, *SIZE))
    told = read_metadata(tmp_path / "tiny" / "configs" / "metadata.json")
    proposal = PipelineDefinition.model_validate(proposed_definition("mine", "tiny", told))
    assert proposal.is_of_projections
    assert certainties(run(register(proposal, tmp_path), tmp_path)) != []
