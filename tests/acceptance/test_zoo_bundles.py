"""Published bundles, dropped in with a definition each, answer as MONAI's own runner does.

Over the wire: C-STORE in, the SEG at the PACS, decoded and compared voxel by voxel with what
`monai.bundle run` saves for the same voxels and weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.bundle_files import bundle_metadata
from pipelines.definition_proposal import proposed_definition
from pipelines.objects.source_series import functional_group
from tests.acceptance.pacs_stand_in import PacsStandIn
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import accept_model, site
from tests.peers.stock_bundle_run import stock_answers
from tests.unit.pipelines.volume_files import write_series
from tests.unit.pipelines.zoo_bundles import (
    BRATS,
    NAMES,
    SHARED,
    body,
    write_nifti,
    zoo_bundle,
)

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data/zoo_bundles is not there"),
    pytest.mark.timeout(3000),
]

SEQUENCES = ("FLAIR", "T2", "T1", "T1c")
CT_SHAPE, CT_SPACING_MM = (24, 40, 36), (4.0, 2.5, 2.5)
MR_SHAPE, MR_SPACING_MM = (30, 40, 36), (1.0, 1.0, 1.0)
ORIGIN = (-20.0, -30.0, 10.0)
EDEMA = {"value": "79654002", "scheme": "SCT", "meaning": "Edema"}
NEOPLASM = {"value": "108369006", "scheme": "SCT", "meaning": "Neoplasm"}


@dataclass(frozen=True)
class Case:
    """What is sent, and the same voxels for MONAI's runner."""

    folder: Path
    images: list[Path]


def ct_case(folder: Path) -> Case:
    voxels = body(CT_SHAPE, 1)
    write_series(
        folder / "ct", voxels, spacing_mm=CT_SPACING_MM, modality="CT", edit=_series("1", "CT")
    )
    return Case(
        folder / "ct", [write_nifti(folder / "ct.nii.gz", [voxels], _affine(CT_SPACING_MM))]
    )


def mr_case(folder: Path) -> Case:
    """Four sequences, sent in another order than the network takes them."""
    images = {}
    for number, name in enumerate(SEQUENCES):
        voxels = body(MR_SHAPE, 10 + number)
        write_series(
            folder / "mr" / name, voxels, spacing_mm=MR_SPACING_MM, edit=_series(f"2{number}", name)
        )
        path = folder / f"{name}.nii.gz"
        images[name] = write_nifti(path, [voxels], _affine(MR_SPACING_MM))
    return Case(folder / "mr", [images[name] for name in ("T1c", "T1", "T2", "FLAIR")])


def _series(number: str, description: str) -> Any:
    def edit(image: Dataset, index: int) -> None:
        image.SeriesInstanceUID = f"2.25.77.{number}"
        image.StudyInstanceUID = f"2.25.77.{number[0]}00"
        image.SOPInstanceUID = f"2.25.77.{number}.{index + 1}"
        image.SeriesDescription = description

    return edit


def _affine(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm
    affine[:, 3] = (*ORIGIN, 1.0)
    return affine


def write_pipeline(site_dir: Path, name: str) -> Path:
    """The bundle, accepted, and its definition as proposed; BraTS as its answer is relabelled."""
    bundle = zoo_bundle(site_dir / "models", name)
    accept_model(site_dir / "data", bundle)
    pipeline = name.partition("_")[0].lower()
    values = proposed_definition(pipeline, name, bundle_metadata(bundle))
    if name == BRATS:
        values["segments"] = [
            {**one, "label_value": value, "type": kind, "also": also}
            for one, value, kind, also in zip(
                values["segments"],
                (1, 2, 4),
                (NEOPLASM, EDEMA, NEOPLASM),
                ([4], [1, 4], []),
                strict=True,
            )
        ]
    path = site_dir / "definitions" / f"{pipeline}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return bundle


def shown(seg: Dataset, shape: tuple[int, ...], step_mm: float) -> dict[str, NDArray[np.bool_]]:
    """Masks by segment label, slices found by position."""
    labels = {int(one.SegmentNumber): str(one.SegmentLabel) for one in seg.SegmentSequence}
    masks = {label: np.zeros(shape, dtype=np.bool_) for label in labels.values()}
    frames = seg.pixel_array.reshape(-1, *shape[1:])
    for index, frame in enumerate(frames):
        place = functional_group(seg, index, "PlanePositionSequence")
        segment = functional_group(seg, index, "SegmentIdentificationSequence")
        z, number = float(place.ImagePositionPatient[2]), int(segment.ReferencedSegmentNumber)
        masks[labels[number]][round((z - ORIGIN[2]) / step_mm)] = frame > 0
    return masks


def test_published_bundles_answer_over_the_wire_as_monai_does(tmp_path: Path) -> None:
    site_dir = tmp_path / "site"
    site_dir.mkdir()
    bundles = {name: write_pipeline(site_dir, name) for name in NAMES}
    ct, mr = ct_case(tmp_path), mr_case(tmp_path)
    cases = {name: mr if name == BRATS else ct for name in NAMES}
    stock = dict(
        zip(
            NAMES,
            stock_answers(
                [(bundles[name], cases[name].images, tmp_path / "stock" / name) for name in NAMES]
            ),
            strict=True,
        )
    )
    pacs = PacsStandIn()
    offered = sorted(path.stem for path in (site_dir / "definitions").iterdir())
    settings = site(
        site_dir,
        pacs,
        pipelines={
            "enabled": offered,
            "definitions_dir": str(site_dir / "definitions"),
            "bundles_dir": str(site_dir / "models"),
        },
    )
    with pacs.up(), RadnodeProcess(site_dir, settings) as node:
        for folder in (ct.folder, mr.folder):
            sent = node.run("send", str(folder))
            assert sent.returncode == 0, sent.stderr
        node.wait_until(
            lambda: len(pacs.of_modality("SR")) == len(NAMES), what="every report", timeout_s=2400
        )
        segs = {seg.SeriesDescription: seg for seg in pacs.of_modality("SEG")}
    for name in NAMES:
        title = bundle_metadata(bundles[name]).name
        _assert_same(name, segs[f"AI {title}"], stock[name], bundles[name])


def _assert_same(name: str, seg: Dataset, stock: NDArray[np.int64], bundle: Path) -> None:
    masks = shown(seg, stock.shape, MR_SPACING_MM[0] if name == BRATS else CT_SPACING_MM[0])
    channels = bundle_metadata(bundle).channels
    groups: dict[str, tuple[int, ...]]
    if name == BRATS:
        groups = {"Tumor core": (1, 4), "Whole tumor": (2, 1, 4), "Enhancing tumor": (4,)}
    else:
        groups = {label: (value,) for value, label in channels.items() if value}
    present = {label for label, values in groups.items() if np.isin(stock, values).any()}
    assert set(masks) == present
    assert present
    for label, mask in masks.items():
        assert np.mean(mask == np.isin(stock, groups[label])) >= 0.999, label
