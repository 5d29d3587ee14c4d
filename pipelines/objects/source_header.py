"""What results take over from source headers: patient and study verbatim, geometry for highdicom.

highdicom 0.28 stops at ordinary headers (an absent AccessionNumber, PatientSex 'U', 'ISO_IR 6', no
SliceThickness, time '25') and prints names in warnings. It is therefore given copies that hold
geometry and references but no patient; `patient_and_study` is put into the finished object.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName, format_number_as_ds, validate_value

from pipelines.errors import RefusalCode, Refused
from pipelines.objects.source_series import SourcePlane, SourceSeries

TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Patient and General Study attributes that must be there, empty when unknown."""

OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
)
"""Patient, General Study, Patient Study and Clinical Trial attributes taken over when present."""

_FREE_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_INVALID = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
_SEXES = frozenset({"M", "F", "O"})
_REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_LOSSY = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


def patient_and_study(header: Dataset) -> Dataset:
    """Give patient and study attributes, decoded from any Specific Character Set, else verbatim.

    Text is never shortened. A value that its VR forbids (a date '25') is left out, or empty where
    it is Type 2; a PatientSex other than M, F, O becomes empty, the Type 2 word for unknown.
    """
    taken = Dataset()
    for keyword in (*TYPE_2, *OPTIONAL):
        element = taken_over(header, keyword)
        if element is not None:
            taken.add(element)
        elif keyword in TYPE_2:
            setattr(taken, keyword, "")
    sex = _text(header, "PatientSex").strip().upper()
    taken.PatientSex = sex if sex in _SEXES else ""
    return taken


def taken_over(header: Dataset, keyword: str) -> DataElement | None:
    """Give a decoded copy of one element, or None when it is absent or its value is invalid."""
    if keyword not in header:
        return None
    with _silent_pydicom():
        try:
            return _decoded(header[keyword])
        except _INVALID:
            return None


@contextmanager
def _silent_pydicom() -> Iterator[None]:
    """Keep pydicom from quoting a value, possibly a name, in warnings and logs about it."""
    with warnings.catch_warnings(), pydicom_config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _text(header: Dataset, keyword: str) -> str:
    with _silent_pydicom():
        try:
            return str(header.get(keyword) or "")
        except _INVALID:
            return ""


def sanitised(source: SourceSeries, spacing_between_slices_mm: float) -> list[Dataset]:
    """Give headers that highdicom accepts: references and geometry, no patient, nothing private.

    All take the first image's orientation and thickness: highdicom compares exactly, and images
    of one series differ in the last digit. An enhanced image comes back with just the frames of
    the label map, in its order. A projection keeps its references alone. Raises `Refused`
    (no_geometry) for slices without a frame of reference.
    """
    if source.is_projection:
        return [bare_reference(source.first)]
    planes = source.planes()
    if not source.first.get("FrameOfReferenceUID"):
        raise Refused(RefusalCode.NO_GEOMETRY, "the series states no frame of reference")
    measures = _pixel_measures(source, planes[0], spacing_between_slices_mm)
    if source.is_multiframe:
        return [_enhanced(source.first, planes, measures)]
    return [
        _classic(header, plane, planes[0], measures)
        for header, plane in zip(source.headers, planes, strict=True)
    ]


def _classic(header: Dataset, plane: SourcePlane, first: SourcePlane, measures: Dataset) -> Dataset:
    copy = bare_reference(header)
    copy.update(measures)
    copy.ImagePositionPatient = _decimal_strings(plane.position)
    copy.ImageOrientationPatient = _orientation(first)
    return copy


def _enhanced(header: Dataset, planes: Sequence[SourcePlane], measures: Dataset) -> Dataset:
    copy = bare_reference(header)
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [_item("ImageOrientationPatient", _orientation(planes[0]))]
    copy.NumberOfFrames = len(planes)
    copy.SharedFunctionalGroupsSequence = [shared]
    copy.PerFrameFunctionalGroupsSequence = [
        _item(
            "PlanePositionSequence",
            [_item("ImagePositionPatient", _decimal_strings(plane.position))],
        )
        for plane in planes
    ]
    return copy


def bare_reference(header: Dataset) -> Dataset:
    """Give what the library asks of an image that is referred to, and no patient."""
    copy = Dataset()
    for keyword in _REFERENCES:
        setattr(copy, keyword, str(header.get(keyword, "")))
    for keyword in TYPE_2:
        setattr(copy, keyword, "")
    for keyword in _LOSSY:
        element = taken_over(header, keyword)
        if element is not None:
            copy.add(element)
    copy.FrameOfReferenceUID = str(header.get("FrameOfReferenceUID", ""))
    copy.PositionReferenceIndicator = str(header.get("PositionReferenceIndicator") or "")
    copy.Rows, copy.Columns = int(header.Rows), int(header.Columns)
    copy.SpecificCharacterSet = "ISO_IR 192"
    return copy


def _pixel_measures(source: SourceSeries, plane: SourcePlane, spacing_mm: float) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = _decimal_strings(plane.spacing_mm)
    measures.SliceThickness = format_number_as_ds(_slice_thickness_mm(source, spacing_mm))
    measures.SpacingBetweenSlices = format_number_as_ds(float(spacing_mm))
    return measures


def _slice_thickness_mm(source: SourceSeries, spacing_mm: float) -> float:
    """Take the stated Slice Thickness (1C in SEG), else the spacing between slices."""
    holder = source.first
    if source.is_multiframe:
        shared = holder.get("SharedFunctionalGroupsSequence") or [Dataset()]
        frames = holder.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
        group = shared[0] if "PixelMeasuresSequence" in shared[0] else frames[0]
        holder = (group.get("PixelMeasuresSequence") or [Dataset()])[0]
    element = taken_over(holder, "SliceThickness")
    stated = float(element.value) if element is not None and not element.is_empty else 0.0
    return stated if stated > 0 else float(spacing_mm)


def _orientation(plane: SourcePlane) -> list[str]:
    return _decimal_strings([*plane.row_direction, *plane.column_direction])


def _decimal_strings(values: Any) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]


def _item(keyword: str, value: Any) -> Dataset:
    item = Dataset()
    setattr(item, keyword, value)
    return item


def _decoded(element: DataElement) -> DataElement:
    value = element.value
    if element.VR == "SQ":
        return DataElement(element.tag, "SQ", [_decoded_item(item) for item in value])
    if element.VR == "PN":
        # A new name forgets the bytes and character sets it came in.
        names = [PersonName(str(name)) for name in _values(value)]
        return DataElement(element.tag, "PN", names[0] if len(names) == 1 else names or "")
    if element.VR not in _FREE_TEXT:
        for single in _values(value):
            validate_value(element.VR, str(single), pydicom_config.RAISE)
    return DataElement(element.tag, element.VR, value)


def _decoded_item(item: Dataset) -> Dataset:
    copy = Dataset()
    for tag in item:
        # The item's own character set ends here: the result is UTF-8 throughout.
        if not tag.tag.is_private and tag.keyword != "SpecificCharacterSet":
            copy.add(_decoded(tag))
    return copy


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float | PersonName) else list(value)
