"""STOW-RS client: result objects to a PACS over HTTP (PS3.18 10.5).

Nothing is negotiated over HTTP: what the profile wants most is sent, and a refusal of it gives way
to the next. Segmentations go first, so that no report refers to what was refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from config.settings import NodeSettings, StowDestination
from fhir.progress import Progress
from node.errors import FormRefused, PermanentDelivery
from node.fallback import kinds_instead, told_instead, told_left_out
from node.made_objects import PreparedObject
from node.object_negotiation import wanted_encodings
from node.outcome_report import header_source, outcome_objects
from node.prepared_objects import prepared_objects
from node.settled_form import form_of
from node.stow.posting import Posting, as_on_disk
from node.stow.progress import StoredSoFar
from node.superseding import carried_over, revised_objects, taken_back
from node.wanted_objects import Offer, may_be_refused
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
        made = {each.kind.name.lower() for each in self.finished.objects}
        kinds = tuple(kind for kind in self.destination.objects if kind in made)
        if not kinds:
            return {**carried_over(self.progress.receipt), RECEIPT_KEY: told([])}
        so_far = StoredSoFar.of(self.progress)
        try:
            return self._in_some_form(Offer(kinds), so_far)
        except FormRefused as refusal:
            return self._delivered_instead(refusal, so_far)

    def _in_some_form(self, offer: Offer, so_far: StoredSoFar) -> Mapping[str, str]:
        refusal: FormRefused | None = None
        for encoding in wanted_encodings(
            self.destination, {ObjectKind[k.upper()] for k in offer.kinds}
        ):
            if so_far.form not in ("", form_of(encoding)):
                continue
            try:
                return self._delivered(offer, encoding, so_far)
            except FormRefused as error:
                refusal = error
                _log.warning("form_refused", form=form_of(encoding), reason=error.text)
        if refusal is None:
            raise PermanentDelivery("not_encodable", "the profile allows no encoding any more")
        raise refusal

    def _delivered(
        self, offer: Offer, encoding: Encoding, so_far: StoredSoFar
    ) -> Mapping[str, str]:
        """Send in the order in which objects refer to each other."""
        objects = self._objects(offer, encoding)
        posting = Posting(self.destination, so_far, objects)
        segmentations = [each for each in objects if each.told.kind is ObjectKind.SEG]
        try:
            posting.send(segmentations)
        except FormRefused as refusal:
            if all(so_far.lacks(each.told.sop_instance_uid) for each in segmentations):
                raise
            # Another form beside it would show the same structures twice.
            text = f"{refusal.text}; a part of the result is there already"
            raise PermanentDelivery(refusal.code, text) from refusal
        if segmentations:
            so_far.settle_on(form_of(encoding))
        try:
            posting.send([each for each in objects if each.told.kind is ObjectKind.HEAT])
        except FormRefused as refusal:
            receipt = self._delivered(replace(offer, explains=False), encoding, so_far)
            return told_left_out(receipt, ObjectKind.HEAT.name, refusal.text)
        beside = may_be_refused(objects)
        posting.send([each for each in objects if each.told.sop_instance_uid not in beside])
        return self._with_others(posting, objects, beside, so_far)

    def _with_others(
        self,
        posting: Posting,
        objects: Sequence[PreparedObject],
        beside: Collection[str],
        so_far: StoredSoFar,
    ) -> Mapping[str, str]:
        """Send what may be refused; the receipt says what was."""
        refusals = {
            each.told.kind.name: posting.refusal_of(each)
            for each in objects
            if each.told.sop_instance_uid in beside
        }
        taken = [each.told for each in objects if not refusals.get(each.told.kind.name)]
        receipt = so_far.receipt(taken)
        for name, why in refusals.items():
            receipt = told_left_out(receipt, name, why) if why else receipt
        return receipt

    def _delivered_instead(self, refusal: FormRefused, so_far: StoredSoFar) -> Mapping[str, str]:
        """Send what the profile has in place of segmentations, each if it is taken."""
        kinds = kinds_instead(self.destination, self.finished, refusal)
        objects = self._objects(Offer(kinds), Encoding()) if kinds else ()
        posting = Posting(self.destination, so_far, objects)
        pages = [each for each in objects if each.told.kind is not ObjectKind.KOS]
        taken = [each for each in pages if not posting.refusal_of(each)]
        if not taken:
            raise refusal
        # Key images alone are no result.
        marks = (each for each in objects if each not in pages)
        taken += [each for each in marks if not posting.refusal_of(each)]
        return {**so_far.receipt([each.told for each in taken]), **told_instead(refusal)}

    def _objects(self, offer: Offer, encoding: Encoding) -> tuple[PreparedObject, ...]:
        objects = prepared_objects(self.files, self.finished, offer, [encoding])
        receipt = self.progress.receipt
        return tuple(map(as_on_disk, revised_objects(self.files, self.finished, objects, receipt)))
