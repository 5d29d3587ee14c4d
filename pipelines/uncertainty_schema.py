"""The key `uncertainty` of a pipeline definition: how, and above what somebody should look."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from config.setting_types import Frozen

PatientAxis = Literal["left_right", "front_back", "head_foot"]
PictureAxis = Literal["across", "down"]
SIDES = frozenset({"left_right", "across"})
"""Axes along which a flip may exchange left and right."""
PICTURE_AXES = frozenset({"across", "down"})

Share = Annotated[float, Field(gt=0, le=1)]


class ReviewLimits(Frozen):
    """Above these a structure or a class, and with it the result, is marked for review.

    `entropy` is in bits, 0 to 1: of a structure the mean over its voxels, of a class that of its
    mean probability. `volume_spread` is the width of the volume interval as a share of the volume;
    of a class, `certainty_spread` is the width of its interval, 0 to 1, and `mutual_information`
    the part of the entropy that the passes' disagreement makes, in bits.
    """

    entropy: Share | None = None
    volume_spread: Annotated[float, Field(gt=0)] | None = None
    certainty_spread: Share | None = None
    mutual_information: Share | None = None


class FlipUncertainty(Frozen):
    """Test-time flips: the image mirrored along every combination of these axes.

    Volumes have axes of the patient, projections `across` and `down` of the upright picture.
    `side_matters` says of a classifier whether its answer hangs on the side; it has to say so
    before left and right are exchanged.
    """

    method: Literal["flips"]
    axes: Annotated[tuple[PatientAxis | PictureAxis, ...], Field(min_length=1)]
    side_matters: bool | None = None
    review_above: ReviewLimits = ReviewLimits()

    @field_validator("axes")
    @classmethod
    def _once(
        cls, axes: tuple[PatientAxis | PictureAxis, ...]
    ) -> tuple[PatientAxis | PictureAxis, ...]:
        if len(set(axes)) < len(axes):
            raise ValueError("an axis is given twice")
        return axes


class DropoutUncertainty(Frozen):
    """Monte Carlo dropout: passes with the network's dropout left on."""

    method: Literal["dropout"]
    passes: Annotated[int, Field(ge=2, le=100)] = 10
    review_above: ReviewLimits = ReviewLimits()


Uncertainty = Annotated[FlipUncertainty | DropoutUncertainty, Field(discriminator="method")]
