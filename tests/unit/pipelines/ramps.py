"""Series of made-up values, and how a series is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import read_series


def ramp(shape: tuple[int, int, int] = (5, 6, 8), dtype: Any = np.uint16) -> NDArray[Any]:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def refusal(paths: list[Path]) -> RefusalCode:
    with pytest.raises(Refused) as caught:
        read_series(paths)
    return caught.value.code


def changed(keyword: str, value: Any, *, at: int | None = None) -> Any:
    def edit(image: Dataset, index: int) -> None:
        if at is None or index == at:
            setattr(image, keyword, value)

    return edit
