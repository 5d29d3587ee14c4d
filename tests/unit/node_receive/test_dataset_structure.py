from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from node.receive.dataset_structure import UNDEFINED_LENGTH, DataSetWalk
from node.receive.deflated_structure import walk_over
from node.receive.dimse_status import StoreFailure, StoreRefused

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"

UNDEFINED_SQ = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
UNDEFINED_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


def _content(transfer_syntax: str, *, undefined_lengths: bool, depth: int = 2) -> bytes:
    """A data set with nested sequences and a last value of 40 bytes."""
    dataset = Dataset()
    dataset.PatientID = "P1"
    inner = Dataset()
    inner.PatientComments = "deep"
    for _ in range(depth):
        item, inner = inner, Dataset()
        item.is_undefined_length_sequence_item = undefined_lengths
        inner.ReferencedStudySequence = Sequence([item])
        inner["ReferencedStudySequence"].is_undefined_length = undefined_lengths
    dataset.update(inner)
    dataset.add_new(0x7FE00010, "OW", bytes(range(40)))
    target = DicomBytesIO()
    target.is_implicit_VR = transfer_syntax == IMPLICIT
    target.is_little_endian = transfer_syntax != BIG_ENDIAN
    write_dataset(target, dataset)
    return target.getvalue()


def _failure(content: bytes, transfer_syntax: str, step: int = 1 << 20) -> StoreFailure | None:
    walk = walk_over(transfer_syntax, frozenset({0x00100020}))
    try:
        for at in range(0, len(content), step):
            walk.take(memoryview(content)[at : at + step])
        walk.finish()
    except StoreRefused as refused:
        return refused.failure
    return None


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("undefined_lengths", [True, False])
def test_a_whole_data_set_is_whole(transfer_syntax: str, undefined_lengths: bool) -> None:
    content = _content(transfer_syntax, undefined_lengths=undefined_lengths)

    assert _failure(content, transfer_syntax) is None


@given(
    transfer_syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN]),
    undefined_lengths=st.booleans(),
    cut=st.integers(min_value=1, max_value=40),
)
def test_a_cut_in_the_last_value_is_always_seen(
    transfer_syntax: str, undefined_lengths: bool, cut: int
) -> None:
    content = _content(transfer_syntax, undefined_lengths=undefined_lengths)

    assert _failure(content[:-cut], transfer_syntax) is StoreFailure.TRUNCATED


@given(cut=st.integers(min_value=1, max_value=10_000))
def test_a_cut_inside_nested_sequences_of_undefined_length_is_always_seen(cut: int) -> None:
    whole = _content(EXPLICIT, undefined_lengths=True, depth=5)
    after_sequence = whole.index(b"\x10\x00\x20\x00LO")
    length = 1 + cut % (after_sequence - 1)

    assert _failure(whole[:length], EXPLICIT) is StoreFailure.TRUNCATED


@given(
    content=st.binary(max_size=300),
    syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]),
    step=st.integers(min_value=1, max_value=40),
)
def test_any_bytes_get_the_same_verdict_however_they_are_cut(
    content: bytes, syntax: str, step: int
) -> None:
    verdict = _failure(content, syntax)

    assert verdict in (None, StoreFailure.TRUNCATED, StoreFailure.UNREADABLE)
    assert _failure(content, syntax, step) is verdict


@given(
    transfer_syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN]),
    undefined_lengths=st.booleans(),
    step=st.integers(min_value=1, max_value=60),
)
def test_wanted_elements_are_kept_however_they_are_cut(
    transfer_syntax: str, undefined_lengths: bool, step: int
) -> None:
    content = memoryview(_content(transfer_syntax, undefined_lengths=undefined_lengths))
    walk = DataSetWalk(transfer_syntax, frozenset({0x00081110, 0x00100020}))
    for at in range(0, len(content), step):
        walk.take(content[at : at + step])
    walk.finish()

    assert walk.is_identified
    assert walk.elements[0x00100020].value == b"P1"
    sequence = walk.elements[0x00081110]
    assert b"deep" in sequence.value
    assert (sequence.length == UNDEFINED_LENGTH) is undefined_lengths
    assert (sequence.length == len(sequence.value)) is not undefined_lengths


def test_an_endless_wanted_sequence_is_followed_but_not_kept() -> None:
    walk = DataSetWalk(EXPLICIT, frozenset({0x00081140}))
    walk.take(memoryview(UNDEFINED_SQ))
    for _ in range(5):
        walk.take(memoryview(b"\xfe\xff\x00\xe0" + (1 << 19).to_bytes(4, "little")))
        walk.take(memoryview(bytes(1 << 19)))
    walk.take(memoryview(b"\xfe\xff\xdd\xe0\0\0\0\0"))
    walk.finish()

    assert walk.elements == {}


def test_encapsulated_frames_are_followed_to_their_delimiter() -> None:
    frames = encapsulate([b"\xff\xd8" + bytes(30), b"\xff\xd8" + bytes(20)])
    element = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    content = element + frames + b"\xfe\xff\xdd\xe0\0\0\0\0"

    assert _failure(content, JPEG) is None
    assert _failure(content[:-1], JPEG) is StoreFailure.TRUNCATED
    assert _failure(content[:-8], JPEG) is StoreFailure.TRUNCATED
    assert _failure(content[:-20], JPEG) is StoreFailure.TRUNCATED


def test_unknown_values_of_undefined_length_hold_implicit_items() -> None:
    unknown = b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff"
    item = UNDEFINED_ITEM + b"\x09\x00\x02\x10\x04\0\0\0abcd" + b"\xfe\xff\x0d\xe0\0\0\0\0"
    content = unknown + item + b"\xfe\xff\xdd\xe0\0\0\0\0"

    assert _failure(content, EXPLICIT) is None
    assert _failure(content[:-9], EXPLICIT) is StoreFailure.TRUNCATED


def test_zeros_after_the_last_element_are_no_harm() -> None:
    content = _content(EXPLICIT, undefined_lengths=False)

    assert _failure(content + b"\0", EXPLICIT) is None
    assert _failure(content + bytes(64), EXPLICIT) is None


def test_what_nests_deeper_than_any_real_object_is_not_followed() -> None:
    content = (UNDEFINED_SQ + UNDEFINED_ITEM) * 5000

    assert _failure(content, EXPLICIT) is StoreFailure.UNREADABLE


def test_a_sequence_of_something_else_than_items_is_unreadable() -> None:
    content = UNDEFINED_SQ + b"\x10\x00\x20\x00LO\x02\x00P1"

    assert _failure(content, EXPLICIT) is StoreFailure.UNREADABLE


def test_a_deflated_stream_must_end() -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = deflate.compress(_content(EXPLICIT, undefined_lengths=True)) + deflate.flush()

    assert _failure(content, DEFLATED) is None
    assert _failure(content + b"\0", DEFLATED) is None
    assert _failure(content[:-3], DEFLATED) is StoreFailure.TRUNCATED
    assert _failure(b"\xff" * 100, DEFLATED) is StoreFailure.UNREADABLE


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT])
def test_an_identity_is_found_wherever_it_lies(transfer_syntax: str) -> None:
    """Long headers are followed in pieces; an element may lie across the end of one."""
    for length in range(8100, 8240, 2):
        dataset = Dataset()
        dataset.add_new(0x00090010, "LT", "x" * length)
        dataset.PatientID = "P1"
        dataset.PatientComments = "y" * 9000
        target = DicomBytesIO()
        target.is_implicit_VR, target.is_little_endian = transfer_syntax == IMPLICIT, True
        write_dataset(target, dataset)
        walk = DataSetWalk(transfer_syntax, frozenset({0x00100020}))
        walk.take(memoryview(target.getvalue()))
        walk.finish()
        assert walk.elements[0x00100020].value == b"P1"
