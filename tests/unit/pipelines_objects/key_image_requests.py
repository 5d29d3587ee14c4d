"""Key images of a made-up series: what they are made of, and the objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.objects.decoded_segmentation import DecodedSegmentation, decode_segmentation
from pipelines.objects.identity import ResultIdentity
from pipelines.objects.image_references import ChosenSlices
from pipelines.objects.key_object_selection import SelectionRequest, build_key_object_selection
from pipelines.objects.key_slices import key_slices
from pipelines.objects.presentation_state import PresentationRequest, build_presentation_state
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from tests.unit.pipelines_objects.result_requests import (
    ORIGIN,
    STRUCTURES,
    UIDS,
    label_map,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import write_series

KOS_IDENTITY = ResultIdentity(UIDS.kos_instance, UIDS.kos_series, 9006, "AI hippocampus key images")
PR_IDENTITY = ResultIdentity(UIDS.pr_instance, UIDS.pr_series, 9007, "AI hippocampus outlines")
SHOWN = tuple(each.label for each in STRUCTURES)


@dataclass(frozen=True, eq=False)
class MadeKeyImages:
    """A result with the slices that are its key images."""

    volume: SeriesVolume
    decoded: DecodedSegmentation
    slices: tuple[int, ...]

    @property
    def chosen(self) -> tuple[ChosenSlices, ...]:
        return (ChosenSlices(self.volume.source, self.slices),)

    def selection(self) -> Dataset:
        return build_key_object_selection(
            SelectionRequest(self.chosen, SHOWN, KOS_IDENTITY, ORIGIN)
        )

    def state(self) -> Dataset:
        return build_presentation_state(
            PresentationRequest(self.volume, self.decoded, self.slices, PR_IDENTITY, ORIGIN)
        )

    def written(self, folder: Path) -> tuple[Path, Path]:
        """Write both; gives the paths of KOS and PR."""
        paths = folder / "key_objects.dcm", folder / "presentation.dcm"
        write_object(self.selection(), paths[0])
        write_object(self.state(), paths[1])
        return paths


def made_key_images(
    folder: Path, source: SourceSeries, labels: NDArray[np.uint8] | None = None
) -> MadeKeyImages:
    """Write the series and its SEG, and choose the key images."""
    labels = label_map(source.shape) if labels is None else labels
    policy = ReadingPolicy(allow_derived=True, allow_tilt=True)
    volume = read_series(write_series(source, folder / "images"), policy)
    seg = folder / "seg.dcm"
    write_object(build_segmentation(segmentation_request(source, labels)), seg)
    decoded = decode_segmentation(seg)
    return MadeKeyImages(volume, decoded, key_slices(volume, decoded))
