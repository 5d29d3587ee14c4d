from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from node.receive.deflated_structure import walk_over
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.instance_header import IDENTITY_TAGS, InstanceHeader, header_of
from storage.dicom_records import CodedConcept

EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def _dataset() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID = "1.2.3.4.1"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    return dataset


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    group, element = tag >> 16, tag & 0xFFFF
    value += b" " * (len(value) % 2)
    head = group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr
    return head + len(value).to_bytes(2, "little") + value


UIDS = (
    _element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0")
    + _element(0x00080018, b"UI", b"1.2.3.4.1\0")
    + _element(0x0020000D, b"UI", b"1.2.3\0")
    + _element(0x0020000E, b"UI", b"1.2.3.4\0")
)


def _encoded(dataset: Dataset) -> bytes:
    target = DicomBytesIO()
    target.is_implicit_VR, target.is_little_endian = False, True
    write_dataset(target, dataset)
    return target.getvalue()


def _read(content: bytes, transfer_syntax: str = EXPLICIT) -> InstanceHeader:
    walk = walk_over(transfer_syntax, IDENTITY_TAGS)
    walk.take(memoryview(content))
    return header_of(walk.elements, transfer_syntax)


def _with(*elements: bytes) -> InstanceHeader:
    """Read a header with elements in tag order; UIDs of group 0020 come last."""
    split = UIDS.index(b"\x20\x00\x0d\x00")
    return _read(UIDS[:split] + b"".join(elements) + UIDS[split:])


def test_identity_is_read_as_it_came() -> None:
    dataset = _dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    dataset.PatientID = "  P 1 "
    dataset.IssuerOfPatientID = "HOSP"
    dataset.AccessionNumber = "A1"
    dataset.StudyTime = "101112.5"
    dataset.TimezoneOffsetFromUTC = "+0100"
    dataset.SeriesNumber = 7
    dataset.InstanceNumber = "-3"
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "RIS"
    dataset.IssuerOfAccessionNumberSequence = Sequence([issuer])
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "24558-9", "LN", "MR Kopf ä"
    dataset.ProcedureCodeSequence = Sequence([code])

    header = _read(_encoded(dataset))

    assert header.study.patient.patient_name == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert header.study.patient.patient_id == "P 1"
    assert header.study.patient.issuer_of_patient_id == "HOSP"
    assert header.study.issuer_of_accession_number == "RIS"
    assert header.study.procedure_code == CodedConcept("24558-9", "LN", "MR Kopf ä")
    assert header.study.study_time == "101112.5"
    assert header.study.timezone_offset == "+0100"
    assert header.series.series_number == 7
    assert header.instance_number == -3


@pytest.mark.parametrize(
    ("character_set", "raw", "text"),
    [
        (b"ISO_IR 100", "Müller^Änne".encode("latin-1"), "Müller^Änne"),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"ISO_IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (b"\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
        (b"NO SUCH SET", b"Plain^Name", "Plain^Name"),
        (b"", b"M\xfcller", "Müller"),
        (b"ISO_IR 192", b"M\xfcller", "M\ufffdller"),
    ],
)
def test_names_are_decoded_in_their_character_set(
    character_set: bytes, raw: bytes, text: str
) -> None:
    content = (
        _element(0x00080005, b"CS", character_set)
        + UIDS[: UIDS.index(b"\x20\x00\x0d\x00")]
        + _element(0x00100010, b"PN", raw)
        + UIDS[UIDS.index(b"\x20\x00\x0d\x00") :]
    )

    assert _read(content).study.patient.patient_name == text


def test_odd_values_cost_nothing_but_themselves() -> None:
    header = _with(
        _element(0x00080020, b"DA", b"yesterday"),
        b"\x08\x00\x32\x10SQ\0\0\x0c\0\0\0no sequence!",
        _element(0x00100020, b"LO", b"P\x001\r\n"),
    )

    assert header.study.study_date == "yesterday"
    assert header.study.patient.patient_id == "P1"
    assert header.study.procedure_code is None


@pytest.mark.parametrize("number", [b"3.5", b"", b"one", b"99999999999999"])
def test_a_series_number_that_is_none_is_absent(number: bytes) -> None:
    content = UIDS + _element(0x00200011, b"IS", number)

    assert _read(content).series.series_number is None


def test_pixels_and_what_follows_are_never_read() -> None:
    endless = b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\x7f"

    assert _read(UIDS + endless).sop_instance_uid == "1.2.3.4.1"


def test_an_identity_element_of_two_gigabytes_is_not_read() -> None:
    with pytest.raises(StoreRefused) as caught:
        _with(b"\x10\x00\x20\x00UT\0\0\xfe\xff\xff\x7f")

    assert caught.value.failure is StoreFailure.UNREADABLE


def test_a_small_file_that_inflates_to_much_fills_no_memory() -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = deflate.compress(UIDS + b"\xe0\x7f\x10\x00OW\0\0\0\0\0\x20")
    content += deflate.compress(bytes(200 << 20)) + deflate.flush()
    tracemalloc.start()

    header = _read(content, DEFLATED)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.study.study_instance_uid == "1.2.3"
    assert peak < 100 << 20


@pytest.mark.parametrize("uid", ["1.2.x", "1..2", "1.2/3", "../1", "1" * 65, "1.2.3\n"])
def test_only_uids_are_uids(uid: str) -> None:
    dataset = _dataset()
    dataset["SeriesInstanceUID"]._value = uid

    with pytest.raises(StoreRefused) as caught:
        _read(_encoded(dataset))

    assert caught.value.failure is StoreFailure.INVALID_UID


@given(st.binary(max_size=400))
def test_any_bytes_give_a_header_or_an_honest_refusal(content: bytes) -> None:
    statuses = set()
    try:
        _read(UIDS[:34] + content)
    except StoreRefused as refused:
        statuses.add(refused.failure.status)

    assert statuses <= {0xC000}
