"""Writes the findings as SEG and SR and proves the written files before anyone sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pydicom.dataset import Dataset

from pipelines.definition_schema import PipelineDefinition
from pipelines.findings import Findings
from pipelines.heat_map import HeatMap
from pipelines.key_objects import KeyObjects
from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.heat_picture import heat_pictures
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.parametric_map import build_parametric_map, prove_parametric_map
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.proof_anatomy import LeftRight, prove_in_body, prove_sides
from pipelines.objects.proof_report import prove_explanations, prove_pictures, prove_report
from pipelines.objects.report_sr import ReportRequest, build_report
from pipelines.objects.segmentation import SegmentationRequest, build_segmentation
from pipelines.objects.uids import ResultUids, heat_uid
from pipelines.objects.write import write_object
from pipelines.pages import NOTHING_MORE, Pages, Wanted
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes
from pipelines.value_maps import value_maps
from storage.records import ObjectKind, ResultObject

SEG_FILE = "seg.dcm"
SR_FILE = "sr.dcm"
PDF_FILE = "report.dcm"
SC_FILE = "capture.dcm"
HEAT_FILES = "heat-*.dcm"
KOS_FILE = "key_objects.dcm"
PR_FILE = "presentation.dcm"
MAP_FILES = "map-*.dcm"
_FILES = (SEG_FILE, SR_FILE, PDF_FILE, SC_FILE, KOS_FILE, PR_FILE)
_SEVERAL = (HEAT_FILES, MAP_FILES)
MOST_HEAT_SLICES = 8
BEHIND_REPORT = 3  # PDF and key images take the two series numbers between


@dataclass(frozen=True, eq=False)
class ResultWriter:
    """Writes one job's objects under `out_dir`; result paths are relative to `data_dir`.

    The first volume is the one that the label map lies on.
    """

    definition: PipelineDefinition
    volumes: Mapping[str, SeriesVolume]
    uids: ResultUids
    origin: Origin
    data_dir: Path
    out_dir: Path
    times: StageTimes
    wanted: Wanted = NOTHING_MORE

    def write(self, findings: Findings) -> tuple[ResultObject, ...]:
        """Write and prove a SEG (when a structure is present) and an SR, then what else is wanted.

        Raises `ProofFailed`, and `Refused` when the source headers cannot carry a result;
        no file is left after any error.
        """
        try:
            return self._written(findings)
        except BaseException:
            several = (path.name for kind in _SEVERAL for path in self.out_dir.glob(kind))
            for name in (*_FILES, *several):
                (self.out_dir / name).unlink(missing_ok=True)
            raise

    def _written(self, findings: Findings) -> tuple[ResultObject, ...]:
        objects: list[ResultObject] = []
        decoded: DecodedSegmentation | None = None
        if findings.structures:
            with self.times.stage("seg"):
                segmentation = build_segmentation(self._segmentation_request(findings))
                objects.append(self._kept(segmentation, ObjectKind.SEG, SEG_FILE))
            with self.times.stage("proof"):
                decoded = self._proved_segmentation(findings)
        explanations: dict[str, list[Dataset]] = {}
        if findings.heat_maps:
            with self.times.stage("pages"):
                objects += self._explanations(findings.heat_maps, explanations)
        with self.times.stage("sr"):
            request = replace(self._report_request(findings, decoded), explanations=explanations)
            objects.append(self._kept(build_report(request), ObjectKind.SR, SR_FILE))
        with self.times.stage("proof"):
            prove_report(self.out_dir / SR_FILE, self._main.source, findings.measurements, decoded)
            prove_explanations(self.out_dir / SR_FILE, explanations)
            prove_pictures(self.out_dir / SR_FILE, request.class_sources)
        if self.wanted.objects:
            with self.times.stage("pages"):
                objects += self._pages(findings, decoded)
                objects += self._key_objects(findings, decoded)
                objects += self._value_maps(findings.heat_maps)
        return tuple(objects)

    def _explanations(
        self, maps: tuple[HeatMap, ...], explanations: dict[str, list[Dataset]]
    ) -> Iterator[ResultObject]:
        """Each heat map on its images; what was made is put into `explanations`."""
        series = self.uids.heat_series
        number = self.definition.report_series_number + BEHIND_REPORT
        for one in heat_pictures(self.volumes, maps, MOST_HEAT_SLICES):
            uid = heat_uid(series, one.heat.output, one.heat.role, one.slice_index)
            text = f"{self.definition.series_description} heat map"
            picture = one.dataset(ResultIdentity(uid, series, number, text), self.origin)
            explanations.setdefault(one.heat.tracking_uid, []).append(picture)
            yield self._kept(picture, ObjectKind.HEAT, HEAT_FILES.replace("*", f"{one.number:02d}"))

    def _pages(
        self, findings: Findings, decoded: DecodedSegmentation | None
    ) -> Iterator[ResultObject]:
        pages = Pages(
            self.definition,
            self.volumes,
            self.uids,
            self.origin,
            self.wanted,
            findings.measurements,
            decoded,
            findings.heat_maps,
            findings.review,
        )
        if ObjectKind.PDF in self.wanted.objects:
            yield self._kept(pages.pdf(), ObjectKind.PDF, PDF_FILE)
        if ObjectKind.SC in self.wanted.objects:
            yield self._kept(pages.capture(), ObjectKind.SC, SC_FILE)

    def _key_objects(
        self, findings: Findings, decoded: DecodedSegmentation | None
    ) -> Iterator[ResultObject]:
        key = KeyObjects(self.definition, self.volumes, self.uids, self.origin, findings, decoded)
        if ObjectKind.KOS in self.wanted.objects and (selection := key.selection()):
            yield self._kept(selection, ObjectKind.KOS, KOS_FILE)
            key.prove_selection(self.out_dir / KOS_FILE)
        if ObjectKind.PR in self.wanted.objects and (state := key.state()):
            yield self._kept(state, ObjectKind.PR, PR_FILE)
            key.prove_state(self.out_dir / PR_FILE)

    def _value_maps(self, maps: tuple[HeatMap, ...]) -> Iterator[ResultObject]:
        if ObjectKind.PM not in self.wanted.objects:
            return
        for one in value_maps(self.definition, self.volumes, self.uids, self.origin, maps):
            name = MAP_FILES.replace("*", f"{one.number:02d}")
            yield self._kept(build_parametric_map(one), ObjectKind.PM, name)
            prove_parametric_map(self.out_dir / name, one)

    @property
    def _main(self) -> SeriesVolume:
        return next(iter(self.volumes.values()))

    def _segmentation_request(self, findings: Findings) -> SegmentationRequest:
        return SegmentationRequest(
            source=self._main.source,
            label_map=findings.label_map,
            structures=findings.structures,
            spacing_between_slices_mm=self._main.spacing_mm[0],
            identity=ResultIdentity(
                self.uids.seg_instance,
                self.uids.seg_series,
                self.definition.series_number,
                self.definition.series_description,
            ),
            dimension_organization_uid=self.uids.seg_dimension_organization,
            origin=self.origin,
        )

    def _proved_segmentation(self, findings: Findings) -> DecodedSegmentation:
        main, label_map = self._main, findings.label_map
        decoded = prove_segmentation(
            self.out_dir / SEG_FILE,
            label_map,
            main.source,
            findings.structures,
            affine_lps=main.affine_lps,
        )
        modality = str(main.headers[0].get("Modality", ""))
        prove_in_body(label_map, main.voxels, modality=modality, spacing_mm=main.spacing_mm)
        pairs = [LeftRight(pair.left, pair.right) for pair in self.definition.left_right]
        prove_sides(label_map, main.source.planes(), pairs)
        return decoded

    def _report_request(
        self, findings: Findings, decoded: DecodedSegmentation | None
    ) -> ReportRequest:
        _, *further = self.volumes.values()
        return ReportRequest(
            source=self._main.source,
            segmentation=decoded.dataset if decoded else None,
            measurements=findings.measurements,
            procedure_reported=self.definition.procedure_reported.concept(),
            identity=ResultIdentity(
                self.uids.sr_instance,
                self.uids.sr_series,
                self.definition.report_series_number,
                self.definition.series_description,
            ),
            origin=self.origin,
            further_sources=tuple(volume.source for volume in further),
            review=findings.review,
            remark=findings.remark,
            class_sources={
                uid: tuple(self.volumes[role].source for role in roles)
                for uid, roles in findings.pictures.items()
            },
        )

    def _kept(self, dataset: Dataset, kind: ObjectKind, name: str) -> ResultObject:
        path = self.out_dir / name
        size_bytes, sha256 = write_object(dataset, path)
        return ResultObject(
            kind=kind,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            series_number=int(dataset.SeriesNumber),
            series_description=str(dataset.SeriesDescription),
            path=PurePosixPath(path.relative_to(self.data_dir)),
            size_bytes=size_bytes,
            sha256=sha256,
        )
