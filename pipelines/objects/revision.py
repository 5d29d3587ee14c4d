"""Result objects once more under other UIDs, or with what they follow on: made of the files alone.

What was taken back by a rejection note must not come again under the same UIDs, for a PACS may
discard it (IHE RAD-66), and an SR that names its predecessors is another document. Frames,
measurements and references to source images stay as they were proved.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.uids import encoded_uid

_OWN = ("SOPInstanceUID", "SeriesInstanceUID")
_FRAMES = "PixelData"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An older document that a new one replaces (PS3.3 C.17.2, Predecessor Documents)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Revision:
    """What is changed: predecessors go into the SR, the others give new UIDs to all objects.

    `round` says how often objects of this result were taken back, `attributes` what patient and
    study are called by now: keyword and value of attributes of VR LO, SH, PN or DA.
    """

    round: int = 0
    attributes: tuple[tuple[str, str], ...] = ()
    predecessors: tuple[Predecessor, ...] = ()

    @property
    def role(self) -> str:
        """What new UIDs are derived from; empty where they stay as they are."""
        if not self.round and not self.attributes:
            return ""
        told = sha256(json.dumps(sorted(self.attributes)).encode()).hexdigest()
        return f"round {self.round} {told}"


def revised(objects: Sequence[Dataset], revision: Revision) -> list[Dataset]:
    """Give the objects of one result anew; those that stay as they are come unchanged."""
    uids = _new_uids(objects, revision)
    return [_revised(item, revision, uids) for item in objects]


def revised_uid(uid: str, revision: Revision) -> str:
    """Give the UID that an object, or its series, has in the revision."""
    return encoded_uid(uid, revision.role) if revision.role else uid


def prove_revision(kept: Dataset, made: Dataset, revision: Revision) -> None:
    """Compare a revised object that was read back with the one it was made of.

    Raises:
        ProofFailed: more than UIDs and predecessors differs.
    """
    changed = {"PredecessorDocumentsSequence", *dict(revision.attributes)}
    if _content(kept, changed) != _content(made, changed):
        raise ProofFailed("a revised object says something else than the kept one")
    if any(str(made.get(keyword) or "") != value for keyword, value in revision.attributes):
        raise ProofFailed("a revised object does not say who it is about")
    if kept.Modality == "SR":
        _prove_predecessors(made, revision)


def _content(dataset: Dataset, left_out: Collection[str]) -> list[tuple[int, Any]]:
    """Give all values in order, UIDs but for those of classes left out."""
    own = Dataset()
    own.update({element.tag: element for element in dataset if element.keyword not in left_out})
    return [
        (element.tag, element.value)
        for element in own.iterall()
        if element.VR not in ("SQ", "UI") or element.keyword.endswith("ClassUID")
    ]


def _prove_predecessors(made: Dataset, revision: Revision) -> None:
    named = [
        str(item.ReferencedSOPInstanceUID)
        for study in made.get("PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    wanted = [item.sop_instance_uid for item in revision.predecessors]
    if sorted(named) != sorted(wanted):
        raise ProofFailed("a revised report does not name its predecessors")


def _new_uids(objects: Sequence[Dataset], revision: Revision) -> Mapping[str, str]:
    """Map the objects' own UIDs to those that they get."""
    own = {str(item.get(keyword)) for item in objects for keyword in _OWN}
    return {uid: revised_uid(uid, revision) for uid in own} if revision.role else {}


def _revised(kept: Dataset, revision: Revision, uids: Mapping[str, str]) -> Dataset:
    follows_on = kept.Modality == "SR" and bool(revision.predecessors)
    if not uids and not follows_on:
        return kept
    made = _copied(kept)
    for element in made.iterall():
        if element.VR == "UI" and str(element.value) in uids:
            element.value = uids[str(element.value)]
    for keyword, value in revision.attributes:
        setattr(made, keyword, value)
    if follows_on:
        _name_predecessors(made, revision)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _copied(kept: Dataset) -> Dataset:
    """Copy all but the frames, which are shared: they may be gigabytes."""
    made = Dataset()
    for element in kept:
        made.add(element if element.keyword == _FRAMES else deepcopy(element))
    made.file_meta = deepcopy(kept.file_meta)
    return made


def _name_predecessors(report: Dataset, revision: Revision) -> None:
    older = sorted(item.sop_instance_uid for item in revision.predecessors)
    report.SOPInstanceUID = encoded_uid(str(report.SOPInstanceUID), f"after {' '.join(older)}")
    study = Dataset()
    study.StudyInstanceUID = report.StudyInstanceUID
    study.ReferencedSeriesSequence = list(map(_series_item, revision.predecessors))
    report.PredecessorDocumentsSequence = [study]


def _series_item(item: Predecessor) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID = item.sop_class_uid
    instance.ReferencedSOPInstanceUID = item.sop_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = item.series_instance_uid
    series.ReferencedSOPSequence = [instance]
    return series
