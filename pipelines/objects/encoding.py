"""How a destination wants segmentations, and the identities that follow from it.

A SEG that differs from the kept one in more than its transfer syntax is another SOP Instance, in
a series of its own (viewers show the last instance of a series only), with UIDs that follow from
the kept object and the encoding: a repeat names the same objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

LABEL_MAP_SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage (PS3.4 B.5), which pydicom does not name yet."""


def sop_class_name(uid: UID) -> str:
    """Give the name that the standard has for a SOP Class."""
    is_label_map = uid == LABEL_MAP_SEGMENTATION_STORAGE
    return "Label Map Segmentation Storage" if is_label_map else uid.name


class SegmentationForm(StrEnum):
    """Segmentation Type (0062,0001); `AUTO` is the one that the kept SEG has."""

    AUTO = "AUTO"
    BINARY = "BINARY"
    FRACTIONAL = "FRACTIONAL"
    LABELMAP = "LABELMAP"

    @property
    def sop_class_uid(self) -> UID:
        """The SOP Class under which a SEG of this type is stored."""
        is_label_map = self is SegmentationForm.LABELMAP
        return LABEL_MAP_SEGMENTATION_STORAGE if is_label_map else SegmentationStorage


@dataclass(frozen=True, slots=True)
class Encoding:
    """What is asked for; `most_segments` None puts all segments into one SEG."""

    form: SegmentationForm = SegmentationForm.AUTO
    keeps_empty_frames: bool = False
    most_segments: int | None = None
    segmentation_transfer_syntax: UID = ExplicitVRLittleEndian
    report_transfer_syntax: UID = ExplicitVRLittleEndian


@dataclass(frozen=True, slots=True)
class Part:
    """One SEG of a result: segments `first` to `last` (from 1) of `total`, in this form."""

    form: SegmentationForm
    keeps_empty_frames: bool
    first: int
    last: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether all segments are in it."""
        return (self.first, self.last) == (1, self.total)

    @property
    def role(self) -> str:
        """What its UIDs are derived from."""
        frames = "every frame" if self.keeps_empty_frames else "frames with voxels"
        return f"{self.form} {frames} {self.first}-{self.last} of {self.total}"


NATIVE_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
)
"""Transfer syntaxes that every object may have."""

FRAME_SYNTAXES = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
"""Lossless compression of frames, for whole bytes a pixel: neither BINARY nor reports."""


def allowed_syntaxes(form: SegmentationForm) -> tuple[UID, ...]:
    """Give the transfer syntaxes that a SEG of this form may have.

    `AUTO` may turn out to be BINARY, which RLE and JPEG-LS cannot compress (PS3.5 8.2).
    """
    whole_bytes = form in (SegmentationForm.FRACTIONAL, SegmentationForm.LABELMAP)
    return (*NATIVE_SYNTAXES, *FRAME_SYNTAXES) if whole_bytes else NATIVE_SYNTAXES


def parts_of(encoding: Encoding, form: SegmentationForm, total: int) -> tuple[Part, ...]:
    """Split segments 1 to `total` as `encoding` says; `form` is never `AUTO`."""
    most = encoding.most_segments or total
    firsts = range(1, total + 1, most)
    return tuple(
        Part(form, encoding.keeps_empty_frames, first, min(first + most - 1, total), total)
        for first in firsts
    )
