"""Report pages about two brain structures, with or without findings and earlier studies."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pypdf import PdfReader

from pipelines.objects.decoded_segmentation import decode_segmentation
from pipelines.objects.encapsulated_pdf import encapsulate_pdf
from pipelines.objects.identity import ResultIdentity
from pipelines.objects.key_images import KeyImages, key_images
from pipelines.objects.report_fonts import letters_with
from pipelines.objects.report_page import PageRequest, report_pdf
from pipelines.objects.secondary_capture import capture
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume, read_series
from storage.prior_records import PriorMeasurement, PriorResult
from storage.records import MeasurementRecord
from tests.unit.pipelines_objects.result_requests import (
    ORIGIN,
    UIDS,
    label_map,
    measurements,
    segmentation_request,
)
from tests.unit.pipelines_objects.synthetic_series import classic_series, write_series

PDF_IDENTITY = ResultIdentity(UIDS.pdf_instance, UIDS.pdf_series, 9003, "AI hippocampus")
SC_IDENTITY = ResultIdentity(UIDS.sc_instance, UIDS.sc_series, 9004, "AI hippocampus")


@dataclass(frozen=True, eq=False)
class MadePages:
    """A result with what its pages are made of."""

    volume: SeriesVolume
    measurements: tuple[MeasurementRecord, ...]
    images: KeyImages

    def request(self, **changes: Any) -> PageRequest:
        fields: dict[str, Any] = {
            "title": "AI hippocampus",
            "volumes": {"t1": self.volume},
            "measurements": self.measurements,
            "images": self.images,
            "priors": (),
            "origin": ORIGIN,
            "letters": letters_with(),
        }
        return PageRequest(**(fields | changes))

    def pdf_object(self, **changes: Any) -> Dataset:
        pdf = report_pdf(self.request(**changes))
        return encapsulate_pdf(pdf, [self.volume.source], PDF_IDENTITY, ORIGIN)

    def captured(self) -> Dataset:
        source = self.volume.source
        return capture(self.images, self.measurements, source, SC_IDENTITY, ORIGIN)


def made_pages(
    folder: Path, source: SourceSeries | None = None, labels: NDArray[np.uint8] | None = None
) -> MadePages:
    """Write the series and its SEG, and read both back; no SEG where `labels` are all 0."""
    source = classic_series() if source is None else source
    labels = label_map() if labels is None else labels
    paths = write_series(source, folder / "images")
    volume = read_series(paths, ReadingPolicy(allow_derived=True))
    decoded = None
    if labels.any():
        seg = folder / "seg.dcm"
        write_object(build_segmentation(segmentation_request(source, labels)), seg)
        decoded = decode_segmentation(seg)
    return MadePages(volume, measurements(labels), key_images(volume, decoded, 8))


def prior(
    study_date: str, current: tuple[MeasurementRecord, ...], factor: float, version: str = "1.1.0"
) -> PriorResult:
    """An earlier result whose values were `factor` times the current ones; 0 means absent."""
    return PriorResult(
        study_date,
        version,
        tuple(
            PriorMeasurement(
                one.tracking_identifier, one.quantity, one.unit, one.value * factor, factor > 0
            )
            for one in current
        ),
    )


def words(pdf: bytes) -> str:
    """All text of the pages, as a reader that shares no code with the writer finds it."""
    pages = PdfReader(BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())
