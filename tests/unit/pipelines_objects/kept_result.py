"""A job's SEG and SR as the node keeps them, and a reader of what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

from pipelines.objects.encoding import Encoding, SegmentationForm
from pipelines.objects.encoding_request import EncodedObject, EncodingRequest
from pipelines.objects.reencode import reencode
from pipelines.objects.report_sr import build_report
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import (
    label_map,
    report_request,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import write_series


@dataclass(frozen=True)
class Kept:
    """A job's SEG and SR as the node keeps them, with the images and what was computed."""

    folder: Path
    source: SourceSeries
    labels: NDArray[np.uint8]

    def request(self, form: SegmentationForm, **changes: Any) -> EncodingRequest:
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        images = tuple(sorted((self.folder / "images").glob("*")))
        encoding = Encoding(form, **changes)
        return EncodingRequest(
            self.folder / "seg.dcm", self.folder / "sr.dcm", images, encoding, out
        )

    def made(self, form: SegmentationForm, **changes: Any) -> list[EncodedObject]:
        return list(reencode(self.request(form, **changes)))


def kept_result(folder: Path, source: SourceSeries) -> Kept:
    labels = label_map(source.shape)
    segmentation = build_segmentation(segmentation_request(source, labels))
    write_object(segmentation, folder / "seg.dcm")
    write_object(build_report(report_request(source, labels, segmentation)), folder / "sr.dcm")
    write_series(source, folder / "images")
    return Kept(folder, source, labels)


def read_by_highdicom(path: Path, source: SourceSeries) -> NDArray[np.uint8]:
    """The label map [slice, row, column] in the order of the source slices."""
    segmentation = hd.seg.segread(path)
    options: dict[str, Any] = {
        "combine_segments": True,
        "ignore_spatial_locations": True,
        "assert_missing_frames_are_empty": True,
    }
    if source.is_multiframe:
        found = segmentation.get_pixels_by_source_frame(
            str(source.first.SOPInstanceUID), list(source.frame_numbers), **options
        )
    else:
        uids = [str(header.SOPInstanceUID) for header in source.headers]
        found = segmentation.get_pixels_by_source_instance(uids, **options)
    return np.asarray(found, dtype=np.uint8)
