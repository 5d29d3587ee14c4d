"""A rejection note (IHE IOCM, RAD-66): a Key Object Selection that takes back what was sent.

TID 2010 with a title of CID 7010. Its UIDs follow from what it names, so that a repeat is the same
note, and a note on other objects another one.
"""

from __future__ import annotations

from enum import StrEnum

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.codes import DEVICE, coded
from pipelines.objects.composing import NoteRequest, Rejected
from pipelines.objects.key_object_selection import leave_references_unnamed
from pipelines.objects.notice_header import mark_notice
from pipelines.objects.source_header import patient_and_study
from pipelines.objects.station import MANUFACTURER
from pipelines.objects.uids import encoded_uid
from storage.dicom_records import CodedConcept

SERIES_NUMBER_STEP = 40
"""What is added to the Series Number of the object that the note is filed beside."""

_DESCRIPTION = "Replaced, or withdrawn, by the AI node that made it: do not use."
_SERIES_DESCRIPTION = "AI results rejected"


class RejectionTitle(StrEnum):
    """Why objects are taken back, as far as it decides what a PACS does with them."""

    QUALITY = "quality"
    RETENTION_EXPIRED = "retention_expired"


_TITLES = {
    RejectionTitle.QUALITY: CodedConcept("113001", "DCM", "Rejected for Quality Reasons"),
    RejectionTitle.RETENTION_EXPIRED: CodedConcept(
        "113039", "DCM", "Data Retention Policy Expired"
    ),
}


def build_rejection_note(request: NoteRequest, made: Dataset) -> Dataset:
    """Build the note; `made` is an object of the job, for patient, study and equipment."""
    title = _TITLES[RejectionTitle(request.title)]
    evidence = [_evidence(item, made) for item in request.rejected]
    role = "|".join(
        [f"rejected {title.value}", *sorted(item.sop_instance_uid for item in request.rejected)]
    )
    study_uid = str(made.StudyInstanceUID)
    content = hd.ko.KeyObjectSelection(
        document_title=coded(title),
        referenced_objects=evidence,
        observer_device_context=_observer(made),
        description=_DESCRIPTION,
    )
    note: Dataset = hd.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=encoded_uid(study_uid, f"series {role}"),
        series_number=int(made.get("SeriesNumber") or 0) + SERIES_NUMBER_STEP,
        sop_instance_uid=encoded_uid(study_uid, role),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    leave_references_unnamed(note)
    mark_notice(note, made, _SERIES_DESCRIPTION, request.rejected_at)
    for keyword, value in request.attributes:
        setattr(note, keyword, value)
    return note


def prove_rejection_note(note: Dataset, request: NoteRequest) -> None:
    """Compare a note that was read back with what it should say.

    Raises:
        ProofFailed: title, references or evidence differ.
    """
    wanted = {(item.sop_class_uid, item.sop_instance_uid) for item in request.rejected}
    evidence = {
        (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    named = {
        (str(reference.ReferencedSOPClassUID), str(reference.ReferencedSOPInstanceUID))
        for item in note.ContentSequence
        for reference in item.get("ReferencedSOPSequence") or []
    }
    title = str(note.ConceptNameCodeSequence[0].CodeValue)
    if not (wanted == evidence == named and title == _TITLES[RejectionTitle(request.title)].value):
        raise ProofFailed("the rejection note does not name what it should")


def _observer(made: Dataset) -> hd.sr.ObserverContext:
    equipment = made.get("ContributingEquipmentSequence") or [Dataset()]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=str(equipment[0].get("DeviceUID") or encoded_uid(MANUFACTURER, "device")),
        name=str(made.get("DeviceSerialNumber") or MANUFACTURER),
        manufacturer_name=MANUFACTURER,
    )
    return hd.sr.ObserverContext(
        observer_type=coded(DEVICE), observer_identifying_attributes=device
    )


def _evidence(item: Rejected, made: Dataset) -> Dataset:
    """Give what the library asks of an object that it refers to."""
    header = patient_and_study(made)
    header.StudyInstanceUID = made.StudyInstanceUID
    header.SeriesInstanceUID = item.series_instance_uid
    header.SOPClassUID = item.sop_class_uid
    header.SOPInstanceUID = item.sop_instance_uid
    if item.is_image:
        # By these the library tells IMAGE from COMPOSITE; they go nowhere.
        header.Rows = header.Columns = 1
    return header
