"""One finished job as HL7 v2.5.1 ORU^R01 (chapter 7): a preliminary, unreviewed result.

The message is a pure function of its arguments: the same job gives the same bytes, and the same
message control id, by which a receiver knows a repeat.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import uuid5
from zoneinfo import ZoneInfo

from config.settings import Hl7Destination
from fhir.hl7_patient import patient_segment
from fhir.hl7_text import (
    ENCODING_CHARACTERS,
    TERMINATOR,
    components,
    lines,
    segment,
    text,
    timestamp,
)
from fhir.identifiers import NAMESPACE, result_identity
from fhir.narrative import conclusion, notice, outcome_of
from fhir.observation import label, rounded
from fhir.study_time import fhir_study_time, issued_at
from storage.dicom_records import CodedConcept
from storage.records import FinishedJob, MeasurementRecord
from storage.telling import WITH_RESULT

PRELIMINARY: Final = "P"
"""Result status (tables 0085 and 0123): stored, and verified by nobody."""
NO_RESULT_STATUS: Final = "X"
"""Result status (tables 0085 and 0123): there is none, and will be none from this analysis."""
CORRECTION: Final = "C"
"""OBR-25 of a withdrawal; table 0123 has no code of its own for that."""
WRONG: Final = "W"
"""OBX-11 of a withdrawal (table 0085): what was posted is wrong."""

_ROLE: Final = "HL7 v2 ORU"
_CONTROL_ID_LENGTH: Final = 20
_SUB_ID_LENGTH: Final = 20
_FILLER_LENGTH: Final = 16
_NARRATIVE: Final = components("18782-3", "Radiology Study observation (narrative)", "LN")
_DOCUMENT: Final = components("18748-4", "Diagnostic imaging study", "LN")
_STUDY_UID: Final = components("113014", "DICOM Study", "DCM")
# Table 0396 knows LOINC as LN and SNOMED CT as SCT, as DICOM does.
_UCUM: Final = "UCUM"


@dataclass(frozen=True, slots=True)
class OruMessage:
    """A message, segments ended by carriage returns, and its MSH-10."""

    control_id: str
    content: str


@dataclass(frozen=True, slots=True)
class _Observation:
    """One OBX: type, what (OBX-3), which (OBX-4), value, unit."""

    kind: str
    identifier: str
    sub_id: str
    value: str
    unit: str = ""


def build_oru(
    finished: FinishedJob, *, destination: Hl7Destination, timezone: str, issued: datetime
) -> OruMessage:
    """The message that tells a finished job.

    `timezone` (IANA name) applies to studies without Timezone Offset From UTC and to our own
    times; `issued` is when the job was finished (aware).

    Raises:
        PermanentFhirError: the job has no outcome. PatientNotResolved: it cannot be said whose it
            is.
    """
    key = result_identity(finished, destination.name).uuid(_control_role(finished, issued))
    control_id = base64.b32encode(key.bytes).decode()[:_CONTROL_ID_LENGTH]
    moment = finished.withdrawn_at or issued
    told = timestamp(issued_at(moment).astimezone(ZoneInfo(timezone)))
    taken = timestamp(fhir_study_time(finished.study.header, timezone))
    segments = [
        _header(destination, control_id, told),
        patient_segment(finished.study.header.patient, destination.patient_authorities),
        _common_order(finished),
        _request(finished, destination, taken, told),
        *_results(finished, taken, told, with_pdf=destination.include_pdf),
    ]
    return OruMessage(control_id, "".join(each + TERMINATOR for each in segments))


def _control_role(finished: FinishedJob, issued: datetime) -> str:
    """What makes the control id: a job that is done again is told anew, and no repeat."""
    withdrawal = f" withdrawn {finished.withdrawn_at.isoformat()}" if finished.withdrawn_at else ""
    return f"{_ROLE} {outcome_of(finished)} {issued.isoformat()}{withdrawal}"


def _header(destination: Hl7Destination, control_id: str, told: str) -> str:
    fields = {
        2: ENCODING_CHARACTERS,
        3: text(destination.sending_application),
        4: text(destination.sending_facility),
        5: text(destination.receiving_application),
        6: text(destination.receiving_facility),
        7: told,
        9: components("ORU", "R01", "ORU_R01"),
        10: control_id,
        11: destination.processing_id,
        12: "2.5.1",
        18: destination.character_set,
    }
    return segment("MSH", fields)


def _filler(finished: FinishedJob) -> str:
    """Our own number for this analysis of the study; a later result of the same has it, too."""
    job = finished.job
    number = uuid5(NAMESPACE, f"{job.study_instance_uid}\x1f{job.pipeline_name}\x1forder")
    return components(number.hex[:_FILLER_LENGTH], "RADNODE")


def _common_order(finished: FinishedJob) -> str:
    return segment("ORC", {1: "RE", 3: _filler(finished)})


def _request(finished: FinishedJob, destination: Hl7Destination, taken: str, told: str) -> str:
    study = finished.study.header
    fields = {
        1: "1",
        3: _filler(finished),
        4: _service(study.procedure_code, destination),
        7: taken,
        18: text(study.accession_number),
        22: told,
        24: "RAD",
        25: CORRECTION if finished.withdrawn_at else _status(finished),
    }
    return segment("OBR", fields)


def _service(procedure: CodedConcept | None, destination: Hl7Destination) -> str:
    """Universal service identifier: the study's own procedure code, else the site's default."""
    coded = procedure if procedure and procedure.value else None
    if coded is None:
        service = destination.service
        coded = CodedConcept(service.code, service.coding_system, service.text)
    return _coded(coded)


def _results(finished: FinishedJob, taken: str, told: str, *, with_pdf: bool) -> Iterator[str]:
    equipment = _equipment(finished)
    for number, observation in enumerate(_observations(finished, with_pdf), start=1):
        fields = {
            1: str(number),
            2: observation.kind,
            3: observation.identifier,
            4: observation.sub_id,
            5: observation.value,
            6: observation.unit,
            11: WRONG if finished.withdrawn_at else _status(finished),
            14: taken or told,
            18: equipment,
            19: told,
        }
        yield segment("OBX", fields)


def _status(finished: FinishedJob) -> str:
    return PRELIMINARY if outcome_of(finished) in WITH_RESULT else NO_RESULT_STATUS


def _equipment(finished: FinishedJob) -> str:
    """The algorithm that ran, as EI: Entity Identifier, Namespace ID, Universal ID and its type."""
    if outcome_of(finished) not in WITH_RESULT:
        return ""
    algorithm = finished.algorithm
    name = text(f"{algorithm.name} {algorithm.version}")
    return components(name, text(algorithm.manufacturer), algorithm.device_uid, "ISO")


def _observations(finished: FinishedJob, with_pdf: bool) -> Iterator[_Observation]:
    outcome = outcome_of(finished)
    narrative = [*lines(notice(finished, outcome)), *lines(conclusion(finished, outcome))]
    for number, line in enumerate(narrative, start=1):
        yield _Observation("TX", _NARRATIVE, str(number), line)
    sub_ids = _sub_ids(finished.measurements)
    for measurement, sub_id in zip(finished.measurements, sub_ids, strict=True):
        yield _measured(measurement, sub_id)
    study_uid = finished.study.header.study_instance_uid
    yield _Observation("ST", _STUDY_UID, "", text(study_uid))
    if with_pdf and finished.report_pdf is not None:
        # An ED: type (table 0191), subtype (0291), encoding, and data that need no escaping.
        encoded = base64.b64encode(finished.report_pdf).decode()
        yield _Observation("ED", _DOCUMENT, "", components("", "AP", "PDF", "Base64", encoded))


def _measured(measurement: MeasurementRecord, sub_id: str) -> _Observation:
    quantity = measurement.quantity
    identifier = _coded(CodedConcept(quantity.value, quantity.scheme, label(measurement)))
    if not measurement.has_value:
        # No number: 0 mL would be charted as a total loss.
        return _Observation("ST", identifier, sub_id, "not detected")
    unit = measurement.unit
    scheme = _UCUM if unit.scheme == _UCUM else text(unit.scheme)
    coded_unit = components(text(unit.value), text(unit.meaning), scheme)
    return _Observation("NM", identifier, sub_id, f"{rounded(measurement.value):f}", coded_unit)


def _sub_ids(measurements: tuple[MeasurementRecord, ...]) -> list[str]:
    """OBX-4: the structure, cut to its 20 characters; a number where that is not enough."""
    names = [text(each.structure, _SUB_ID_LENGTH) for each in measurements]
    keys = [(name, each.quantity.value) for name, each in zip(names, measurements, strict=True)]
    unique = len(set(keys)) == len(keys) and all(len(name) <= _SUB_ID_LENGTH for name in names)
    return names if unique and all(names) else [str(number + 1) for number in range(len(names))]


def _coded(concept: CodedConcept) -> str:
    return components(text(concept.value), text(concept.meaning), text(concept.scheme))
