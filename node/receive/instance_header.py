"""Identity of a received instance: who, which study, which series, which object.

Only elements up to Instance Number (0020,0013) are read, and each is decoded on its own: one
odd value must not cost an instance. What is not text in its character set becomes replacement
characters; control characters go, because databases and logs stumble over them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.filereader import read_sequence
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from node.receive.dataset_structure import RawElement
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from node.receive.parse_errors import PARSE_ERRORS
from storage.dicom_records import CodedConcept, PatientIdentity, SeriesHeader, StudyHeader
from storage.errors import InvalidUid
from storage.instance_files import validated_uid

_SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_STUDY_DATE = 0x00080020
_STUDY_TIME = 0x00080030
_ACCESSION_NUMBER = 0x00080050
_ISSUER_OF_ACCESSION_NUMBER_SEQUENCE = 0x00080051
_MODALITY = 0x00080060
_MANUFACTURER = 0x00080070
_CODE_VALUE = 0x00080100
_CODING_SCHEME_DESIGNATOR = 0x00080102
_CODE_MEANING = 0x00080104
_TIMEZONE_OFFSET_FROM_UTC = 0x00080201
_STUDY_DESCRIPTION = 0x00081030
_PROCEDURE_CODE_SEQUENCE = 0x00081032
_SERIES_DESCRIPTION = 0x0008103E
_PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_ISSUER_OF_PATIENT_ID = 0x00100021
_PATIENT_BIRTH_DATE = 0x00100030
_PATIENT_SEX = 0x00100040
_BODY_PART_EXAMINED = 0x00180015
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_STUDY_ID = 0x00200010
_SERIES_NUMBER = 0x00200011
_INSTANCE_NUMBER = 0x00200013
_LOCAL_NAMESPACE_ENTITY_ID = 0x00400031
_UNIVERSAL_ENTITY_ID = 0x00400032

IDENTITY_TAGS = frozenset(
    value for name, value in globals().items() if name.startswith("_") and isinstance(value, int)
) - {
    _CODE_VALUE,
    _CODING_SCHEME_DESIGNATOR,
    _CODE_MEANING,
    _LOCAL_NAMESPACE_ENTITY_ID,
    _UNIVERSAL_ENTITY_ID,
}
"""The elements of the top level that `header_of` reads."""
SOP_INSTANCE_UID = _SOP_INSTANCE_UID
STUDY_INSTANCE_UID = _STUDY_INSTANCE_UID
INSTANCE_NUMBER = _INSTANCE_NUMBER

_OF_ONE_INSTANCE = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID, _INSTANCE_NUMBER})
_OF_STUDY_AND_SERIES = tuple(sorted(IDENTITY_TAGS - _OF_ONE_INSTANCE))
_LONGEST_TEXT = 1024
_REMEMBERED_SERIES = 128
_CONTROL = frozenset({"Cc", "Cs"})


class InstanceHeader(NamedTuple):
    """What the database keeps of an instance; UIDs are checked, all else is as it came."""

    study: StudyHeader
    series: SeriesHeader
    sop_class_uid: str
    sop_instance_uid: str
    instance_number: int | None
    manufacturer: str

    @property
    def uids(self) -> tuple[str, str, str]:
        """Study, Series and SOP Instance UID."""
        study_uid, series_uid = self.study.study_instance_uid, self.series.series_instance_uid
        return study_uid, series_uid, self.sop_instance_uid


def header_of(elements: Mapping[int, RawElement], transfer_syntax_uid: str) -> InstanceHeader:
    """Return the identity that the elements with `IDENTITY_TAGS` tell.

    Raises:
        StoreRefused: not a data set in that transfer syntax, or a UID is missing or invalid.
    """
    try:
        # Slice after slice, all but three elements are the same bytes.
        shared = tuple(map(elements.get, _OF_STUDY_AND_SERIES))
        study, series, manufacturer = _study_and_series(shared, transfer_syntax_uid)
        return InstanceHeader(
            study=study,
            series=series,
            sop_class_uid=required_uid(_value(elements, _SOP_CLASS_UID)),
            sop_instance_uid=required_uid(_value(elements, _SOP_INSTANCE_UID)),
            instance_number=integer(_value(elements, _INSTANCE_NUMBER)),
            manufacturer=manufacturer,
        )
    except PARSE_ERRORS as error:
        raise StoreRefused(StoreFailure.UNREADABLE) from error


def required_uid(value: bytes) -> str:
    """Return a UI value as text.

    Raises:
        StoreRefused: it is empty, or no UID (PS3.5 9.1).
    """
    uid = value.rstrip(b"\0 ").decode("ascii", "replace")
    if not uid:
        raise StoreRefused(StoreFailure.MISSING_UID)
    try:
        return validated_uid(uid)
    except InvalidUid as error:
        raise StoreRefused(StoreFailure.INVALID_UID) from error


def integer(value: bytes) -> int | None:
    """Return an IS value, or None for what is none or fits no 32 bits (PS3.5 6.2)."""
    try:
        number = int(value)
    except ValueError:
        return None
    return number if -(2**31) <= number < 2**31 else None


def _value(elements: Mapping[int, RawElement], tag: int) -> bytes:
    raw = elements.get(tag)
    return raw.value if raw is not None else b""


@lru_cache(maxsize=_REMEMBERED_SERIES)
def _study_and_series(
    shared: tuple[RawElement | None, ...], transfer_syntax_uid: str
) -> tuple[StudyHeader, SeriesHeader, str]:
    present = zip(_OF_STUDY_AND_SERIES, shared, strict=True)
    elements = _Elements({tag: raw for tag, raw in present if raw is not None}, transfer_syntax_uid)
    return _study_header(elements), _series_header(elements), elements.text(_MANUFACTURER)


def _study_header(elements: _Elements) -> StudyHeader:
    patient = PatientIdentity(
        patient_id=elements.text(_PATIENT_ID),
        issuer_of_patient_id=elements.text(_ISSUER_OF_PATIENT_ID),
        patient_name=elements.person_name(_PATIENT_NAME),
        birth_date=elements.text(_PATIENT_BIRTH_DATE),
        sex=elements.text(_PATIENT_SEX),
    )
    return StudyHeader(
        study_instance_uid=elements.required_uid(_STUDY_INSTANCE_UID),
        patient=patient,
        study_date=elements.text(_STUDY_DATE),
        study_time=elements.text(_STUDY_TIME),
        timezone_offset=elements.text(_TIMEZONE_OFFSET_FROM_UTC),
        study_id=elements.text(_STUDY_ID),
        accession_number=elements.text(_ACCESSION_NUMBER),
        issuer_of_accession_number=_issuer_of_accession_number(elements),
        study_description=elements.text(_STUDY_DESCRIPTION),
        procedure_code=_procedure_code(elements),
    )


def _series_header(elements: _Elements) -> SeriesHeader:
    return SeriesHeader(
        series_instance_uid=elements.required_uid(_SERIES_INSTANCE_UID),
        modality=elements.text(_MODALITY),
        series_number=elements.integer(_SERIES_NUMBER),
        series_description=elements.text(_SERIES_DESCRIPTION),
        body_part_examined=elements.text(_BODY_PART_EXAMINED),
    )


def _issuer_of_accession_number(elements: _Elements) -> str:
    item = elements.first_item(_ISSUER_OF_ACCESSION_NUMBER_SEQUENCE)
    if item is None:
        return ""
    return item.text(_LOCAL_NAMESPACE_ENTITY_ID) or item.text(_UNIVERSAL_ENTITY_ID)


def _procedure_code(elements: _Elements) -> CodedConcept | None:
    item = elements.first_item(_PROCEDURE_CODE_SEQUENCE)
    if item is None or not item.text(_CODE_VALUE):
        return None
    return CodedConcept(
        value=item.text(_CODE_VALUE),
        scheme=item.text(_CODING_SCHEME_DESIGNATOR),
        meaning=item.text(_CODE_MEANING),
    )


class _Elements:
    """Raw elements of one data set or item, decoded one at a time."""

    def __init__(
        self,
        raw: Mapping[int, RawElement],
        transfer_syntax_uid: str,
        encodings: list[str] | None = None,
    ) -> None:
        self._raw_elements = raw
        self._transfer_syntax_uid = transfer_syntax_uid
        own = self._raw(_SPECIFIC_CHARACTER_SET)
        if encodings is None or own:
            encodings = _encodings(own)
        self._encodings = encodings

    def text(self, tag: int) -> str:
        return _clean(decode_bytes(self._raw(tag), self._encodings, TEXT_VR_DELIMS))

    def person_name(self, tag: int) -> str:
        return _clean(decode_bytes(self._raw(tag), self._encodings, PN_DELIMS))

    def integer(self, tag: int) -> int | None:
        return integer(self._raw(tag))

    def required_uid(self, tag: int) -> str:
        return required_uid(self._raw(tag))

    def first_item(self, tag: int) -> _Elements | None:
        """Return the first item of a sequence; an unreadable sequence counts as absent."""
        raw = self._raw_elements.get(tag)
        if raw is None:
            return None
        try:
            return self._first_item(raw)
        except (*PARSE_ERRORS, OSError):  # the latter, too, is what pydicom says of short bytes
            return None

    def _first_item(self, raw: RawElement) -> _Elements | None:
        syntax = self._transfer_syntax_uid
        is_implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN or raw.vr not in (b"SQ", b"")
        items = read_sequence(
            BytesIO(raw.value),
            is_implicit,
            syntax != EXPLICIT_VR_BIG_ENDIAN,
            raw.length,
            self._encodings,
        )
        if not items:
            return None
        found = {int(tag): items[0].get_item(tag) for tag in items[0].keys()}  # noqa: SIM118
        values = {
            tag: RawElement(b"", len(element.value), element.value)
            for tag, element in found.items()
            if isinstance(element.value, bytes)
        }
        return _Elements(values, syntax, self._encodings)

    def _raw(self, tag: int) -> bytes:
        return _value(self._raw_elements, tag)


def _encodings(specific_character_set: bytes) -> list[str]:
    terms = [term.strip() for term in specific_character_set.decode("ascii", "replace").split("\\")]
    return convert_encodings(terms)


def _clean(text: str) -> str:
    kept = "".join(c for c in text if unicodedata.category(c) not in _CONTROL)
    return kept.strip()[:_LONGEST_TEXT]
