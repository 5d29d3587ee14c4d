"""A segmentation as it was written, read again and proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import segmentation_request

Labels = NDArray[np.uint8]

Mutation = Callable[[Dataset], None]


def proved(
    folder: Path,
    source: SourceSeries,
    labels: Labels,
    mutate: Mutation | None = None,
    **options: Any,
) -> DecodedSegmentation:
    request = segmentation_request(source, labels)
    path = folder / "seg.dcm"
    write_object(build_segmentation(request), path)
    if mutate is not None:
        written = dcmread(path)
        mutate(written)
        written.save_as(path, enforce_file_format=True)
    return prove_segmentation(path, labels, source, request.structures, **options)
