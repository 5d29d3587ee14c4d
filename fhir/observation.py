"""One measured quantity of one structure as Observation.

An absent structure is no 0 mL: a chart of volumes would draw it as total loss. It is told as
interpretation ND (Not detected) with dataAbsentReason not-applicable and no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir.clean_text import clean
from fhir.codes import (
    NOT_REVIEWED,
    SYSTEM_OF_DESIGNATOR,
    ObservationStatus,
    System,
    asserted_by_ai,
    concept,
    from_dicom,
)
from fhir.errors import PermanentFhirError
from fhir.identifiers import ResultIdentity, dicom_uid, measurement_role
from fhir.report_context import ReportContext
from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.observation import Observation, ObservationComponent
from fhir.resources.R4B.quantity import Quantity
from storage.dicom_records import CodedConcept
from storage.finding_site import LATERALITIES, finding_site, is_anatomy
from storage.records import MeasurementRecord

DECIMALS: Final = Decimal("0.001")
"""Quantities are told to three decimals: 1 mm3 where the unit is mL."""

_FINDING: Final = CodedConcept("121071", "DCM", "Finding")
_LATERALITY: Final = CodedConcept("272741003", "SCT", "Laterality")
_TOPOGRAPHICAL_MODIFIER: Final = CodedConcept("106233006", "SCT", "Topographical modifier")


Qualified = tuple[MeasurementRecord, tuple[MeasurementRecord, ...]]


def qualified(measurements: Iterable[MeasurementRecord]) -> list[Qualified]:
    """Each measurement with those of the same structure that say how sure it is."""
    records = tuple(measurements)
    return [
        (one, tuple(r for r in records if r.is_qualifying and r.tracking_uid == one.tracking_uid))
        for one in records
        if not one.is_qualifying
    ]


def build_observation(
    measurement: MeasurementRecord,
    qualifying: Sequence[MeasurementRecord],
    context: ReportContext,
) -> Observation:
    """The Observation; its second identifier is the Tracking UID that SEG and SR carry.

    What says how sure it is becomes components of it: alone, that means nothing.
    """
    return Observation(
        meta=Meta(security=[asserted_by_ai()]),
        identifier=_identifiers(measurement, context.identity),
        basedOn=[context.based_on] if context.based_on else None,
        status=_status(context),
        category=[concept(System.OBSERVATION_CATEGORY, "imaging", "Imaging")],
        code=from_dicom(measurement.quantity, text=label(measurement)),
        subject=context.subject,
        effectiveDateTime=context.effective,
        issued=context.issued,
        performer=[context.performer],
        valueQuantity=quantity(measurement) if measurement.has_value else None,
        dataAbsentReason=None if measurement.has_value else _no_proper_value(),
        interpretation=_interpretation(measurement),
        note=[Annotation(text=NOT_REVIEWED)],
        bodySite=_body_site(measurement),
        device=context.device,
        derivedFrom=[context.imaging_study] if context.imaging_study else None,
        component=[
            *_finding(measurement),
            *_side_or_part(measurement),
            *map(_component, qualifying),
        ]
        or None,
    )


def _status(context: ReportContext) -> ObservationStatus:
    if context.is_withdrawn:
        return ObservationStatus.ENTERED_IN_ERROR
    return ObservationStatus.PRELIMINARY


def label(measurement: MeasurementRecord) -> str:
    """What a person reads: the structure and the quantity."""
    parts = (clean(measurement.structure), clean(measurement.quantity.meaning))
    return ", ".join(part for part in parts if part) or measurement.quantity.value


def rounded(value: float) -> Decimal:
    """The value to three decimals, without trailing zeros.

    Raises:
        PermanentFhirError: no number, or too large for a FHIR `decimal`.
    """
    try:
        # The sum makes 0 of a negative zero.
        exact = Decimal(str(value)).quantize(DECIMALS) + 0
    except InvalidOperation:
        raise PermanentFhirError("not_representable", "a measured value is no number") from None
    if exact.is_nan():
        raise PermanentFhirError("not_representable", "a measured value is no number")
    return exact.to_integral_value() if exact == exact.to_integral_value() else exact.normalize()


def quantity(measurement: MeasurementRecord) -> Quantity:
    """The value with its UCUM unit; the code only where the unit is UCUM (invariant qty-3)."""
    unit = measurement.unit
    is_ucum = SYSTEM_OF_DESIGNATOR.get(unit.scheme) is System.UCUM
    return Quantity(
        value=rounded(measurement.value),
        unit=unit.value,
        system=System.UCUM if is_ucum else None,
        code=unit.value if is_ucum else None,
    )


def _identifiers(measurement: MeasurementRecord, identity: ResultIdentity) -> list[Identifier]:
    own = identity.identifier(measurement_role(measurement))
    return [own, dicom_uid(measurement.tracking_uid)]


def _body_site(measurement: MeasurementRecord) -> CodeableConcept | None:
    """Where it is, as in the SR; for a person, the name of the structure."""
    if measurement.is_of_class:
        region = measurement.anatomic_region
        return from_dicom(region) if region else None
    if is_anatomy(measurement):
        return from_dicom(measurement.property_type, text=clean(measurement.structure))
    site = finding_site(measurement)
    return from_dicom(site) if site else None


def _component(measurement: MeasurementRecord) -> ObservationComponent:
    code = from_dicom(measurement.quantity)
    return ObservationComponent(code=code, valueQuantity=quantity(measurement))


def _finding(measurement: MeasurementRecord) -> list[ObservationComponent]:
    """What was found, or looked for, where neither code nor bodySite tells it."""
    if is_anatomy(measurement) and not measurement.is_of_class:
        return []
    finding = from_dicom(measurement.property_type)
    return [ObservationComponent(code=from_dicom(_FINDING), valueCodeableConcept=finding)]


def _side_or_part(measurement: MeasurementRecord) -> list[ObservationComponent]:
    """Side or part as a coded component: R4's bodySite has no place for a modifier."""
    modifier = measurement.type_modifier
    if modifier is None or (measurement.is_of_class and modifier.value not in LATERALITIES):
        return []
    name = _LATERALITY if modifier.value in LATERALITIES else _TOPOGRAPHICAL_MODIFIER
    code = from_dicom(name)
    return [ObservationComponent(code=code, valueCodeableConcept=from_dicom(modifier))]


def _interpretation(measurement: MeasurementRecord) -> list[CodeableConcept] | None:
    if not measurement.is_of_class:
        return None if measurement.is_present else [_not_detected()]
    told = ("POS", "Positive") if measurement.is_present else ("NEG", "Negative")
    return [concept(System.V3_INTERPRETATION, *told)]


def _not_detected() -> CodeableConcept:
    return concept(System.V3_INTERPRETATION, "ND", "Not detected")


def _no_proper_value() -> CodeableConcept:
    return concept(System.DATA_ABSENT_REASON, "not-applicable", "Not Applicable")
