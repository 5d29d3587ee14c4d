"""X-rays made up for the tests, written as real DX and MG files, and a classifier for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import DenseNet
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from tests.unit.pipelines.classifier_bundle import ACTIVATION, CHANNEL, LOAD, SCALE, classes
from tests.unit.pipelines.classifier_bundle import metadata as volume_metadata
from tests.unit.pipelines.threshold_bundle import FLOAT, write_json

SIZE = (48, 40)
NETWORK: dict[str, Any] = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 3,
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
    "bn_size": 2,
}
DX = {"kind": "projection", "where": [{"tag": "Modality", "equals": "DX"}]}


def chest(shape: tuple[int, int] = (60, 52), seed: int = 4) -> NDArray[np.uint16]:
    """Stored values [row, column] of 12 bits without any symmetry."""
    y, x = np.indices(shape) / np.reshape(shape, (2, 1, 1))
    lung = ((x - 0.3) / 0.2) ** 2 + ((y - 0.45) / 0.35) ** 2 < 1
    noise = np.random.default_rng(seed).normal(0, 40, shape)
    values = 2500 - 1400 * lung + 600 * x - 300 * y + noise
    clipped: NDArray[np.uint16] = np.clip(values, 0, 4095).astype(np.uint16)
    return clipped


def x_ray(pixels: NDArray[np.uint16], number: int = 1, **attributes: Any) -> Dataset:
    """A digital X-ray for presentation as devices write it; `attributes` replace its own."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = f"2.25.3100.{number}"
    image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.3000", "2.25.3001"
    image.PatientName, image.PatientID = "Doe^Jane", "PID-1"
    image.PatientBirthDate, image.PatientSex = "19700101", "F"
    image.StudyDate, image.StudyTime = "20240115", "0930"
    image.AccessionNumber, image.StudyID = "A-1", "1"
    image.Modality, image.SeriesNumber, image.InstanceNumber = "DX", 1, number
    image.SeriesDescription = "Thorax"
    image.ImageType = ["DERIVED", "PRIMARY"]
    image.PresentationIntentType = "FOR PRESENTATION"
    image.BodyPartExamined, image.ViewPosition = "CHEST", "PA"
    image.PatientOrientation = ["L", "F"]
    image.ImagerPixelSpacing = [0.143, 0.143]
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleSlope, image.RescaleIntercept = 1, 0
    for keyword, value in attributes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    return image


def saved(image: Dataset, path: Path) -> Path:
    """Write the file and give its path."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def write_x_ray(folder: Path, **attributes: Any) -> Path:
    """One PA chest X-ray; gives its path."""
    return saved(x_ray(chest(), **attributes), folder / "1.dcm")


def write_flat_classifier(
    folder: Path, *, channels: int = 1, seed: int = 5, **changes: Any
) -> Path:
    """A bundle that takes pictures [column, row]: a small DenseNet with seeded weights."""
    resized = {"_target_": "Resized", "keys": "image", "spatial_size": list(SIZE)}
    network = {**NETWORK, "in_channels": channels}
    config = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "/nowhere",
        "device": "$torch.device('cpu')",
        "network_def": {"_target_": "DenseNet", **network},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [LOAD, CHANNEL, SCALE, resized, FLOAT],
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [ACTIVATION]},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    write_json(folder / "configs" / "inference.json", {**config, **changes})
    write_json(folder / "configs" / "metadata.json", flat_metadata(channels))
    torch.manual_seed(seed)
    state = DenseNet(**network).state_dict()
    torch.save({"model": state}, folder / "models" / "model.pt")
    return folder


def flat_metadata(channels: int = 1) -> dict[str, Any]:
    told = volume_metadata()
    image = {"num_channels": channels, "spatial_shape": list(SIZE), "modality": "CXR"}
    image["channel_def"] = {"0": "image"}
    told["network_data_format"]["inputs"]["image"] = image
    return told


def flat_classes(*points: float, **image: Any) -> dict[str, Any]:
    """Changes of a definition: cyst and mass on a DX; `image` changes its input."""
    return {**classes(*points), "inputs": {"image": {**DX, **image}}}
