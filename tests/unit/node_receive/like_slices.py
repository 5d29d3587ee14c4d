"""Slices that are like each other, or not quite, and what is said of them with a memory."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.receive.arriving_instance import ArrivingInstance
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import LONG_VRS
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import InstanceHeader

LITTLE, BIG = str(ExplicitVRLittleEndian), str(ExplicitVRBigEndian)
IMPLICIT, DEFLATED = str(ImplicitVRLittleEndian), str(DeflatedExplicitVRLittleEndian)
SOP_CLASS, SOP_INSTANCE, NUMBER = 0x00080016, 0x00080018, 0x00200013
IMAGE_TYPE, CONTENT_TIME, COMMENTS = 0x00080008, 0x00080033, 0x00104000
POSITION, IMAGE_COMMENTS, PIXELS = 0x00200032, 0x00204000, 0x7FE00010
PATIENT_NAME, SERIES = 0x00100010, 0x0020000E


@dataclass(frozen=True, slots=True)
class Field:
    """One element as a sender writes it."""

    tag: int
    vr: bytes
    value: bytes

    def encoded(self, syntax: str, length: int | None = None) -> bytes:
        order = ">" if syntax == BIG else "<"
        size = len(self.value) if length is None else length
        begin = struct.pack(f"{order}HH", self.tag >> 16, self.tag & 0xFFFF)
        if syntax == IMPLICIT:
            return begin + struct.pack("<I", size) + self.value
        if self.vr in LONG_VRS:
            return begin + self.vr + struct.pack(f"{order}HI", 0, size) + self.value
        return begin + self.vr + struct.pack(f"{order}H", size & 0xFFFF) + self.value


SLICE = (
    Field(0x00080005, b"CS", b"ISO_IR 100"),
    Field(IMAGE_TYPE, b"CS", b"ORIGINAL\\PRIMARY"),
    Field(SOP_CLASS, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
    Field(SOP_INSTANCE, b"UI", b"1.2.3.4.1\0"),
    Field(0x00080020, b"DA", b"20260314"),
    Field(CONTENT_TIME, b"TM", b"101500"),
    Field(0x00080060, b"CS", b"MR"),
    Field(0x00081032, b"SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00"),
    Field(PATIENT_NAME, b"PN", b"D\xf6e^Jane"),
    Field(0x00100020, b"LO", b"P1"),
    Field(COMMENTS, b"UT", b"some"),
    Field(0x00180050, b"DS", b"1 "),
    Field(0x0020000D, b"UI", b"1.2.3\0"),
    Field(SERIES, b"UI", b"1.2.3.4\0"),
    Field(0x00200011, b"IS", b"4 "),
    Field(NUMBER, b"IS", b"1 "),
    Field(POSITION, b"DS", b"1\\2\\3 "),
    Field(IMAGE_COMMENTS, b"UT", b"more"),
    Field(0x00280010, b"US", b"\2\0"),
    Field(PIXELS, b"OW", bytes(range(250))),
)
VALUES = [b"", b"1 ", b"2 ", b"10", b"100 ", b"MR", b"CT", b"1.2.3.4\0", b"1.2.3.5\0", b"1.2.x\0"]
TAGS = [field.tag for field in SLICE] + [0x00020010, 0x00080000, 0x00090010, 0x00200052, 0x00400001]
VRS = [b"UI", b"IS", b"LO", b"UT", b"SQ", b"UN", b"ZZ", b"\0\0"]

Outcome = tuple[InstanceHeader, str] | StoreFailure


def slice_with(**values: bytes) -> bytes:
    """The slice in Explicit VR Little Endian, with other values by the names of their tags."""
    changed = {globals()[name.upper()]: value for name, value in values.items()}
    fields = [replace(each, value=changed.get(each.tag, each.value)) for each in SLICE]
    return content_of(fields, LITTLE)


def content_of(fields: list[Field], syntax: str) -> bytes:
    content = b"".join(field.encoded(syntax) for field in fields)
    if syntax != DEFLATED:
        return content
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def outcome(
    content: bytes, syntax: str, memory: HeaderMemory | None, cuts: list[int] | None = None
) -> Outcome:
    """What is said of an instance that comes in fragments, with a memory or without."""
    arriving = ArrivingInstance(syntax, memory)
    ends = sorted(cut % (len(content) + 1) for cut in cuts or [])
    try:
        for begin, end in zip([0, *ends], [*ends, len(content)], strict=True):
            arriving.take(memoryview(bytearray(content[begin:end])))
        return arriving.finish(), arriving.dataset_digest()
    except StoreRefused as refused:
        return refused.failure


def learned(*contents: bytes) -> HeaderMemory:
    """A memory of these slices."""
    memory = HeaderMemory()
    for content in contents or [slice_with()] * 2:
        outcome(content, LITTLE, memory)
    return memory


def is_recalled(memory: HeaderMemory, content: bytes, syntax: str = LITTLE) -> bool:
    return memory.recall(memoryview(content), syntax) is not None


@st.composite
def mutated(draw: st.DrawFn) -> list[Field]:
    """A slice that differs from the base in anything, or in nothing but what slices differ in."""
    fields = list(SLICE)
    index = [field.tag for field in fields].index
    fields[index(SOP_INSTANCE)] = Field(
        SOP_INSTANCE, b"UI", draw(st.sampled_from([b"1.2.3.4.2\0", b"1.2.3.4.10", b"1.2.y\0"]))
    )
    fields[index(NUMBER)] = Field(
        NUMBER, b"IS", draw(st.sampled_from([b"2 ", b"10", b"100 ", b"x "]))
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(fields) - 1))
        match draw(st.sampled_from(["value", "value", "vr", "drop", "insert", "twice", "move"])):
            case "value":
                fields[at] = replace(fields[at], value=draw(st.sampled_from(VALUES)))
            case "vr":
                fields[at] = replace(fields[at], vr=draw(st.sampled_from(VRS)))
            case "drop" if len(fields) > 1:
                del fields[at]
            case "insert":
                tag, vr = draw(st.sampled_from(TAGS)), draw(st.sampled_from(VRS))
                fields.insert(at, Field(tag, vr, draw(st.sampled_from(VALUES))))
            case "twice":
                fields.insert(draw(st.integers(0, len(fields))), fields[at])
            case _:
                fields.insert(draw(st.integers(0, len(fields) - 1)), fields.pop(at))
    return fields


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[bytes, str, list[int]]:
    """The bytes of a data set, mostly whole, its transfer syntax, and where it is cut."""
    syntax = draw(st.sampled_from([LITTLE] * 6 + [BIG, BIG, IMPLICIT, DEFLATED]))
    content = content_of(draw(mutated()), syntax)
    match draw(st.sampled_from(["whole"] * 7 + ["cut", "bytes", "noise"])):
        case "cut":
            content = content[: draw(st.integers(0, len(content)))]
        case "bytes" if content:
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :]
        case "noise":
            content = draw(st.binary(max_size=80))
        case _:
            pass
    cuts = draw(st.just([]) | st.lists(st.integers(0, 700), max_size=4))
    return content, syntax, cuts


def outcome_of_whole(content: bytes, memory: HeaderMemory) -> tuple[InstanceHeader, str]:
    taken = outcome(content, LITTLE, memory)
    assert isinstance(taken, tuple)
    return taken


def assert_taken_as_without(memory: HeaderMemory, contents: list[bytes], syntax: str) -> None:
    """Take instances with a memory; what is said of each is what is said without one."""
    for content in contents:
        assert outcome(content, syntax, memory) == outcome(content, syntax, None)
