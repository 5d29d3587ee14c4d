"""What may be made of a series: the words of a pipeline definition as the reader takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pipelines.geometry import FEWEST_SLICES
from pipelines.orientation import PLANES

if TYPE_CHECKING:
    from pipelines.criteria import Criterion
    from pipelines.definition_schema import InputCriteria
    from pipelines.projection_views import View

SeveralVolumes = Literal["refuse", "first", "most_slices"]
SeveralImages = Literal["refuse", "first", "last"]
Kind = Literal["volume", "projection"]
Values = Literal["modality", "displayed"]
Laterality = Literal["R", "L"]


@dataclass(frozen=True, slots=True)
class ReadingPolicy:
    """Strict where nothing is said: what is not allowed is refused by code.

    `where` judges each volume of a series that holds several; `orientations` are names of planes.
    Those after `kind` are of projections.
    """

    fewest_slices: int = FEWEST_SLICES
    most_slices: int | None = None
    orientations: tuple[str, ...] = (*PLANES, "oblique")
    where: tuple[Criterion, ...] = ()
    several_volumes: SeveralVolumes = "refuse"
    allow_derived: bool = False
    allow_tilt: bool = False
    allow_lossy: bool = True
    allow_no_frame_of_reference: bool = False
    kind: Kind = "volume"
    views: tuple[View, ...] = ()
    laterality: Laterality | None = None
    allow_view_modifiers: bool = False
    allow_contradictory_polarity: bool = False
    several_images: SeveralImages = "refuse"
    values: Values = "modality"
    allow_for_processing: bool = False

    @classmethod
    def of(cls, criteria: InputCriteria) -> Self:
        """The policy of one input role."""
        return cls(
            fewest_slices=criteria.slices.min,
            most_slices=criteria.slices.max,
            orientations=criteria.orientation,
            where=criteria.where,
            several_volumes=criteria.several_volumes,
            allow_derived=criteria.allow_derived,
            allow_tilt=criteria.allow_tilt,
            allow_lossy=criteria.allow_lossy,
            allow_no_frame_of_reference=criteria.allow_no_frame_of_reference,
            kind=criteria.kind,
            views=criteria.views,
            laterality=criteria.laterality,
            allow_view_modifiers=criteria.allow_view_modifiers,
            allow_contradictory_polarity=criteria.allow_contradictory_polarity,
            several_images=criteria.several_images,
            values=criteria.values,
            allow_for_processing=criteria.allow_for_processing,
        )


STRICT = ReadingPolicy()
"""Of any length and plane, but with no liberty taken."""
