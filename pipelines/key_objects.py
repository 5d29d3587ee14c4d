"""Key images of a result for viewers: which they are (KOS), and what is outlined on them (PR)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import structlog
from pydicom.dataset import Dataset

from pipelines.definition_schema import PipelineDefinition
from pipelines.findings import Findings
from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.grey_scale import NotGrey
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.image_references import ChosenSlices
from pipelines.objects.key_object_selection import SelectionRequest, build_key_object_selection
from pipelines.objects.key_slices import MOST_SPREAD, key_slices
from pipelines.objects.presentation_state import PresentationRequest, build_presentation_state
from pipelines.objects.proof_key_images import (
    prove_key_object_selection,
    prove_presentation_state,
)
from pipelines.objects.uids import ResultUids
from pipelines.series_volume import SeriesVolume

_SELECTION_BEHIND_REPORT, _STATE_BEHIND_REPORT = 4, 5

log = structlog.get_logger()


@dataclass(frozen=True)
class KeyObjects:
    """Makes them of what was proved; `decoded` is None where nothing was outlined.

    A result without findings has none: nothing on its images is of interest.
    """

    definition: PipelineDefinition
    volumes: Mapping[str, SeriesVolume]
    uids: ResultUids
    origin: Origin
    findings: Findings
    decoded: DecodedSegmentation | None

    def selection(self) -> Dataset | None:
        """Make the Key Object Selection; None where no image stands out."""
        if not self.chosen:
            log.info("object_not_made", kind="KOS", reason="no image stands out")
            return None
        identity = self._identity(
            self.uids.kos_instance, self.uids.kos_series, _SELECTION_BEHIND_REPORT
        )
        return build_key_object_selection(
            SelectionRequest(self.chosen, self._shown, identity, self.origin)
        )

    def state(self) -> Dataset | None:
        """Make the presentation state; None where nothing is outlined, or no grey image is."""
        if self.decoded is None:
            log.info("object_not_made", kind="PR", reason="nothing is outlined")
            return None
        identity = self._identity(self.uids.pr_instance, self.uids.pr_series, _STATE_BEHIND_REPORT)
        slices = self.chosen[0].slices
        request = PresentationRequest(self._main, self.decoded, slices, identity, self.origin)
        try:
            return build_presentation_state(request)
        except NotGrey as error:
            log.warning("object_not_made", kind="PR", reason=str(error))
            return None

    def prove_selection(self, path: Path) -> None:
        """Prove the written document; raises `ProofFailed`."""
        prove_key_object_selection(path, self.chosen)

    def prove_state(self, path: Path) -> None:
        """Prove the written presentation state; raises `ProofFailed`."""
        if self.decoded is not None:
            (shown,) = self.chosen
            prove_presentation_state(path, shown.source, shown.slices, self.decoded)

    @cached_property
    def chosen(self) -> tuple[ChosenSlices, ...]:
        """The key images, by source; none where none stands out."""
        if self.decoded is not None:
            slices = key_slices(self._main, self.decoded)
            return (ChosenSlices(self._main.source, slices),)
        by_role = self._by_role()
        return tuple(
            ChosenSlices(volume.source, tuple(sorted(by_role[role])))
            for role, volume in self.volumes.items()
            if role in by_role
        )

    def _by_role(self) -> dict[str, set[int]]:
        """Projections that a class was found on, and slices with heat, by the role of the image."""
        slices: dict[str, set[int]] = {}
        for role in self._found_on():
            if self.volumes[role].is_projection:
                slices.setdefault(role, set()).add(0)
        for heat in self.findings.heat_maps:
            slices.setdefault(heat.role, set()).update(heat.shown_slices(MOST_SPREAD))
        return slices

    def _found_on(self) -> set[str]:
        """Roles of the images that say it: of one view, where a class was found on that view."""
        first = next(iter(self.volumes))
        pictures = self.findings.pictures
        present = [each for each in self.findings.measurements if each.is_present]
        found = [frozenset(pictures.get(each.tracking_uid, (first,))) for each in present]
        return {role for one in found if not any(other < one for other in found) for role in one}

    @property
    def _main(self) -> SeriesVolume:
        return next(iter(self.volumes.values()))

    @property
    def _shown(self) -> tuple[str, ...]:
        present = (each.structure for each in self.findings.measurements if each.is_present)
        return tuple(dict.fromkeys(present))

    def _identity(self, instance_uid: str, series_uid: str, behind_report: int) -> ResultIdentity:
        number = self.definition.report_series_number + behind_report
        text = self.definition.series_description
        what = "key images" if behind_report == _SELECTION_BEHIND_REPORT else "outlines"
        return ResultIdentity(instance_uid, series_uid, number, f"{text} {what}")
