"""How the slices of a source look on a screen: rescale, window, polarity (PS3.3 C.11, PS3.4 N.2).

A presentation state has one Modality LUT for all of its images, so that slices with rescales of
their own are shown by windows in stored values, which look the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from pipelines.errors import Refused
from pipelines.objects.key_images import grey_range
from pipelines.objects.source_series import SourceSeries, functional_group
from pipelines.pixel_values import PHYSICAL_UNITS
from pipelines.series_volume import SeriesVolume
from pipelines.suv import suv_factor

_CT_CENTRE_HU, _CT_WIDTH_HU = 40.0, 400.0
_WIDEST = 5.0
"""A window so many times wider than the values shows next to nothing: that of an image from which a
crop was made, say."""

_LINEAR = "LINEAR"
_FUNCTIONS = frozenset({_LINEAR, "LINEAR_EXACT", "SIGMOID"})
_MALFORMED = (AttributeError, LookupError, OverflowError, TypeError, ValueError)


class NotGrey(Exception):
    """The images have no grey scale that a presentation state could state; the text says why."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """Modality LUT as a line: `kind` is the Rescale Type of what comes out."""

    slope: float = 1.0
    intercept: float = 0.0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class GreyWindow:
    """One window (PS3.3 C.11.2.1.2), in the values that the rescale gives."""

    centre: float
    width: float
    function: str = _LINEAR

    def before(self, rescale: Rescale) -> GreyWindow:
        """Give the window of the values before a rescale that shows the same; it must rise."""
        # LINEAR reaches its ends half a value early (PS3.3 C.11.2.1.2.1).
        half, less = (0.5, 1.0) if self.function == _LINEAR else (0.0, 0.0)
        centre = (self.centre - half - rescale.intercept) / rescale.slope + half
        return GreyWindow(centre, (self.width - less) / rescale.slope + less, self.function)


@dataclass(frozen=True, slots=True)
class GreyScale:
    """What to show slices with: a rescale for all or none, a window for each, and the polarity."""

    rescale: Rescale | None
    windows: tuple[GreyWindow, ...]
    is_inverse: bool


def grey_scale(volume: SeriesVolume, slices: Sequence[int]) -> GreyScale:
    """Give the grey scale of these slices (0-based).

    The window is the image's own first one; a CT without has one of soft tissue, others, and
    those whose window is far too wide, show what the key images show.

    Raises:
        NotGrey: the images are no grey ones, or their values follow from a table.
    """
    rescales = [_rescale(volume.source, index) for index in slices]
    windows = [
        _window(volume, slices, index, rescale)
        for index, rescale in zip(slices, rescales, strict=True)
    ]
    stated = [rescale or Rescale() for rescale in rescales]
    is_inverse = _is_inverse(volume.source)
    if len(set(rescales)) == 1:
        return GreyScale(rescales[0], tuple(windows), is_inverse)
    if any(rescale.slope < 0 for rescale in stated):
        raise NotGrey("the images differ in rescale, and it falls")
    before = [window.before(rescale) for window, rescale in zip(windows, stated, strict=True)]
    return GreyScale(None, tuple(before), is_inverse)


def _is_inverse(source: SourceSeries) -> bool:
    kinds = {str(header.get("PhotometricInterpretation", "")) for header in source.headers}
    if kinds not in ({"MONOCHROME1"}, {"MONOCHROME2"}):
        raise NotGrey("the images are not all MONOCHROME1, or all MONOCHROME2")
    return kinds == {"MONOCHROME1"}


def _rescale(source: SourceSeries, index: int) -> Rescale | None:
    """Give the rescale of a slice; None where it states none."""
    item = _item(source, index, "PixelValueTransformationSequence")
    if item.get("ModalityLUTSequence"):
        raise NotGrey("their values follow from a Modality LUT")
    try:
        slope, intercept = _number(item, "RescaleSlope"), _number(item, "RescaleIntercept")
    except _MALFORMED:
        raise NotGrey("their rescale is malformed") from None
    if slope is None and intercept is None:
        return None
    is_ct = source.first.get("Modality") == "CT"
    kind = str(item.get("RescaleType") or "") or ("HU" if is_ct else "US")
    return Rescale(1.0 if slope is None else slope, intercept or 0.0, kind)


def _window(
    volume: SeriesVolume, slices: Sequence[int], index: int, rescale: Rescale | None
) -> GreyWindow:
    stated = _stated_window(volume.source, index)
    if stated is not None and volume.source.first.get("Modality") == "CT":
        return stated
    made = _made_window(volume, slices, index, rescale)
    return stated if stated is not None and stated.width <= _WIDEST * made.width else made


def _stated_window(source: SourceSeries, index: int) -> GreyWindow | None:
    """Give the first window of a slice; None where there is none that can be used."""
    item = _item(source, index, "FrameVOILUTSequence")
    try:
        centre, width = _number(item, "WindowCenter"), _number(item, "WindowWidth")
        function = str(item.get("VOILUTFunction") or _LINEAR).strip().upper()
    except _MALFORMED:
        return None
    if centre is None or width is None or function not in _FUNCTIONS:
        return None
    if not math.isfinite(centre) or not math.isfinite(width):
        return None
    return GreyWindow(centre, width, function) if width >= 1 else None


def _made_window(
    volume: SeriesVolume, slices: Sequence[int], index: int, rescale: Rescale | None
) -> GreyWindow:
    source = volume.source
    if source.first.get("Modality") == "CT":
        return GreyWindow(_CT_CENTRE_HU, _CT_WIDTH_HU)
    ends = grey_range([volume.voxels[each] for each in slices])
    darkest, brightest = sorted(_as_rescaled(end, source, index, rescale) for end in ends)
    return GreyWindow((darkest + brightest) / 2, max(1.0, brightest - darkest))


def _as_rescaled(value: float, source: SourceSeries, index: int, rescale: Rescale | None) -> float:
    """Undo what the reading of pixels does beyond the rescale: SUV, and MONOCHROME1 turned."""
    header = source.first if source.is_multiframe else source.headers[index]
    line = rescale or Rescale()
    modality = header.get("Modality")
    if modality == "PT":
        try:
            return value / suv_factor(header)
        except (Refused, ZeroDivisionError):
            return value
    if header.get("PhotometricInterpretation") != "MONOCHROME1" or modality in PHYSICAL_UNITS:
        return value
    is_signed = int(header.get("PixelRepresentation", 0)) == 1
    ends = -1 if is_signed else 2 ** int(header.BitsStored) - 1
    return line.slope * ends + 2 * line.intercept - value


def _item(source: SourceSeries, index: int, keyword: str) -> Dataset:
    """Give what holds an attribute of a slice: its header, or a functional group of its frame."""
    if not source.is_multiframe:
        return source.headers[index]
    try:
        return functional_group(source.first, source.frame_numbers[index] - 1, keyword)
    except (AttributeError, IndexError):
        return source.first


def _number(item: Dataset, keyword: str) -> float | None:
    value: Any = item.get(keyword)
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])
