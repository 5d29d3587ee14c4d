"""What became of a study: told by the node, and seen at the PACS and in the EHR's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import dcmread

from node.demo.archive import Archive, HeldInstance
from node.demo.dice import dice, masks_on
from node.demo.errors import InvalidSeg
from node.demo.nifti import read_nifti
from node.demo.node_view import NodeView
from node.demo.studies import DemoStudy
from node.demo.timing import seconds
from storage.records import ObjectKind

RESULT_KINDS = tuple(kind.value for kind in ObjectKind)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """One row of the tables. Volumes in mL and Dice by structure; files by what they are."""

    study: DemoStudy
    view: NodeView
    series_description: str = ""
    series_reason: str = ""
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    dices: Mapping[str, float] = field(default_factory=dict)
    pacs: Mapping[str, int] = field(default_factory=dict)
    ehr: tuple[Path, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    problem: str = ""

    @property
    def outcome(self) -> str:
        """`findings` or `no_findings`, else the code of the refusal or the state of the job."""
        job = self.view.job
        if job is None:
            return "nothing"
        return job.outcome.value if job.outcome else job.reason_code or job.state.value


class Collector:
    """Gathers what became of a study, and copies its results into a folder of their own."""

    def __init__(self, archive: Archive, ehr_dir: Path, results_dir: Path) -> None:
        self._archive, self._ehr_dir, self._results_dir = archive, ehr_dir, results_dir

    def collect(self, study: DemoStudy, view: NodeView) -> StudyResult:
        """Return what the node, the PACS and the EHR have of one study by now."""
        uid = study.study_instance_uid
        held = {kind: self._archive.instances(uid, kind) for kind in RESULT_KINDS}
        measurements = view.finished.measurements if view.finished else ()
        result = StudyResult(
            study=study,
            view=view,
            volumes_ml={
                one.structure: one.value
                for one in measurements
                if one.unit.value == "mL" and not one.is_qualifying
            },
            pacs={kind: len(instances) for kind, instances in held.items()},
            ehr=self.reports_about(uid),
            seconds=seconds(view),
        )
        description, reason = self._chosen_series(view)
        result = replace(result, series_description=description, series_reason=reason)
        result = replace(result, files=self._copied(held, result))
        try:
            return replace(result, dices=_dices(study, view, held["SEG"]))
        except InvalidSeg as error:
            return replace(result, problem=str(error))

    def reports_about(self, study_uid: str) -> tuple[Path, ...]:
        """Return the FHIR files that speak of the study, by the UID that stands in them."""
        told = f'"urn:oid:{study_uid}"'
        found = sorted(self._ehr_dir.glob("*.json"))
        return tuple(path for path in found if told in path.read_text())

    def _chosen_series(self, view: NodeView) -> tuple[str, str]:
        if view.job is None or not view.job.inputs:
            return "", ""
        chosen = view.job.inputs[0]
        for held in self._archive.instances(view.job.study_instance_uid):
            if held.series_instance_uid == chosen.series_instance_uid:
                return str(held.header.get("SeriesDescription", "")), chosen.reason
        return "", chosen.reason

    def _copied(
        self, held: Mapping[str, list[HeldInstance]], result: StudyResult
    ) -> Mapping[str, Path]:
        folder = self._results_dir / result.study.folder_name
        files: dict[str, Path] = {}
        if held["SEG"]:
            files["SEG"] = _copy(held["SEG"][-1].path, folder / "segmentation.dcm")
        if held["SR"]:
            files["SR"] = _copy(held["SR"][-1].path, folder / "report-sr.dcm")
        if result.ehr:
            files["FHIR"] = _copy(result.ehr[-1], folder / "report-fhir.json")
        if held["SEG"]:
            files["PNG"] = self._montage(held["SEG"][-1], folder / "overlay.png")
        return files

    def _montage(self, seg: HeldInstance, png: Path) -> Path:
        # Slow to import: not before the node is at work.
        from pipelines.objects.montage import write_montage

        referenced = dcmread(seg.path, stop_before_pixels=True).ReferencedSeriesSequence[0]
        images = [
            held.path
            for held in self._archive.instances(seg.study_instance_uid)
            if held.series_instance_uid == referenced.SeriesInstanceUID
        ]
        write_montage(images, seg.path, png)
        return png


def _dices(study: DemoStudy, view: NodeView, segs: list[HeldInstance]) -> Mapping[str, float]:
    """Dice by structure, of the SEG as the PACS got it; none where no truth is known."""
    if study.truth is None or not segs or view.finished is None:
        return {}
    truth = read_nifti(study.truth)
    masks = masks_on(truth, dcmread(segs[-1].path))
    return {
        one.structure: dice(masks[one.tracking_uid], truth.voxels == one.label_value)
        for one in view.finished.measurements
        if one.tracking_uid in masks
    }


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target
