"""The cases of the inference benchmark: a UNet bundle, and a CT volume.

The volume is written as NIfTI, for MONAI's own runner, and as DICOM, for radnode: the same voxels.
`python -m tests.benchmarks.infer_case FOLDER CLASSES SIZE` writes one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.ndimage import gaussian_filter

from pipelines.definition_schema import PipelineDefinition
from tests.benchmarks.infer_network import HIGHEST_HU, LOWEST_HU, NETWORK, fitted_network
from tests.benchmarks.infer_sizes import NAME, SIZES, Size
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.volume_files import write_series

AIR_HU = -1000
PREPROCESSING: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": LOWEST_HU,
        "a_max": HIGHEST_HU,
        "b_min": 0,
        "b_max": 1,
        "clip": True,
    },
    {"_target_": "EnsureTyped", "keys": "image"},
]
POSTPROCESSING: list[dict[str, Any]] = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": False,
        "to_tensor": True,
    },
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_postfix": "labels",
        "resample": False,
        "separate_folder": False,
    },
]


def write_bundle(folder: Path, classes: int, values: NDArray[np.int16]) -> Path:
    """Write the bundle below `folder`, fitted to the values of its volume."""
    bundle = folder / NAME
    for name in ("configs", "models"):
        (bundle / name).mkdir(parents=True)
    network = fitted_network(classes, values)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    config = {
        "bundle_root": ".",
        "dataset_dir": "/nowhere",
        "output_dir": "/nowhere",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "UNet", "out_channels": classes, **NETWORK},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": PREPROCESSING},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': @dataset_dir + '/image.nii.gz'}]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [96, 96, 96],
            "sw_batch_size": 4,
            "overlap": 0.25,
        },
        "postprocessing": {"_target_": "Compose", "transforms": POSTPROCESSING},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "initialize": [
            "$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))"
        ],
        "run": ["$@evaluator.run()"],
    }
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    (bundle / "configs" / "metadata.json").write_text(json.dumps(_metadata(classes)))
    return bundle


def _metadata(classes: int) -> dict[str, Any]:
    channels = {"0": "background"} | {str(c): label_of(c) for c in range(1, classes)}
    return {
        "name": "Benchmark",
        "version": "0.1.0",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1}},
            "outputs": {"pred": {"channel_def": channels}},
        },
    }


def label_of(value: int) -> str:
    """The name of a label value."""
    return f"structure {value}"


def value_of(label: str) -> int:
    """The value of a label's name."""
    return int(label.removeprefix("structure "))


def pipeline(classes: int) -> PipelineDefinition:
    """A definition that takes the series and names every class."""
    segment = definition().segments[0].model_dump()
    segments = [
        segment
        | {
            "label_value": value,
            "label": label_of(value),
            "tracking_id": label_of(value),
            "color_rgb": (value % 256, value // 256, 128),
        }
        for value in range(1, classes)
    ]
    image = {"image": {"where": [{"tag": "Modality", "equals": "CT"}]}}
    return definition(bundle=NAME, inputs=image, segments=segments)


def ct_values(size: Size) -> NDArray[np.int16]:
    """A body of soft tissue with organs, bone and noise in air; HU [slice, row, column].

    Its organs are blobs, of which each has a density between fat and muscle.
    """
    noise = np.random.default_rng(7)
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, count)) for count in size.shape)]
    body = (x / 0.85) ** 2 + (y / 0.65) ** 2 + 0 * z < 1
    organs = gaussian_filter(noise.standard_normal(size.shape, dtype=np.float32), (4, 12, 12))
    density = 53 + 90 * np.tanh(organs / organs.std())
    values = np.where(body, density.astype(np.float32), np.float32(AIR_HU))
    values[np.broadcast_to((x**2 + (y - 0.4) ** 2 + 0 * z) < 0.01, size.shape)] = 500
    values += 12 * noise.standard_normal(size.shape, dtype=np.float32)
    result: NDArray[np.int16] = np.clip(values, -1024, 3000).astype(np.int16)
    return result


def write_volume(folder: Path, size: Size, values: NDArray[np.int16]) -> None:
    """Write `folder`/nifti/image.nii.gz and `folder`/dicom."""
    origin = (-180.0, -190.0, 20.0)

    def plain(image: Dataset, _: int) -> None:
        image.RescaleSlope, image.RescaleIntercept = 1, 0

    write_series(
        folder / "dicom",
        values,
        origin=origin,
        spacing_mm=size.spacing_mm,
        modality="CT",
        edit=plain,
    )
    dz, dy, dx = size.spacing_mm
    affine = np.diag([-dx, -dy, dz, 1.0])
    affine[:3, 3] = -origin[0], -origin[1], origin[2]
    (folder / "nifti").mkdir()
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), folder / "nifti/image.nii.gz")


def main() -> None:
    """Write bundle and volume."""
    folder, classes, size = Path(sys.argv[1]), int(sys.argv[2]), SIZES[sys.argv[3]]
    values = ct_values(size)
    write_bundle(folder, classes, values)
    write_volume(folder, size, values)


if __name__ == "__main__":
    main()
