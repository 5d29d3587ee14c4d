"""How a PACS learns that newer results replace older ones: by predecessor, or by rejection note.

What to do stands in the delivery's receipt before anything is sent, so that each try sends the
same: the predecessors that the new SR names, and what rejection notes have taken back there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from config.settings import PacsDestination
from fhir.progress import Progress
from node.composed_objects import composed
from node.errors import PermanentDelivery
from node.made_objects import PreparedObject
from pipelines.objects.composing import NoteRequest, Rejected, RevisionRequest
from pipelines.objects.revision import Predecessor, Revision, revised_uid
from storage.instance_files import InstanceFiles
from storage.predecessors import PREDECESSORS_KEY, named_predecessors
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import (
    RECEIPT_KEY,
    REJECTED_KEY,
    TRIED_KEY,
    SentObject,
    all_rejected,
    arrived_objects,
    rejected_objects,
    told,
    tried_objects,
)

_KEPT_KEYS = (REJECTED_KEY, PREDECESSORS_KEY)
_IMAGES = frozenset({ObjectKind.SEG, ObjectKind.SC, ObjectKind.HEAT, ObjectKind.PM})


def revised_objects(
    files: InstanceFiles,
    finished: FinishedJob,
    objects: tuple[PreparedObject, ...],
    receipt: Mapping[str, str],
) -> tuple[PreparedObject, ...]:
    """Give the objects with their predecessors, the identity of now, and UIDs of that.

    UIDs that were taken back there are never used again.

    Raises `PermanentDelivery` or `TransientDelivery` where they cannot be made.
    """
    revision = _revision(objects, receipt, finished.attributes)
    changed = tuple(item for item in objects if _is_changed(item, revision))
    if not changed:
        return objects
    paths = tuple(item.path for item in changed)
    made = composed(
        files, finished.job.job_id, paths, lambda folder: RevisionRequest(paths, revision, folder)
    )
    named = (
        replace(item, told=replace(item.told, kind=before.told.kind))
        for before, item in zip(changed, made, strict=True)
    )
    return (*(item for item in objects if item not in changed), *named)


def taken_back(
    destination: PacsDestination,
    files: InstanceFiles,
    finished: FinishedJob,
    receipt: Mapping[str, str],
    *,
    made: Path,
    send: Callable[[PreparedObject], Mapping[str, str]],
) -> Mapping[str, str]:
    """Have the note on a replaced result sent, where the destination has anything of it.

    `made` is an object of the job, for its header. Returns the receipt. Raises as
    `revised_objects`, and what `send` raises.
    """
    gone = {REJECTED_KEY: told(all_rejected(receipt))}
    note = _rejection_note(destination, files, finished, made, receipt)
    return {**gone, **({RECEIPT_KEY: told([])} if note is None else send(note))}


def _rejection_note(
    destination: PacsDestination,
    files: InstanceFiles,
    finished: FinishedJob,
    made: Path,
    receipt: Mapping[str, str],
) -> PreparedObject | None:
    """Give the note on what the destination has of a result; None where it has nothing.

    `made` is an object of the job, for its header. Raises as `revised_objects`.
    """
    if destination.superseded != "rejection_note":
        text = "a newer result replaced this one, and superseded is not rejection_note any more"
        raise PermanentDelivery("no_rejection_note", text)
    rejected = arrived_objects(receipt) or rejected_objects(receipt)
    at = finished.withdrawn_at
    if not rejected or at is None:
        return None
    items = tuple(map(_rejected, rejected))
    title = destination.rejection_title
    (note,) = composed(
        files,
        finished.job.job_id,
        [made],
        lambda folder: NoteRequest(made, items, title, at, folder, finished.attributes),
    )
    return note


def carried_over(receipt: Mapping[str, str]) -> dict[str, str]:
    """What of a receipt still counts when the sending is done."""
    return {key: receipt[key] for key in _KEPT_KEYS if key in receipt}


class SendJournal:
    """Keeps with the delivery what may be at a PACS, before it is: a broken sending leaves it.

    Called by `store_objects`. What was refused is not there.
    """

    def __init__(self, progress: Progress, objects: tuple[PreparedObject, ...]) -> None:
        self._progress = progress
        self._objects = {item.told.sop_instance_uid: item.told for item in objects}
        known = tried_objects(progress.receipt)
        self._tried = {item.sop_instance_uid: item for item in known}

    def __call__(self, sop_instance_uid: str, may_be_there: bool) -> None:
        """Note one object."""
        if may_be_there:
            self._tried[sop_instance_uid] = self._objects[sop_instance_uid]
        else:
            self._tried.pop(sop_instance_uid, None)
        receipt = {**self._progress.receipt, TRIED_KEY: told(tuple(self._tried.values()))}
        self._progress.receipt = receipt
        self._progress.keep(receipt)


def _revision(
    objects: tuple[PreparedObject, ...],
    receipt: Mapping[str, str],
    attributes: tuple[tuple[str, str], ...],
) -> Revision:
    gone = {item.sop_instance_uid for item in rejected_objects(receipt)}
    uids = [item.told.sop_instance_uid for item in objects]
    number = 0
    while gone & {revised_uid(uid, Revision(number, attributes)) for uid in uids}:
        number += 1
    older = tuple(map(_predecessor, named_predecessors(receipt)))
    return Revision(number, attributes, older)


def _is_changed(item: PreparedObject, revision: Revision) -> bool:
    follows_on = item.told.kind is ObjectKind.SR and bool(revision.predecessors)
    return bool(revision.role) or follows_on


def _predecessor(item: SentObject) -> Predecessor:
    return Predecessor(item.sop_class_uid, item.sop_instance_uid, item.series_instance_uid)


def _rejected(item: SentObject) -> Rejected:
    return Rejected(
        item.sop_class_uid,
        item.sop_instance_uid,
        item.series_instance_uid,
        is_image=item.kind in _IMAGES,
    )
