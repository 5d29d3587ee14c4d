"""Do the slices that are here make whole series for some pipeline? Headers decide, not pixels.

That is less than proof: slices missing at either end leave no gap. But it tells a study whose
last association is over apart from one of which half was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from config.settings import Settings
from node.receive.parse_errors import PARSE_ERRORS
from node.routing import offered_to
from node.study_headers import read_headers
from pipelines.registry import Registry
from pipelines.selection import NoMatch, select_inputs
from storage.database import Database
from storage.dicom_records import InstanceRecord, StudyRecord
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles

_TAGS = ["ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames"]
_FEWEST_SLICES = 3
_WITHIN_MM = 0.01
# A step of twice the usual one is a missing slice; uneven spacing is the model's business.
_LARGEST_STEP = 1.5


class SliceCoverage:
    """Finds a pipeline all of whose inputs are here, without a gap; a study is read once."""

    def __init__(
        self, settings: Settings, db: Database, files: InstanceFiles, registry: Registry
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._registry = registry

    def covered_pipeline(self, study: StudyRecord) -> str | None:
        """Return the name of the first such pipeline among those for the study's sender."""
        offered = offered_to(study.calling_ae_title, self._registry, self._settings)
        if not offered:
            return None
        try:
            uid = study.header.study_instance_uid
            candidates = read_headers(self._db, self._files, uid).by_series
        except DatabaseUnavailable:
            raise
        except StorageError:
            return None  # a file cannot be read now; the quiet time decides, for this study alone
        for pipeline in offered:
            try:
                selection = select_inputs(
                    pipeline.definition, [one.candidate for one in candidates.values()]
                )
            except PARSE_ERRORS:
                continue
            if isinstance(selection, NoMatch):
                continue
            chosen = [
                candidates[one.candidate.record.header.series_instance_uid].instances
                for one in selection.inputs.values()
            ]
            if all(self._has_no_gap(instances) for instances in chosen):
                return pipeline.definition.name
        return None

    def _has_no_gap(self, instances: Sequence[InstanceRecord]) -> bool:
        headers = [self._header(record) for record in instances]
        known = [header for header in headers if header is not None]
        if len(known) != len(headers):
            return False
        return (len(known) == 1 and _frames(known[0]) > 1) or has_no_gap(known)

    def _header(self, record: InstanceRecord) -> Dataset | None:
        path = self._files.absolute(record.path)
        try:
            return dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except (OSError, InvalidDicomError, *PARSE_ERRORS):
            return None


def has_no_gap(headers: Iterable[Dataset]) -> bool:
    """Whether slices (headers with position and orientation, in mm, LPS) lie without a gap.

    Several slices may share a position (phases, echoes) if all positions have as many.
    """
    try:
        distances = np.sort([_distance_mm(header) for header in headers])
    except PARSE_ERRORS:
        return False
    if len(distances) < _FEWEST_SLICES or not np.all(np.isfinite(distances)):
        return False
    starts = np.flatnonzero(np.diff(distances, prepend=-np.inf) > _WITHIN_MM)
    repeats = Counter(np.diff(np.append(starts, len(distances))).tolist())
    steps = np.diff(distances[starts])
    if len(steps) < _FEWEST_SLICES - 1 or len(repeats) != 1:
        return False
    return bool(steps.max() < _LARGEST_STEP * np.median(steps))


def _distance_mm(header: Dataset) -> float:
    cosines = np.asarray(header["ImageOrientationPatient"].value, dtype=np.float64)
    position = np.asarray(header["ImagePositionPatient"].value, dtype=np.float64)
    return float(np.cross(cosines[:3], cosines[3:6]) @ position)


def _frames(header: Dataset) -> int:
    try:
        return int(header.get("NumberOfFrames") or 1)
    except PARSE_ERRORS:
        return 1
