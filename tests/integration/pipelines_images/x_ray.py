"""A chest X-ray that is published as a picture, wrapped as the DICOM image that it once was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian


def wrapped_x_ray(picture: Path, path: Path) -> Path:
    """Write the picture as a DX image of one frame, 8 bits, and give its path."""
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("L"))
    image = Dataset()
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID, image.StudyInstanceUID = "2.25.31", "2.25.32"
    image.SeriesInstanceUID, image.Modality = "2.25.33", "DX"
    image.ImageType = ["DERIVED", "PRIMARY"]
    image.ImagerPixelSpacing = [0.5, 0.5]
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    odd = b"\0" * (pixels.size % 2)
    image.PixelData = pixels.tobytes() + odd
    image["PixelData"].VR = "OB"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path
