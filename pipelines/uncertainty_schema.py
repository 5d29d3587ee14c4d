"""The key `uncertainty` of a pipeline definition: how, and above what somebody should look."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from config.setting_types import Frozen

PatientAxis = Literal["left_right", "front_back", "head_foot"]
Share = Annotated[float, Field(gt=0, le=1)]


class ReviewLimits(Frozen):
    """Above these a structure, and with it the result, is marked for review.

    `entropy` is a mean in bits, 0 to 1; `volume_spread` the width of the volume interval as a
    share of the volume.
    """

    entropy: Share | None = None
    volume_spread: Annotated[float, Field(gt=0)] | None = None


class FlipUncertainty(Frozen):
    """Test-time flips: the image mirrored along every combination of these axes."""

    method: Literal["flips"]
    axes: Annotated[tuple[PatientAxis, ...], Field(min_length=1)]
    review_above: ReviewLimits = ReviewLimits()

    @field_validator("axes")
    @classmethod
    def _once(cls, axes: tuple[PatientAxis, ...]) -> tuple[PatientAxis, ...]:
        if len(set(axes)) < len(axes):
            raise ValueError("an axis is given twice")
        return axes


class DropoutUncertainty(Frozen):
    """Monte Carlo dropout: passes with the network's dropout left on."""

    method: Literal["dropout"]
    passes: Annotated[int, Field(ge=2, le=100)] = 10
    review_above: ReviewLimits = ReviewLimits()


Uncertainty = Annotated[FlipUncertainty | DropoutUncertainty, Field(discriminator="method")]
