"""The `network` key of a definition: all that a plain TorchScript file does not say of itself."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from config.settings import Frozen

Positive = Annotated[float, Field(gt=0)]
PatchEdge = Annotated[int, Field(ge=8, le=1024)]
AxisCodes = Annotated[str, StringConstraints(pattern=r"^[RLAPSI]{3}$")]
Percentile = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=64)]
OPPOSITES = ("RL", "AP", "SI")


class Intensity(Frozen):
    """One step from stored intensities to what the network was trained on; exactly one kind.

    `range` is clipped and scaled to `to`, and so is what lies between two `percentiles` of the
    image; `mean` and `std` are the training set's; `zscore` uses the image's own, of all voxels or
    of those that are not 0.
    """

    range: tuple[float, float] | None = None
    percentiles: tuple[Percentile, Percentile] | None = None
    to: tuple[float, float] = (0.0, 1.0)
    mean: float | None = None
    std: Positive | None = None
    zscore: Literal["all", "nonzero"] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.range, self.percentiles, self.mean, self.zscore)
        if sum(value is not None for value in kinds) != 1:
            raise ValueError("give exactly one of range, percentiles, mean (with std), zscore")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        for name in ("range", "percentiles"):
            limits = getattr(self, name)
            if limits and not limits[0] < limits[1]:
                raise ValueError(f"{name}: the lower limit comes first")
        return self


class NetworkDefinition(Frozen):
    """A TorchScript network: its input's grid and intensities, and what its channels mean.

    `patch_size` and `spacing_mm` go along the axes of `orientation`; without a patch size the
    whole image goes in at once. `labels` maps output channels to their meaning; `channels` names
    the input channels in order, and red, green and blue all take one grey picture. `resize` is to
    voxels along the axes of `orientation`, for a projection to [columns, rows]; labels come back
    from it as from a spacing.
    """

    channels: Annotated[tuple[Text, ...], Field(min_length=1)] = ("image",)
    labels: Annotated[dict[int, Text], Field(min_length=1)]
    output: Literal["softmax", "sigmoid"] = "softmax"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    orientation: AxisCodes = "RAS"
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    resize: tuple[PatchEdge, PatchEdge] | tuple[PatchEdge, PatchEdge, PatchEdge] | None = None
    patch_size: tuple[PatchEdge, PatchEdge, PatchEdge] | None = None
    window_batch: Annotated[int, Field(ge=1, le=64)] = 1
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    intensity: tuple[Intensity, ...] = ()

    @model_validator(mode="after")
    def _one_letter_an_axis(self) -> Self:
        if any(sum(code in pair for code in self.orientation) != 1 for pair in OPPOSITES):
            text = f"orientation {self.orientation}: one letter each of R or L, A or P, S or I"
            raise ValueError(text)
        return self

    @model_validator(mode="after")
    def _contiguous_labels(self) -> Self:
        if sorted(self.labels) != list(range(len(self.labels))):
            raise ValueError("labels: number the output channels 0, 1, 2 ... without a gap")
        return self
