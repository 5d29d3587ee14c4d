"""STOW-RS client: result objects to a PACS over HTTP (PS3.18 10.5).

Nothing is negotiated over HTTP: what the profile wants most is sent, and a refusal of it gives way
to the next. Segmentations go first, so that no report refers to what was refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from config.settings import NodeSettings, StowDestination
from fhir.progress import Progress
from node.errors import FormRefused, PermanentDelivery
from node.fallback import kinds_instead, told_instead
from node.made_objects import PreparedObject
from node.object_negotiation import wanted_encodings
from node.outcome_report import header_source, outcome_objects
from node.prepared_objects import prepared_objects
from node.settled_form import form_of
from node.stow.posting import Posting, as_on_disk
from node.stow.progress import StoredSoFar
from node.superseding import carried_over, revised_objects, taken_back
from pipelines.objects.encoding import Encoding
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import RECEIPT_KEY, told
from storage.telling import WITH_RESULT, telling

_log = structlog.get_logger()


def store_over_http(
    destination: StowDestination,
    node: NodeSettings,
    files: InstanceFiles,
    finished: FinishedJob,
    progress: Progress,
) -> Mapping[str, str]:
    """Deliver one job, or take it back; return the receipt.

    Raises:
        TransientDelivery: the server cannot take it now, or did not answer.
        PermanentDelivery: it takes it in no form that the profile has.
        OSError: an object cannot be read.
    """
    delivery = StowDelivery(destination, files, finished, progress)
    if finished.withdrawn_at is not None:
        return delivery.take_back(header_source(node, files, finished))
    if telling(finished.job) not in WITH_RESULT:
        report = outcome_objects(destination, node, files, finished, progress.receipt)
        return delivery.tell(report)
    return delivery.deliver()


@dataclass(frozen=True, slots=True)
class StowDelivery:
    """One finished job, for one server."""

    destination: StowDestination
    files: InstanceFiles
    finished: FinishedJob
    progress: Progress

    def take_back(self, made: Path) -> Mapping[str, str]:
        """Send a rejection note on what the server has of the result, if anything."""
        return taken_back(
            self.destination,
            self.files,
            self.finished,
            self.progress.receipt,
            made=made,
            send=self._note,
        )

    def tell(self, reports: Sequence[PreparedObject]) -> Mapping[str, str]:
        """Send what says why there is no result."""
        reports = tuple(map(as_on_disk, reports))
        so_far = StoredSoFar.of(self.progress)
        Posting(self.destination, so_far, reports).send(reports)
        return so_far.receipt([each.told for each in reports])

    def _note(self, note: PreparedObject) -> Mapping[str, str]:
        """Send a rejection note; what is kept with the delivery stays what it takes back."""
        note = as_on_disk(note)
        so_far = StoredSoFar(Progress())
        Posting(self.destination, so_far, [note]).send([note])
        return so_far.receipt([note.told])

    def deliver(self) -> Mapping[str, str]:
        """Send what is not there yet, in the first form that is taken."""
        wanted = {each.kind.name.lower() for each in self.finished.objects}
        kinds = [kind for kind in self.destination.objects if kind in wanted]
        if not kinds:
            return {**carried_over(self.progress.receipt), RECEIPT_KEY: told([])}
        so_far = StoredSoFar.of(self.progress)
        refusal: FormRefused | None = None
        for encoding in wanted_encodings(self.destination, {ObjectKind[k.upper()] for k in kinds}):
            if so_far.form not in ("", form_of(encoding)):
                continue
            try:
                return self._delivered(kinds, encoding, so_far)
            except FormRefused as error:
                refusal = error
                _log.warning("form_refused", form=form_of(encoding), reason=error.text)
        if refusal is None:
            raise PermanentDelivery("not_encodable", "the profile allows no encoding any more")
        return self._delivered_instead(refusal, so_far)

    def _delivered(
        self, kinds: Sequence[str], encoding: Encoding, so_far: StoredSoFar
    ) -> Mapping[str, str]:
        objects = self._objects(kinds, encoding)
        posting = Posting(self.destination, so_far, objects)
        segmentations = [each for each in objects if each.told.kind is ObjectKind.SEG]
        posting.send(segmentations)
        if segmentations:
            so_far.settle_on(form_of(encoding))
        posting.send([each for each in objects if each not in segmentations])
        return so_far.receipt([each.told for each in objects])

    def _delivered_instead(self, refusal: FormRefused, so_far: StoredSoFar) -> Mapping[str, str]:
        """Send what the profile has in place of segmentations, each if it is taken."""
        kinds = kinds_instead(self.destination, self.finished, refusal)
        objects = self._objects(kinds, Encoding()) if kinds else ()
        posting = Posting(self.destination, so_far, objects)
        taken = [each for each in objects if posting.is_taken(each)]
        if not taken:
            raise refusal
        return {**so_far.receipt([each.told for each in taken]), **told_instead(refusal)}

    def _objects(self, kinds: Sequence[str], encoding: Encoding) -> tuple[PreparedObject, ...]:
        objects = prepared_objects(self.files, self.finished, kinds, [encoding])
        receipt = self.progress.receipt
        return tuple(map(as_on_disk, revised_objects(self.files, self.finished, objects, receipt)))
