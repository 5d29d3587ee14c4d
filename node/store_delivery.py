"""One finished job for a PACS by C-STORE: in the first form that it accepts, and takes.

What it accepts is asked before anything is encoded. A PACS may accept a SOP Class and refuse the
object by a status all the same: then the next form of the profile goes, and at the end what the
profile has in place of segmentations, as where nothing was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.errors import FormRefused, PermanentDelivery
from node.fallback import kinds_instead, told_instead, told_left_out, unexplained
from node.made_objects import PreparedObject
from node.object_negotiation import accepted_encodings, accepted_kinds
from node.outcome_report import header_source, outcome_objects
from node.prepared_objects import prepared_objects
from node.scu import Stored, store_objects
from node.settled_form import form_of, settle_on, settled_form
from node.store_status import SOP_CLASS_NOT_SUPPORTED_CODE
from node.superseding import SendJournal, carried_over, revised_objects, taken_back
from node.wanted_objects import Offer, may_be_refused, needed, wanted_objects
from pipelines.objects.encoding import Encoding
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import RECEIPT_KEY, told
from storage.telling import WITH_RESULT, telling

log = structlog.get_logger()


def store_at_pacs(
    destination: DicomDestination,
    node: NodeSettings,
    files: InstanceFiles,
    finished: FinishedJob,
    progress: Progress,
) -> Mapping[str, str]:
    """Deliver one job, or take it back; return the receipt.

    Raises:
        TransientDelivery: the PACS cannot take it now, or did not answer.
        PermanentDelivery: it takes it in no form that the profile has.
    """
    calling_ae_title = destination.calling_ae_title or node.ae_title
    delivery = StoreDelivery(destination, calling_ae_title, files, finished, progress)
    if finished.withdrawn_at is not None:
        return taken_back(
            destination,
            files,
            finished,
            progress.receipt,
            made=header_source(node, files, finished),
            send=delivery.note,
        )
    if telling(finished.job) not in WITH_RESULT:
        return delivery.tell(outcome_objects(destination, node, files, finished, progress.receipt))
    return delivery.deliver()


@dataclass(frozen=True, slots=True)
class StoreDelivery:
    """One finished job, for one PACS."""

    destination: DicomDestination
    calling_ae_title: str
    files: InstanceFiles
    finished: FinishedJob
    progress: Progress

    def note(self, note: PreparedObject) -> Mapping[str, str]:
        """Send a rejection note; what is kept with the delivery stays what it takes back."""
        stored = store_objects(self.destination, self.calling_ae_title, [note.path])
        return _receipt((note,), stored)

    def tell(self, reports: tuple[PreparedObject, ...]) -> Mapping[str, str]:
        """Send what says why there is no result."""
        return self._stored(reports, "")

    def deliver(self) -> Mapping[str, str]:
        """Send the result in the first form that is taken, or what goes in its place."""
        return self._delivered(Offer(self.destination.objects))

    def _delivered(self, offer: Offer) -> Mapping[str, str]:
        try:
            return self._in_a_form(offer)
        except FormRefused as refusal:
            if smaller := unexplained(offer, self.finished, refusal):
                receipt = self._delivered(smaller)
                return told_left_out(receipt, ObjectKind.HEAT.name, refusal.text)
            if settled_form(self.progress):
                text = f"{refusal.text}; a part of the result is there already"
                raise PermanentDelivery(refusal.code, text) from refusal
            return self._instead(refusal)

    def _in_a_form(self, offer: Offer) -> Mapping[str, str]:
        """Send what is offered.

        Raises `FormRefused`: in no form that is accepted.
        """
        wanted = self._of_kinds(offer)
        if not wanted:
            return self._stored((), "")
        encodings = accepted_encodings(self.destination, self.calling_ae_title, needed(wanted))
        refusal = FormRefused("not_encodable", "no encoding is accepted", wanted.values())
        while encodings:
            encoding, *encodings = encodings
            if settled_form(self.progress) not in ("", form_of(encoding)):
                continue
            try:
                return self._stored(self._objects(offer, encoding), form_of(encoding))
            except FormRefused as error:
                refusal = error
                encodings = _left(encodings, encoding, error)
                log.warning("form_refused", form=form_of(encoding), reason=error.text)
        raise refusal

    def _instead(self, refusal: FormRefused) -> Mapping[str, str]:
        """Send what the profile has in place of segmentations, each if it is taken."""
        offered = self._of_kinds(Offer(kinds_instead(self.destination, self.finished, refusal)))
        kinds = offered and accepted_kinds(self.destination, self.calling_ae_title, offered)
        while set(kinds) - {ObjectKind.KOS}:
            log.warning("form_refused", kinds=[kind.name for kind in kinds], reason=refusal.text)
            try:
                names = tuple(kind.name.lower() for kind in kinds)
                receipt = self._in_a_form(Offer(names, explains=ObjectKind.HEAT in kinds))
                return {**receipt, **told_instead(refusal)}
            except FormRefused as error:
                left = tuple(kind for kind in kinds if offered[kind] not in error.sop_classes)
                kinds = left if len(left) < len(kinds) else ()
        raise refusal

    def _objects(self, offer: Offer, encoding: Encoding) -> tuple[PreparedObject, ...]:
        prepared = prepared_objects(self.files, self.finished, offer, [encoding])
        return revised_objects(self.files, self.finished, prepared, self.progress.receipt)

    def _of_kinds(self, offer: Offer) -> dict[ObjectKind, str]:
        """Give the SOP Classes of what the job made of what is offered."""
        made = wanted_objects(self.finished, offer)
        return {each.kind: each.sop_class_uid for each in made}

    def _stored(self, objects: tuple[PreparedObject, ...], form: str) -> Mapping[str, str]:
        stored: Mapping[str, Stored] = {}
        if objects:
            stored = store_objects(
                self.destination,
                self.calling_ae_title,
                [item.path for item in objects],
                SendJournal(self.progress, objects),
                partial(self._settle, objects, form),
                may_be_refused(objects),
            )
        return {**carried_over(self.progress.receipt), **_receipt(objects, stored)}

    def _settle(self, objects: Sequence[PreparedObject], form: str, sop_instance_uid: str) -> None:
        kinds = {item.told.sop_instance_uid: item.told.kind for item in objects}
        if kinds[sop_instance_uid] is ObjectKind.SEG:
            settle_on(self.progress, form)


def _left(encodings: Sequence[Encoding], tried: Encoding, refusal: FormRefused) -> list[Encoding]:
    """Give what may pass after a refusal: of a SOP Class that is not supported, nothing."""
    if refusal.code != SOP_CLASS_NOT_SUPPORTED_CODE:
        return list(encodings)
    refused = tried.form.sop_class_uid
    return [each for each in encodings if each.form.sop_class_uid != refused]


def _receipt(objects: Sequence[PreparedObject], stored: Mapping[str, Stored]) -> Mapping[str, str]:
    receipt: Mapping[str, str] = {}
    sent = []
    for item in objects:
        one = stored[item.told.sop_instance_uid]
        if one.refusal:
            receipt = told_left_out(receipt, item.told.kind.name, one.refusal)
        else:
            sent.append(replace(item.told, transfer_syntax_uid=one.transfer_syntax_uid))
    statuses = {uid: one.status for uid, one in stored.items() if not one.refusal}
    return {**receipt, **statuses, RECEIPT_KEY: told(sent)}
