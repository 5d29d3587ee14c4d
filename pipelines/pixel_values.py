"""Stored pixels to the values that the modality meant (PS3.3 C.11.1), as float32.

* Rescale slope and intercept are taken per slice, for enhanced images per frame; a Modality
  LUT Sequence is applied where there is one.
* MONOCHROME1 is inverted within the stored range, except for CT and PET, whose values are
  physical units and mean the same however they are displayed.
* A negative slope of MR images is refused: which end of the scale is bright is then a guess.
* A High Bit that is not Bits Stored - 1 (PS3.5 8.1.1) is refused: nobody knows which bits count.
* CT values below -1024 HU (padding outside the reconstructed circle) become -1024; pixels that
  Pixel Padding Value and Range Limit name become -1024 HU, or else the lowest measured value.
* PET becomes uptake by body weight (SUV, g/mL).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from pipelines.errors import InferenceFailed, RefusalCode, Refused
from pipelines.objects.source_series import functional_group
from pipelines.padding import filled, padded_pixels
from pipelines.suv import suv_factor

LOWEST_HOUNSFIELD = -1024.0
MOST_EQUAL_VOXELS = 0.999
PHYSICAL_UNITS = frozenset({"CT", "PT"})

ALWAYS_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})

# What pydicom and its decoders raise on malformed files; anything else is a fault of ours.
BROKEN_FILE = (
    AttributeError,
    EOFError,
    InvalidDicomError,
    KeyError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_file(path: Path, *, with_pixels: bool) -> Dataset:
    """Read one DICOM file.

    Raises `Refused` (unreadable_pixels) when it is malformed and `InferenceFailed` when the
    disk does not give it. The path is not told: its parts are UIDs.
    """
    try:
        return _with_own_uids(dcmread(path, stop_before_pixels=not with_pixels))
    except OSError as error:
        raise _from_disk(error) from error
    except BROKEN_FILE as error:
        raise _unreadable("an image file is malformed", error) from error


def _with_own_uids(image: Dataset) -> Dataset:
    # Some anonymisers empty both, and leave them in the file's own header (PS3.10 7.1).
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not image.get(keyword):
            setattr(image, keyword, image.file_meta.get(f"MediaStorage{keyword}") or "")
    return image


def slice_values(path: Path) -> NDArray[np.float32]:
    """Values of a single-frame image, float32 [row, column]. Raises `Refused`."""
    image = read_file(path, with_pixels=True)
    stored = _decoded(image, dimensions=2)
    return _finite(_modality_values(stored, image, image))


def unturned_values(image: Dataset) -> NDArray[np.float32]:
    """Values of a single-frame image with its pixels, MONOCHROME1 left as it is stored.

    Padding is at the end of the scale that a screen shows black. Raises `Refused`.
    """
    stored = _decoded(image, dimensions=2)
    try:
        is_padding = padded_pixels(stored, image)
        values = _by_modality_lut(stored, image, str(image.get("Modality", "")))
    except BROKEN_FILE as error:
        raise _unreadable("the rescale or padding attributes are malformed", error) from error
    if is_padding is not None and not bool(is_padding.all()):
        measured = values[~is_padding]
        is_white = image.get("PhotometricInterpretation") == "MONOCHROME1"
        values = np.where(is_padding, measured.max() if is_white else measured.min(), values)
    return _finite(values)


def frame_values(path: Path, frame_numbers: Sequence[int]) -> NDArray[np.float32]:
    """Values of the given frames (from 1) of an enhanced image, float32 [slice, row, column].

    Raises `Refused`.
    """
    image = read_file(path, with_pixels=True)
    stored = _decoded(image, dimensions=3)
    frames = [
        _modality_values(stored[number - 1], _transformation(image, number - 1), image)
        for number in frame_numbers
    ]
    return _finite(np.stack(frames))


def is_lossy(header: Dataset) -> bool:
    """Whether the image says that it lost detail, or came in an encoding that always loses some."""
    meta = getattr(header, "file_meta", None) or Dataset()
    is_marked = str(header.get("LossyImageCompression", "")) == "01"
    return is_marked or str(meta.get("TransferSyntaxUID", "")) in ALWAYS_LOSSY


def _decoded(image: Dataset, *, dimensions: int) -> NDArray[np.generic]:
    _refuse_shifted_bits(image)
    try:
        stored: NDArray[np.generic] = image.pixel_array
    except OSError as error:
        raise _from_disk(error) from error
    except BROKEN_FILE as error:
        raise _unreadable(f"pixels in {_syntax(image)} cannot be decoded", error) from error
    if stored.ndim == dimensions - 1:
        stored = stored[np.newaxis]
    if stored.ndim != dimensions:
        raise Refused(RefusalCode.UNREADABLE_PIXELS, f"pixels have {stored.ndim} dimensions")
    return stored


def _refuse_shifted_bits(image: Dataset) -> None:
    # pydicom takes the lowest Bits Stored bits whatever High Bit says.
    try:
        bits_stored, high_bit = int(image.BitsStored), int(image.HighBit)
    except BROKEN_FILE as error:
        raise _unreadable("BitsStored or HighBit is missing or malformed", error) from error
    if high_bit != bits_stored - 1:
        text = f"HighBit is {high_bit}, and with BitsStored {bits_stored} must be {bits_stored - 1}"
        raise Refused(RefusalCode.UNREADABLE_PIXELS, text)


def _transformation(image: Dataset, index: int) -> Dataset:
    try:
        return functional_group(image, index, "PixelValueTransformationSequence")
    except (AttributeError, IndexError):
        return image  # optional: stored values are the values


def _modality_values(
    stored: NDArray[np.generic], rescale: Dataset, image: Dataset
) -> NDArray[np.float32]:
    modality = str(image.get("Modality", ""))
    try:
        is_padding = padded_pixels(stored, image)
        values = _rescaled(stored, rescale, image, modality)
    except BROKEN_FILE as error:
        raise _unreadable("the rescale or padding attributes are malformed", error) from error
    if modality == "CT":
        values = np.maximum(values, np.float32(LOWEST_HOUNSFIELD))
    if modality == "PT":
        values = values * np.float32(suv_factor(image))
    if is_padding is None:
        return values
    return filled(values, is_padding, LOWEST_HOUNSFIELD if modality == "CT" else None)


def _rescaled(
    stored: NDArray[np.generic], rescale: Dataset, image: Dataset, modality: str
) -> NDArray[np.float32]:
    if image.get("PhotometricInterpretation") == "MONOCHROME1":
        stored = stored if modality in PHYSICAL_UNITS else _inverted(stored, image)
    return _by_modality_lut(stored, rescale, modality)


def _by_modality_lut(
    stored: NDArray[np.generic], rescale: Dataset, modality: str
) -> NDArray[np.float32]:
    if rescale.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, rescale), dtype=np.float32)
    slope = _number(rescale, "RescaleSlope", 1.0)
    intercept = _number(rescale, "RescaleIntercept", 0.0)
    _refuse_slope(slope, modality)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
        return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _refuse_slope(slope: float, modality: str) -> None:
    if slope == 0:
        raise Refused(RefusalCode.UNREADABLE_PIXELS, "RescaleSlope is 0: the pixels are lost")
    if slope < 0 and modality == "MR":
        text = f"RescaleSlope is {slope:g}: bright and dark may be exchanged"
        raise Refused(RefusalCode.INVERTED_VALUES, text)


def _number(header: Dataset, keyword: str, otherwise: float) -> float:
    value = header.get(keyword)
    return otherwise if value is None or value == "" else float(value)


def _inverted(stored: NDArray[np.generic], image: Dataset) -> NDArray[np.generic]:
    bits, is_signed = int(image.BitsStored), int(image.PixelRepresentation) == 1
    lowest_plus_highest = -1 if is_signed else 2**bits - 1
    inverted: NDArray[np.generic] = lowest_plus_highest - stored.astype(np.int64)
    return inverted


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        text = f"{wrong} of {values.size} rescaled values are not finite numbers"
        raise Refused(RefusalCode.UNREADABLE_PIXELS, text)
    return values


def refuse_lossy() -> NoReturn:
    """Raise `Refused` (lossy_compression)."""
    text = "the images were compressed with loss; the definition can allow that (allow_lossy)"
    raise Refused(RefusalCode.LOSSY_COMPRESSION, text)


def refuse_unidentified(headers: Sequence[Dataset]) -> None:
    """Raise `Refused` (unidentified) when an image cannot be named in a result."""
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    empty = [name for name in keywords if not all(header.get(name) for header in headers)]
    if empty:
        text = f"{', '.join(empty)} missing or empty: a result could not name its images"
        raise Refused(RefusalCode.UNIDENTIFIED, text)


def refuse_blank(voxels: NDArray[np.float32]) -> None:
    """Raise `Refused` (no_contrast) when (almost) all voxels have one value: no image of a body.

    The model would find something in such a series all the same.
    """
    flat = voxels.ravel()
    # Only a value that is the median can be that of more than half of the voxels.
    median = np.partition(flat, flat.size // 2)[flat.size // 2]
    equal = int(np.count_nonzero(flat == median))
    if equal > MOST_EQUAL_VOXELS * flat.size:
        text = (
            f"{equal} of {flat.size} voxels have the same value, {median:g} "
            f"(all lie between {flat.min():g} and {flat.max():g})"
        )
        raise Refused(RefusalCode.NO_CONTRAST, text)


def _syntax(image: Dataset) -> str:
    syntax = image.file_meta.get("TransferSyntaxUID") if hasattr(image, "file_meta") else None
    return str(getattr(syntax, "name", "an unknown transfer syntax"))


def _from_disk(error: OSError) -> Refused | InferenceFailed:
    if error.errno is None:  # pydicom's own word for a file that breaks off
        return _unreadable("an image file is malformed", error)
    return InferenceFailed(f"an image file cannot be read: {error.strerror}")


def _unreadable(text: str, error: Exception) -> Refused:
    # The foreign message may quote file content, so only its type is told.
    return Refused(RefusalCode.UNREADABLE_PIXELS, f"{text} ({type(error).__name__})")
