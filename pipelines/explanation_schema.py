"""The `explanation` key of a definition: what the certainty of a class hangs on, as a picture."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from config.setting_types import Frozen


class Explanation(Frozen):
    """Grad-CAM, Grad-CAM++ or occlusion; `auto` is Grad-CAM where the network can be looked into.

    `layer` is one of the network's by its name in `named_modules`; without it, it is the last one
    that still answers a map (`gradcam.found_layer`). Of occlusion, `steps` is how many boxes go
    along each axis of the network's image, and `time_limit_s` how long all of them may take.
    """

    method: Literal["auto", "gradcam", "gradcam++", "occlusion"] = "auto"
    layer: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    steps: Annotated[int, Field(ge=3, le=64)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] = 120.0

    @model_validator(mode="after")
    def _of_its_method(self) -> Self:
        if self.method == "occlusion" and self.layer:
            raise ValueError("layer: occlusion looks into no layer of the network")
        return self
