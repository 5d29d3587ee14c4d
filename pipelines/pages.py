"""Results for people beside SEG and SR: the report page and the captured key images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydicom.dataset import Dataset

from pipelines.definition_schema import PipelineDefinition
from pipelines.heat_map import HeatMap
from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.encapsulated_pdf import encapsulate_pdf
from pipelines.objects.heat_picture import heat_images
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.key_images import KeyImages, key_images, of_one_size, view_images
from pipelines.objects.report_fonts import letters_with
from pipelines.objects.report_page import PageRequest, report_pdf
from pipelines.objects.result_header import series_description
from pipelines.objects.secondary_capture import capture
from pipelines.objects.uids import ResultUids
from pipelines.series_volume import SeriesVolume
from storage.prior_records import PriorResult
from storage.records import MeasurementRecord, ObjectKind

_MOST_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job writes beside SEG and SR, and what the page needs for it.

    `priors` are oldest first; `fonts` are TrueType files of the site's.
    """

    objects: frozenset[ObjectKind] = frozenset()
    priors: tuple[PriorResult, ...] = ()
    fonts: tuple[Path, ...] = ()


NOTHING_MORE = Wanted()


@dataclass(frozen=True)
class Pages:
    """Makes one job's pages from what was proved; `decoded` is None when nothing was found."""

    definition: PipelineDefinition
    volumes: Mapping[str, SeriesVolume]
    uids: ResultUids
    origin: Origin
    wanted: Wanted
    measurements: tuple[MeasurementRecord, ...]
    decoded: DecodedSegmentation | None
    heat_maps: tuple[HeatMap, ...] = ()
    review: str = ""

    def pdf(self) -> Dataset:
        """Make the Encapsulated PDF; raises `InferenceFailed` when a font cannot be used."""
        request = PageRequest(
            title=series_description(self.definition.series_description),
            volumes=self.volumes,
            measurements=self.measurements,
            images=self._images,
            priors=self.wanted.priors,
            origin=self.origin,
            letters=letters_with(self.wanted.fonts),
            review=self.review,
        )
        sources = [volume.source for volume in self.volumes.values()]
        identity = self._identity(self.uids.pdf_instance, self.uids.pdf_series, 1)
        return encapsulate_pdf(report_pdf(request), sources, identity, self.origin)

    def capture(self) -> Dataset:
        """Make the Secondary Capture."""
        identity = self._identity(self.uids.sc_instance, self.uids.sc_series, 2)
        further = [volume.source for volume in list(self.volumes.values())[1:]]
        is_of_views = self.definition.several_projections is not None
        return capture(
            self._images,
            self.measurements,
            self._main.source,
            identity,
            self.origin,
            further if is_of_views else (),
        )

    @cached_property
    def _images(self) -> KeyImages:
        if self.definition.several_projections is not None:
            return self._views
        if self.heat_maps:
            return heat_images(self.volumes, self.heat_maps, _MOST_IMAGES)
        return key_images(self._main, self.decoded, _MOST_IMAGES)

    @property
    def _views(self) -> KeyImages:
        """Every view: with its heat map where it has one, the others as they are."""
        heated = {heat.role for heat in self.heat_maps}
        plain = {role: one for role, one in self.volumes.items() if role not in heated}
        bare = view_images(plain, _MOST_IMAGES) if plain else None
        if not self.heat_maps:
            return bare or view_images(self.volumes, _MOST_IMAGES)
        shown = heat_images(self.volumes, self.heat_maps, _MOST_IMAGES)
        if bare is None:
            return shown
        pictures = of_one_size([*shown.pictures, *bare.pictures])
        return replace(shown, pictures=pictures, slices=(*shown.slices, *bare.slices))

    @property
    def _main(self) -> SeriesVolume:
        return next(iter(self.volumes.values()))

    def _identity(self, instance_uid: str, series_uid: str, behind_report: int) -> ResultIdentity:
        number = self.definition.report_series_number + behind_report
        return ResultIdentity(instance_uid, series_uid, number, self.definition.series_description)
