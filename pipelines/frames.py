"""Every slice of a series with its place and what tells it from others at the same place.

Classic images are one file a slice; enhanced multi-frame images (PS3.3 A.36, A.38) are one file
with a functional group per frame, with the shared group in its place where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values
from pipelines.errors import RefusalCode, Refused
from pipelines.geometry import SlicePlane
from pipelines.objects.source_series import functional_group
from pipelines.pixel_values import BROKEN_FILE

IMAGE_FLAVOUR = 2

TRAITS: Mapping[str, tuple[str, ...]] = {
    "stack": ("StackID",),
    "echo": ("EchoNumbers", "EffectiveEchoTime", "EchoTime"),
    "b-value": ("DiffusionBValue",),
    "diffusion direction": ("DiffusionGradientOrientation",),
    "image type": ("FrameType", "ImageType"),
    "complex component": ("ComplexImageComponent",),
    "convolution kernel": ("ConvolutionKernel",),
    "temporal position": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    "cardiac phase": ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    "acquisition number": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "acquisition time": (
        "FrameAcquisitionDateTime",
        "AcquisitionDateTime",
        "AcquisitionTime",
    ),
}
"""What tells volumes of one series apart, the most telling first, and where it stands: the first
keyword that has a value counts."""

_NESTED = ("DiffusionGradientDirectionSequence",)

Trait = tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice: its file, its header, its place; `number` (from 1) in an enhanced image."""

    path: Path
    header: Dataset
    number: int | None
    plane: SlicePlane

    def trait(self, name: str) -> Trait:
        """Values of one of `TRAITS`, () where the image does not say."""
        for keyword in TRAITS[name]:
            values = _values(self._places(), keyword)
            if values:
                return values[IMAGE_FLAVOUR:] if name == "image type" else values
        return ()

    def judged_header(self) -> Dataset:
        """The header as criteria see it: an enhanced image with this frame's groups only."""
        if self.number is None:
            return self.header
        alone = Dataset()
        alone.update(self.header)
        group = self.header.PerFrameFunctionalGroupsSequence[self.number - 1]
        del alone.PerFrameFunctionalGroupsSequence  # the element is the header's own
        alone.PerFrameFunctionalGroupsSequence = [group]
        return alone

    def _places(self) -> Iterator[Dataset]:
        if self.number is not None:
            groups = [self.header.PerFrameFunctionalGroupsSequence[self.number - 1]]
            groups.extend(self.header.get("SharedFunctionalGroupsSequence") or [])
            for group in groups:
                for element in group:
                    if element.VR == "SQ" and element.value:
                        yield element.value[0]
                        yield from _nested(element.value[0])
        yield self.header


def _nested(item: Dataset) -> Iterator[Dataset]:
    for keyword in _NESTED:
        yield from (item.get(keyword) or [])[:1]


def _values(places: Iterator[Dataset], keyword: str) -> Trait:
    for place in places:
        if keyword in place:
            values = attribute_values(place, keyword)
            if values:
                return values
    return ()


def sortable(trait: Trait) -> tuple[tuple[bool, float, str], ...]:
    """A key that puts the values of one trait in order: numbers by size, before words."""
    return tuple(
        (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))
        for value in trait
    )


def frames_of(path: Path, header: Dataset) -> list[Frame]:
    """The slices of one file. Raises `Refused` (no_geometry, not_a_volume)."""
    if "PerFrameFunctionalGroupsSequence" in header:
        return [
            Frame(path, header, index + 1, _frame_plane(header, index))
            for index in range(_frame_count(header))
        ]
    if attribute_values(header, "NumberOfFrames") not in ((), (1,)):
        text = "multi-frame images without functional groups have no place in space"
        raise Refused(RefusalCode.NOT_A_VOLUME, text)
    return [Frame(path, header, None, _plane(header, header, header, header))]


def _frame_count(header: Dataset) -> int:
    groups = len(header.PerFrameFunctionalGroupsSequence)
    if attribute_values(header, "NumberOfFrames") != (groups,):
        text = f"NumberOfFrames is not the {groups} of the per-frame functional groups"
        raise Refused(RefusalCode.NO_GEOMETRY, text)
    return groups


def _frame_plane(header: Dataset, index: int) -> SlicePlane:
    try:
        position = functional_group(header, index, "PlanePositionSequence")
        orientation = functional_group(header, index, "PlaneOrientationSequence")
        measures = functional_group(header, index, "PixelMeasuresSequence")
    except (AttributeError, IndexError) as error:
        text = f"frame {index + 1} states no position, orientation or spacing"
        raise Refused(RefusalCode.NO_GEOMETRY, text) from error
    return _plane(header, position, orientation, measures)


def _plane(header: Dataset, place: Dataset, orientation: Dataset, measures: Dataset) -> SlicePlane:
    position = _numbers(place, "ImagePositionPatient", 3)
    cosines = _numbers(orientation, "ImageOrientationPatient", 6)
    spacing = _numbers(measures, "PixelSpacing", 2)
    rows, columns = (_numbers(header, keyword, 1)[0] for keyword in ("Rows", "Columns"))
    return SlicePlane(position, cosines, spacing, int(rows), int(columns))


def _numbers(header: Dataset, keyword: str, count: int) -> Any:
    try:
        value = header[keyword].value
        numbers = tuple(float(item) for item in ([value] if count == 1 else value))
    except BROKEN_FILE as error:
        raise Refused(RefusalCode.NO_GEOMETRY, f"{keyword} is missing or malformed") from error
    if len(numbers) != count:
        raise Refused(RefusalCode.NO_GEOMETRY, f"{keyword} has {len(numbers)} of {count} values")
    return numbers
