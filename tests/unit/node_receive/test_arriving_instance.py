from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from xxhash import xxh3_128

from node.receive import arriving_instance
from node.receive.arriving_instance import ArrivingInstance
from node.receive.dataset_structure import RawElement
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.file_meta import file_head
from node.receive.instance_header import InstanceHeader, header_of
from tests.integration.node_receive.mr_study import SERIES, mr_instance
from tests.integration.node_receive.sender import encoded

DATA_SET = encoded(mr_instance(1))
HEAD = file_head(MRImageStorage.encode(), f"{SERIES}.1".encode(), ExplicitVRLittleEndian)


@given(step=st.integers(min_value=1, max_value=5000), digested=st.sets(st.integers(0, 20)))
def test_the_digest_is_of_all_that_came_whenever_it_is_taken(step: int, digested: set[int]) -> None:
    arriving = ArrivingInstance(ExplicitVRLittleEndian)
    for number, at in enumerate(range(0, len(DATA_SET), step)):
        memory = bytearray(DATA_SET[at : at + step])
        arriving.take(memoryview(memory))
        if number in digested:
            arriving.digest()
            memory[:] = bytes(len(memory))

    assert arriving.finish().sop_instance_uid == f"{SERIES}.1"
    assert arriving.dataset_digest() == f"xxh3:{xxh3_128(DATA_SET).hexdigest()}"


@given(
    sop_class=st.sampled_from([b"1.2.840.10008.5.1.4.1.1.4", b"1.2.3"]),
    sop_instance=st.from_regex(rb"[0-9]{1,4}(\.[1-9][0-9]{0,5}){1,6}", fullmatch=True),
)
def test_the_head_is_what_pydicom_reads_as_a_part_10_file(
    sop_class: bytes, sop_instance: bytes
) -> None:
    head = file_head(sop_class, sop_instance, ExplicitVRLittleEndian)

    meta = dcmread(BytesIO(head + DATA_SET)).file_meta

    assert meta.MediaStorageSOPClassUID == sop_class.decode()
    assert meta.MediaStorageSOPInstanceUID == sop_instance.decode()
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(head) - 144


def test_a_data_set_that_is_cut_has_no_identity() -> None:
    arriving = ArrivingInstance(ExplicitVRLittleEndian)
    arriving.take(memoryview(DATA_SET)[:-7])

    with pytest.raises(StoreRefused) as caught:
        arriving.finish()

    assert caught.value.failure is StoreFailure.TRUNCATED


def test_a_header_that_says_too_little_is_read_twice_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nameless = mr_instance(1)
    del nameless.SeriesInstanceUID
    content, read = encoded(nameless), []

    def counted(elements: Mapping[int, RawElement], syntax: str) -> InstanceHeader:
        read.append(len(elements))
        return header_of(elements, syntax)

    monkeypatch.setattr(arriving_instance, "header_of", counted)
    arriving = ArrivingInstance(ExplicitVRLittleEndian)
    for at in range(0, len(content), 100):
        arriving.take(memoryview(content)[at : at + 100])
    with pytest.raises(StoreRefused) as caught:
        arriving.finish()

    assert caught.value.failure is StoreFailure.MISSING_UID
    assert len(read) == 2
