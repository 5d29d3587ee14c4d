"""The `explanation` key of a definition: what the certainty of a class hangs on, as a picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from config.setting_types import Frozen


class Explanation(Frozen):
    """Grad-CAM or Grad-CAM++ at a layer of the network, by its name in `named_modules`.

    Without a name it is the last one that still answers a map (`gradcam.found_layer`).
    """

    method: Literal["gradcam", "gradcam++"] = "gradcam"
    layer: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
