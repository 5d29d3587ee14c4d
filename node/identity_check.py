"""Before results leave: does the study still belong to the patient and the order that they name?

The PACS that sent it is asked, where it can be. Patient ID, its issuer and the Accession Number
decide. A name or birth date that differs under the same Patient ID is spelling or correction of
demographics and holds nothing; with another patient they are taken along. No answer, an unknown
study and what is left empty are no evidence: the result goes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import structlog

from config.settings import SenderSettings, Settings
from node.errors import CountsUnavailable, PermanentDelivery
from node.identity_lookup import Attributes, ask_identity
from node.receive.admission import senders_named
from storage.database import Database
from storage.delivery_reads import delivery_events
from storage.event_records import EventRecord
from storage.identity import DECIDING, keep_identity, known_identity, told_identity
from storage.instance_files import uid_tag
from storage.records import DeliveryRecord, DeliveryState, FinishedJob, ObjectKind, Purpose
from storage.state_change import Actor

IDENTITY_CHANGED = "identity_changed"
_OF_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")

_PAGES = frozenset({ObjectKind.PDF, ObjectKind.SC})
"""Objects that show whom they were made for: a new header would not change that."""

log = structlog.get_logger()

Check: TypeAlias = Callable[[FinishedJob, DeliveryRecord], FinishedJob]
"""Gives a job as it may be told now, or raises `PermanentDelivery`."""


def unchecked(finished: FinishedJob, _delivery: DeliveryRecord) -> FinishedJob:
    """Ask nobody."""
    return finished


class IdentityCheck:
    """Asks for each try of a delivery; usable from every delivering thread."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db

    def __call__(self, finished: FinishedJob, delivery: DeliveryRecord) -> FinishedJob:
        """Give the job under the identity of now, where the sender's settings want it so.

        Raises:
            PermanentDelivery: the identity has changed and the delivery is held: a person who asks
                for another try releases it as it is.
        """
        if delivery.purpose is Purpose.WITHDRAW:
            return _under(finished, told_identity(delivery.receipt))
        sender = self.sender_of(finished)
        if sender is None:
            return finished
        changes = self.changes(sender, finished)
        deciding = [keyword for keyword in DECIDING if keyword in changes]
        if not deciding:
            return finished
        names = ", ".join(deciding)
        if sender.identity_changed == "rebuild":
            log.warning(IDENTITY_CHANGED, changed=names, study=_tag(finished))
            return _under(finished, changes)
        if is_released(delivery_events(self._db, delivery.delivery_id)):
            return finished
        text = (
            f"the PACS lists the study under another {names} by now; have it sent again, or "
            "retry-delivery sends the result as it is"
        )
        raise PermanentDelivery(IDENTITY_CHANGED, text)

    def sender_of(self, finished: FinishedJob) -> SenderSettings | None:
        """Give the sender of the study, if it can be asked and the answer would count."""
        named = senders_named(self._settings.receive, finished.study.calling_ae_title)
        able = (each for each in named if each.qido_url or each.find_host)
        return next((each for each in able if each.identity_changed != "ignore"), None)

    def changes(self, sender: SenderSettings, finished: FinishedJob) -> Attributes:
        """Give what is otherwise by now; where nobody answers, what was so when somebody did."""
        study_uid = finished.study.header.study_instance_uid
        try:
            found = ask_identity(
                sender,
                study_uid,
                calling_ae_title=self._settings.node.ae_title,
                timeout_s=self._settings.completeness.find_timeout_s,
            )
        except CountsUnavailable as error:
            log.info("identity_not_asked", study=uid_tag(study_uid), reason=str(error))
            return known_identity(self._db, study_uid)
        if not found:
            return known_identity(self._db, study_uid)
        changes = _fewest_changes(finished, found)
        keep_identity(self._db, study_uid, changes)
        return changes


def _fewest_changes(finished: FinishedJob, found: Sequence[Attributes]) -> Attributes:
    """Compare with all that the PACS lists; one entry that agrees is enough."""
    compared = [dict(_differences(finished, each)) for each in found]
    return min(compared, key=lambda each: sum(keyword in each for keyword in DECIDING))


def _differences(finished: FinishedJob, told: Attributes) -> Iterator[tuple[str, str]]:
    known = _known(finished)
    other = {key for key in told if told[key] != known[key].strip()}
    if not known["IssuerOfPatientID"].strip() and "PatientID" not in other:
        other.discard("IssuerOfPatientID")
    is_other_patient = bool(other & {"PatientID", "IssuerOfPatientID"})
    for keyword in sorted(other):
        if is_other_patient or keyword not in _OF_PATIENT:
            yield keyword, told[keyword]


def _known(finished: FinishedJob) -> Attributes:
    header = finished.study.header
    return {
        "PatientID": header.patient.patient_id,
        "IssuerOfPatientID": header.patient.issuer_of_patient_id,
        "PatientName": header.patient.patient_name,
        "PatientBirthDate": header.patient.birth_date,
        "AccessionNumber": header.accession_number,
    }


def _under(finished: FinishedJob, changes: Attributes) -> FinishedJob:
    """Name patient and order as they are called now; pages show the older names, and stay away."""
    if not changes:
        return finished
    now = {**_known(finished), **changes}
    header = finished.study.header
    patient = replace(
        header.patient,
        patient_id=now["PatientID"],
        issuer_of_patient_id=now["IssuerOfPatientID"],
        patient_name=now["PatientName"],
        birth_date=now["PatientBirthDate"],
    )
    header = replace(header, patient=patient, accession_number=now["AccessionNumber"])
    study = replace(finished.study, header=header)
    objects = tuple(item for item in finished.objects if item.kind not in _PAGES)
    attributes = tuple(sorted(changes.items()))
    return replace(finished, study=study, objects=objects, attributes=attributes)


def is_released(events: Sequence[EventRecord]) -> bool:
    """Whether a person asked for another try after the delivery was held last."""
    was_held = released = False
    for event in events:
        if event.to_state == DeliveryState.DEAD:
            was_held = event.reason_code == IDENTITY_CHANGED
        elif event.to_state == DeliveryState.PENDING and event.actor == Actor.ROUTING:
            released = False  # told anew: another result, maybe
        elif event.from_state == DeliveryState.DEAD and was_held:
            released = event.actor == Actor.PERSON
    return released


def _tag(finished: FinishedJob) -> str:
    return uid_tag(finished.study.header.study_instance_uid)
