"""One call of the compiled `take`, with a file and a page of its own, and what is to come of it."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node.receive import likeness
from node.receive.file_meta import file_head
from storage.dicom_records import IncomingInstance
from storage.receipt_text import ReceiptWriter, read_receipts
from tests.peers.raw_dicom import p_data
from tests.unit.node_receive.like_slices import LITTLE, learned, slice_with
from tests.unit.node_receive.scripted_stream import (
    AFTERWARDS,
    CONTEXT_ID,
    MAX_PDU_BYTES,
    STORE,
    Reading,
    Script,
    by_the_long_way,
    in_values,
    read_on,
    reading,
    what_follows,
)
from tests.unit.storage.samples import MR_IMAGE, incoming

if TYPE_CHECKING:
    from node.receive.usual_header import UsualHeader

compiled = pytest.importorskip("node.receive.usual_instance")
"""It is built where there is a compiler."""

UID = b"1.2.3.4.1"
HEAD = file_head(MR_IMAGE.encode(), UID, LITTLE)
ANSWER = b"the answer, whatever it is" * 3
EXPECTED = incoming()

LARGE = slice_with(pixels=bytes(range(250)) * 2000)
SMALL = slice_with()
LARGEST = MAX_PDU_BYTES - 6


@cache
def like_before() -> UsualHeader:
    known = learned().known
    assert known is not None
    header = likeness.comparison(known)
    assert header is not None
    return header


@dataclass
class Taken:
    """What `take` returned, and what it left behind."""

    end: int
    size_bytes: int
    rest: bytes
    sent_bytes: int
    number: int
    received_s: float
    memory: memoryview
    file: bytes
    page: bytes

    @property
    def data_set(self) -> bytes:
        return bytes(self.memory[len(HEAD) : self.size_bytes])

    def receipts(self) -> list[IncomingInstance]:
        return list(read_receipts(self.page))


def take(
    read: Reading,
    *,
    room: int = 1 << 20,
    within_s: float = 2.0,
    most: int | None = None,
    longest: int | None = None,
    before: bytes | None = None,
    file: str = "",
    page: str = "",
    on_page: bytes = b"",
) -> Taken:
    """Take a data set of at most `room` bytes; `file` and `page` may be something else.

    `on_page` is what the page says before.
    """
    memory = memoryview(bytearray(len(HEAD) + room + compiled.SLACK_BYTES))
    expected_before, between = ReceiptWriter().around(
        EXPECTED, EXPECTED.sop_instance_uid, EXPECTED.path
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "page").write_bytes(on_page)
        names = [file or f"{folder}/file", page or f"{folder}/page"]
        descriptors = [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in names]
        try:
            end, size, rest, sent, number, seconds, microseconds = compiled.take(
                read.connection.fileno(),
                read.layer.take_ahead(),
                memory,
                HEAD,
                len(HEAD) + room if most is None else most,
                CONTEXT_ID,
                read.layer.longest_p_data if longest is None else longest,
                within_s,
                like_before(),
                UID,
                *descriptors,
                expected_before if before is None else before,
                between,
                ANSWER,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        written, noted = (
            Path(folder, name).read_bytes() if Path(folder, name).is_file() else b""
            for name in ("file", "page")
        )
    received_s = seconds + microseconds / 1e6
    return Taken(end, size, rest, sent, number, received_s, memory, written, noted)


def wire_of(*pdus: bytes, after: bytes = AFTERWARDS) -> bytes:
    return STORE + b"".join(pdus) + after


def plain(data_set: bytes, *sizes: int) -> bytes:
    return wire_of(*map(p_data, in_values(data_set, list(sizes))))


def assert_as_by_the_long_way(script: Script, **options: object) -> Taken:
    """Take what a script sends; then nothing is other than without the short way."""
    data_set, end = by_the_long_way(script.wire)
    began = time.time()
    with reading(script) as read:
        taken = take(read, **options)  # type: ignore[arg-type]
        if taken.end == compiled.STORED:
            read.messages.is_in_message = False
            read.layer.put_back(taken.rest)
            assert (taken.data_set, what_follows(read.messages)) == (data_set, end)
        elif taken.end == compiled.VANISHED:
            assert (data_set, end) == (None, ("PeerVanished", None))
        else:
            read.messages.go_back(taken.rest, taken.size_bytes - len(HEAD))
            buffer = memoryview(bytearray(1 << 21))
            buffer[: taken.size_bytes] = taken.memory[: taken.size_bytes]
            assert read_on(read.messages, buffer[len(HEAD) :]) == (data_set, end)
    assert bytes(taken.memory[: len(HEAD)]) == HEAD
    if taken.end != compiled.STORED:
        assert (bytes(read.answers), taken.sent_bytes) == (b"", 0)
        assert not taken.receipts()
        return taken
    assert bytes(read.answers) == ANSWER[: taken.sent_bytes] == ANSWER
    assert taken.file == HEAD + (data_set or b"")
    (receipt,) = taken.receipts()
    assert receipt == EXPECTED._replace(
        instance_number=taken.number,
        size_bytes=len(taken.file),
        dataset_digest="",
        received_at=receipt.received_at,
    )
    assert receipt.received_at.timestamp() == pytest.approx(taken.received_s, abs=1e-6)
    assert began - 1 <= taken.received_s <= time.time() + 1
    return taken
