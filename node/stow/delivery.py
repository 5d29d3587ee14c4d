"""STOW-RS client: result objects to a PACS over HTTP (PS3.18 10.5).

Nothing is negotiated over HTTP: what the profile wants most is sent, and a refusal of it gives way
to the next. Segmentations go first, so that no report refers to what was refused; what an exchange
has brought is kept before the next one, so that only the rest is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from config.settings import StowDestination
from fhir.progress import Progress
from node.errors import FormRefused, PermanentDelivery
from node.object_negotiation import wanted_encodings
from node.prepared_objects import PreparedObject, prepared_objects
from node.stow.answer import read_answer
from node.stow.exchange import place, post_instances
from node.stow.multipart import MultipartBody
from node.stow.progress import StoredSoFar
from node.stow.verdict import TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Verdict, verdict_of
from node.superseding import SendJournal, carried_over, revised_objects, taken_back
from pipelines.objects.encoding import Encoding
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import RECEIPT_KEY, told

_TOO_MUCH_AT_ONCE = (TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StowDelivery:
    """Hands one finished job to one server."""

    destination: StowDestination
    files: InstanceFiles
    finished: FinishedJob
    progress: Progress
    so_far: StoredSoFar

    def deliver(self) -> Mapping[str, str]:
        """Send what is not there yet, and return the receipt.

        Raises:
            TransientDelivery: the server cannot take it now, or did not answer.
            PermanentDelivery: it takes it in no encoding that the profile has.
            OSError: an object cannot be read.
        """
        if self.finished.withdrawn_at is not None:
            return taken_back(
                self.destination, self.files, self.finished, self.progress.receipt, self._note
            )
        kinds = {each.kind for each in self.finished.objects}
        kinds = {kind for kind in kinds if kind.name.lower() in self.destination.objects}
        if not kinds:
            return {RECEIPT_KEY: told([])}
        refusal: FormRefused | None = None
        for encoding in wanted_encodings(self.destination, kinds):
            if self.so_far.form not in ("", _form(encoding)):
                continue
            try:
                return self._delivered(encoding)
            except FormRefused as error:
                refusal = error
                _log.warning("form_refused", form=_form(encoding), reason=error.text)
        raise refusal or PermanentDelivery("not_encodable", "the profile allows no encoding")

    def _delivered(self, encoding: Encoding) -> Mapping[str, str]:
        objects = prepared_objects(self.files, self.finished, self.destination.objects, [encoding])
        objects = revised_objects(self.files, self.finished, objects, self.progress.receipt)
        objects = tuple(map(_as_on_disk, objects))
        segmentations = [each for each in objects if each.told.kind is ObjectKind.SEG]
        self._store(segmentations)
        if segmentations:
            self.so_far.settle_on(_form(encoding))
        self._store([each for each in objects if each not in segmentations])
        receipt = self.so_far.receipt([each.told for each in objects])
        return {**carried_over(self.progress.receipt), **receipt}

    def _note(self, note: PreparedObject) -> Mapping[str, str]:
        """Send a rejection note."""
        self._store([_as_on_disk(note)])
        return self.so_far.receipt([note.told])

    def _store(self, objects: Sequence[PreparedObject]) -> None:
        missing = [each for each in objects if self.so_far.lacks(each.told.sop_instance_uid)]
        if not missing:
            return
        journal = SendJournal(self.progress, tuple(missing))
        for each in missing:
            journal(each.told.sop_instance_uid, may_be_there=True)
        self._post(missing)

    def _post(self, objects: Sequence[PreparedObject]) -> None:
        body = MultipartBody([each.path for each in objects])
        answer = post_instances(self.destination, body)
        if answer.status in _TOO_MUCH_AT_ONCE and len(objects) > 1:
            half = len(objects) // 2
            self._post(objects[:half])
            self._post(objects[half:])
            return
        verdict = verdict_of(
            place(self.destination),
            answer.status,
            read_answer(answer.content),
            {each.told.sop_instance_uid: each.told.sop_class_uid for each in objects},
            answer.retry_after_s,
        )
        self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        if verdict.stored:
            self.so_far.add(verdict.stored, is_proved=verdict.is_proved)
            _log.info("objects_sent", destination=self.destination.name, count=len(verdict.stored))
        if verdict.failure is not None:
            raise verdict.failure


def store_over_http(
    destination: StowDestination, files: InstanceFiles, finished: FinishedJob, progress: Progress
) -> Mapping[str, str]:
    """Deliver one job; see `StowDelivery.deliver`."""
    return StowDelivery(destination, files, finished, progress, StoredSoFar.of(progress)).deliver()


def _form(encoding: Encoding) -> str:
    return f"{encoding.form} {encoding.segmentation_transfer_syntax}"


def _as_on_disk(item: PreparedObject) -> PreparedObject:
    """Tell the transfer syntax of the file, which is the one that is sent."""
    syntax = str(_meta(item.path).TransferSyntaxUID)
    return replace(item, told=replace(item.told, transfer_syntax_uid=syntax))


def _meta(path: Path) -> Dataset:
    try:
        return read_file_meta_info(path)
    except (InvalidDicomError, OSError) as error:
        text = f"a result object cannot be read ({type(error).__name__}); retry the job"
        raise PermanentDelivery("object_unreadable", text) from error
