"""What a segment means: the Segment Description macro (PS3.3 C.8.20.4) as a value."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from storage.dicom_records import CodedConcept


@dataclass(frozen=True, slots=True)
class SegmentDescription:
    """One structure: its value in the label map and how SEG and SR name it.

    `segment_number` holds only after `numbered`; `color_rgb` is sRGB, 0 to 255 each.
    `tracking_uid` is the same in SEG, SR and FHIR.
    """

    label_value: int
    segment_number: int
    label: str
    category: CodedConcept
    property_type: CodedConcept
    type_modifier: CodedConcept | None
    anatomic_region: CodedConcept | None
    color_rgb: tuple[int, int, int]
    tracking_identifier: str
    tracking_uid: str


def numbered(
    structures: Iterable[SegmentDescription], present: Collection[int]
) -> tuple[SegmentDescription, ...]:
    """Keep the structures whose label value is `present`, numbered 1..N in the order given.

    Viewers list an empty segment as a ghost, and highdicom asks for numbers without a gap, so
    an absent structure gets no number here; the report names it as absent.
    """
    kept = (structure for structure in structures if structure.label_value in present)
    return tuple(replace(item, segment_number=number) for number, item in enumerate(kept, 1))
