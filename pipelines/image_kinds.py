"""Which images of a series are slices of a volume, told by their headers alone.

Localizers, derived images, secondary captures and mosaics come in the same series as slices, or
as a series that looks like one. What is left out is counted; a series of nothing else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values
from pipelines.errors import RefusalCode, Refused
from pipelines.reading_policy import ReadingPolicy

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds below it
PIXEL_DATA_CHARACTERISTICS, FLAVOUR = 0, 2  # values 1 and 3 of Image Type (PS3.3 C.7.6.1.1.2)

# Values of Modality (PS3.3 C.7.3.1.1.1).
NO_IMAGES = frozenset(
    ("ANN", "AU", "DOC", "ECG", "EEG", "EPS", "FID", "HD", "KO", "M3D", "PLAN", "PR", "REG")
) | frozenset(("RESP", "RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SMR", "SR", "TG"))
PROJECTIONS = frozenset(
    ("CR", "DG", "DX", "ES", "GM", "IO", "MG", "OP", "PX", "RF", "RG", "RTIMAGE", "SM", "XA", "XC")
)

X_RAYS = frozenset(("CR", "DG", "DX", "IO", "MG", "PX", "RF", "RG", "XA"))
"""Projections that are pictures by X-rays: one grey image shows the body from one side."""

FOR_PROCESSING = "FOR PROCESSING"
ORIGINALITY = 1  # value 2 of Image Type: PRIMARY or SECONDARY

ImageFile = tuple[Path, Dataset]


class _Kind(NamedTuple):
    code: RefusalCode
    is_one: Callable[[Dataset], bool]
    told: str


def slices_only(images: Sequence[ImageFile], policy: ReadingPolicy) -> list[ImageFile]:
    """The images that may be slices, in the order given.

    Raises `Refused` with the code of what they are when none is left: localizer, derived,
    secondary_capture, not_a_volume (mosaics, projections, no images at all) or not_greyscale.
    """
    return _left(images, _kinds(policy))


def projections_only(images: Sequence[ImageFile], policy: ReadingPolicy) -> list[ImageFile]:
    """The images that are projections for people to read, in the order given.

    What a detector gives is processed before anybody reads it, so DERIVED\\PRIMARY is the usual
    Image Type; DERIVED\\SECONDARY is made of such an image. Raises `Refused` with the code of
    what they are when none is left.
    """
    return _left(images, _projection_kinds(policy))


def is_projection(header: Dataset) -> bool:
    """Whether Modality says that the image is a projection or a picture, no slice."""
    return _modality(header) in PROJECTIONS


def projections_among(headers: Iterable[Dataset]) -> tuple[Dataset, ...]:
    """Those of them that are projections or pictures: each may be another view."""
    return tuple(header for header in headers if is_projection(header))


def is_made_of_another(header: Dataset) -> bool:
    """Whether Image Type of a projection says that it was made of a finished one."""
    values = _image_type(header)
    return is_derived(header) and values[ORIGINALITY : ORIGINALITY + 1] != ("PRIMARY",)


def is_for_processing(header: Dataset) -> bool:
    """Whether a projection is what the detector gave, which nobody reads."""
    return str(header.get("PresentationIntentType") or "").strip().upper() == FOR_PROCESSING


def _left(images: Sequence[ImageFile], kinds: Sequence[_Kind]) -> list[ImageFile]:
    left = list(images)
    for kind in kinds:
        kept = [image for image in left if not kind.is_one(image[1])]
        if not kept:
            told = f"{len(left)} of {len(images)} images {kind.told}, and no other is left"
            raise Refused(kind.code, told)
        left = kept
    return left


def is_derived(header: Dataset) -> bool:
    """Whether Image Type calls the pixels DERIVED from those of other images."""
    values = _image_type(header)
    return bool(values) and values[PIXEL_DATA_CHARACTERISTICS] == "DERIVED"


def _kinds(policy: ReadingPolicy) -> list[_Kind]:
    kinds = [
        _Kind(RefusalCode.NOT_A_VOLUME, _is_no_image, "are no images"),
        _Kind(RefusalCode.NOT_A_VOLUME, is_projection, "are projections or pictures, no slices"),
        _Kind(RefusalCode.SECONDARY_CAPTURE, _is_secondary_capture, "are secondary captures"),
        _Kind(RefusalCode.LOCALIZER, _is_localizer, "are localizers"),
        _Kind(RefusalCode.NOT_GREYSCALE, _is_colour, "have colour (SamplesPerPixel is not 1)"),
        _Kind(RefusalCode.NOT_A_VOLUME, _is_mosaic, "are mosaics of small slices"),
    ]
    if not policy.allow_derived:
        told = "are derived from others; the definition can allow that (allow_derived)"
        kinds.append(_Kind(RefusalCode.DERIVED, is_derived, told))
    return kinds


def strange_kinds(header: Dataset) -> Iterator[str]:
    """Why an image is no X-ray picture at all, whatever a definition allows, as `are ...`."""
    return (kind.told for kind in _NO_PICTURES if kind.is_one(header))


def _projection_kinds(policy: ReadingPolicy) -> list[_Kind]:
    kinds = list(_NO_PICTURES)
    if not policy.allow_for_processing:
        told = "are FOR PROCESSING; the definition can allow that (allow_for_processing)"
        kinds.append(_Kind(RefusalCode.FOR_PROCESSING, is_for_processing, told))
    if not policy.allow_derived:
        told = "are made of other projections; the definition can allow that (allow_derived)"
        kinds.append(_Kind(RefusalCode.DERIVED, is_made_of_another, told))
    return kinds


def _image_type(header: Dataset) -> tuple[str, ...]:
    return tuple(str(value).strip().upper() for value in attribute_values(header, "ImageType"))


def _is_no_image(header: Dataset) -> bool:
    return _modality(header) in NO_IMAGES or not attribute_values(header, "Rows")


def _is_no_x_ray(header: Dataset) -> bool:
    return _modality(header) not in X_RAYS


def _is_of_frames(header: Dataset) -> bool:
    # What an enhanced image says of its pixels stands in its functional groups.
    is_enhanced = bool(header.get("PerFrameFunctionalGroupsSequence"))
    return is_enhanced or attribute_values(header, "NumberOfFrames") not in ((), (1,))


def _modality(header: Dataset) -> str:
    return str(header.get("Modality") or "")


def _is_localizer(header: Dataset) -> bool:
    return _image_type(header)[FLAVOUR : FLAVOUR + 1] == ("LOCALIZER",)


def _is_secondary_capture(header: Dataset) -> bool:
    uid = str(header.get("SOPClassUID", ""))
    return uid == SECONDARY_CAPTURE or uid.startswith(f"{SECONDARY_CAPTURE}.")


def _is_colour(header: Dataset) -> bool:
    is_grey = str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    return attribute_values(header, "SamplesPerPixel") != (1,) or not is_grey


def _is_mosaic(header: Dataset) -> bool:
    return "MOSAIC" in _image_type(header)


_NO_PICTURES = (
    _Kind(RefusalCode.NOT_A_PROJECTION, _is_no_image, "are no images"),
    _Kind(RefusalCode.SECONDARY_CAPTURE, _is_secondary_capture, "are secondary captures"),
    _Kind(RefusalCode.NOT_A_PROJECTION, _is_no_x_ray, "are no projections by X-rays"),
    _Kind(RefusalCode.NOT_A_PROJECTION, _is_of_frames, "have several frames, or are enhanced"),
    _Kind(RefusalCode.NOT_GREYSCALE, _is_colour, "have colour (SamplesPerPixel is not 1)"),
)
"""Tomosynthesis, for one, has the view, the side and the modality of the mammogram beside it."""
