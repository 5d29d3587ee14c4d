"""Reads the one projection (CR, DX, MG) of a series that a definition wants, or refuses them all.

A series may hold several views, retakes and raw images. Headers are judged one by one before any
pixel is decoded; what is left must be one image, unless the policy says which of several to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values
from pipelines.displayed_values import displayed
from pipelines.errors import RefusalCode, Refused
from pipelines.geometry import VolumeGeometry
from pipelines.image_kinds import ImageFile, projections_only
from pipelines.objects.source_series import SourceSeries
from pipelines.pixel_values import (
    is_lossy,
    read_file,
    refuse_blank,
    refuse_lossy,
    refuse_unidentified,
    slice_values,
    unturned_values,
)
from pipelines.projection_criteria import NOT_TOLD, image_failures, taken_at
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume

PLANE = "projection"
UNKNOWN_MM = 1.0
SMALLEST_EDGE = 16
"""Of less, a model would answer all the same: its preprocessing makes any size of any other."""

LARGEST_MAGNIFICATION = 10.0
"""A factor below 1 or above is a slip of the pen: the body lies between tube and detector."""


def read_projection(paths: Sequence[Path], policy: ReadingPolicy) -> SeriesVolume:
    """The projection as a volume of one slice [1, row, column], without a place in the patient.

    `spacing_mm` is that at the body where the header allows (see `pixel_spacing_mm`). Raises
    `Refused`, and `InferenceFailed` when the disk does not give a file.
    """
    images = [(path, read_file(path, with_pixels=False)) for path in paths]
    if not images:
        raise Refused(RefusalCode.NOT_A_PROJECTION, "the series has no images")
    kept = projections_only(images, policy)
    refuse_unidentified([header for _, header in kept])
    path, header = _one_of(_fitting(kept, policy), policy)
    if is_lossy(header) and not policy.allow_lossy:
        refuse_lossy()
    if not policy.allow_contradictory_polarity:
        _refuse_polarity(header)
    if policy.values == "displayed":
        image = read_file(path, with_pixels=True)
        pixels = displayed(unturned_values(image), image)
    else:
        pixels = slice_values(path)
    _refuse_small(pixels)
    refuse_blank(pixels)
    spacing = pixel_spacing_mm(header) or _aspect(header)
    geometry = VolumeGeometry((0,), np.diag([1.0, *spacing, 1.0]), (1.0, *spacing), PLANE)
    return SeriesVolume(pixels[np.newaxis], geometry, SourceSeries((header,), is_projection=True))


def pixel_spacing_mm(header: Dataset) -> tuple[float, float] | None:
    """Millimetres between (rows, columns), None where they are not stated.

    Pixel Spacing where there is one (calibrated), else that at the detector, brought to the body
    by the magnification if that is stated (PS3.3 10.7.1.3, C.8.11.7).
    """
    calibrated = _two_positive(header, "PixelSpacing")
    if calibrated:
        return calibrated
    at_detector = _two_positive(header, "ImagerPixelSpacing") or _two_positive(
        header, "NominalScannedPixelSpacing"
    )
    if at_detector is None:
        return None
    stated = attribute_values(header, "EstimatedRadiographicMagnificationFactor")
    factor = stated[0] if stated and isinstance(stated[0], int | float) else 1.0
    factor = factor if 1.0 <= factor <= LARGEST_MAGNIFICATION else 1.0
    return at_detector[0] / factor, at_detector[1] / factor


def _refuse_small(pixels: NDArray[np.float32]) -> None:
    if min(pixels.shape) < SMALLEST_EDGE:
        rows, columns = pixels.shape
        text = (
            f"{rows} x {columns} pixels; a picture has at least {SMALLEST_EDGE} x {SMALLEST_EDGE}"
        )
        raise Refused(RefusalCode.TOO_SMALL, text)


def _refuse_polarity(header: Dataset) -> None:
    """Black and white must not hang on which of two attributes somebody looks at.

    MONOCHROME1 goes with Presentation LUT Shape INVERSE, MONOCHROME2 with IDENTITY (PS3.3
    C.8.11.3.1.2); of another pair, some viewers follow the one and some the other.
    """
    kind = "".join(map(str, attribute_values(header, "PhotometricInterpretation")))
    shape = "".join(map(str, attribute_values(header, "PresentationLUTShape"))).strip().upper()
    if (kind, shape) in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")):
        text = (
            f"{kind} with Presentation LUT Shape {shape}: black and white may be exchanged; the "
            "definition can follow the former (allow_contradictory_polarity)"
        )
        raise Refused(RefusalCode.INVERTED_VALUES, text)


def _aspect(header: Dataset) -> tuple[float, float]:
    """Spacing of unknown size, in the ratio of Pixel Aspect Ratio (vertical to horizontal)."""
    ratio = _two_positive(header, "PixelAspectRatio")
    return (ratio[0] / ratio[1] * UNKNOWN_MM, UNKNOWN_MM) if ratio else (UNKNOWN_MM, UNKNOWN_MM)


def _two_positive(header: Dataset, keyword: str) -> tuple[float, float] | None:
    values = [float(v) for v in attribute_values(header, keyword) if _is_number(v)]
    if len(values) != 2 or not all(np.isfinite(v) and v > 0 for v in values):
        return None
    return values[0], values[1]


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _fitting(images: Sequence[ImageFile], policy: ReadingPolicy) -> list[ImageFile]:
    judged = [(one, list(image_failures(one[1], policy))) for one in images]
    fitting = [one for one, failures in judged if not failures]
    if fitting:
        return fitting
    told = "; ".join(dict.fromkeys(text for _, failures in judged for _, text in failures))
    abouts = {about for _, failures in judged for about, _ in failures}
    code = RefusalCode.NO_PIPELINE_MATCHES
    if abouts <= {"view"}:
        code = RefusalCode.WRONG_VIEW
    elif abouts <= {"view", "laterality", NOT_TOLD}:
        code = RefusalCode.WRONG_LATERALITY
    raise Refused(code, f"none of {len(images)} images is the wanted one: {told}")


def _one_of(images: Sequence[ImageFile], policy: ReadingPolicy) -> ImageFile:
    if len(images) > 1 and policy.several_images == "refuse":
        text = (
            f"the series holds {len(images)} images that fit; criteria, views or several_images "
            "of the definition can choose"
        )
        raise Refused(RefusalCode.SEVERAL_IMAGES, text)
    ordered = sorted(images, key=lambda image: taken_at(image[1]))
    return ordered[-1 if policy.several_images == "last" else 0]
