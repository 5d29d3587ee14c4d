"""One call of the compiled `take`, with a file and a page of its own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node.receive import short_way
from node.receive.file_meta import file_head
from storage.dicom_records import IncomingInstance
from storage.receipt_text import ReceiptWriter, read_receipts
from tests.unit.node_receive.like_slices import LITTLE, learned
from tests.unit.node_receive.scripted_stream import CONTEXT_ID, Reading
from tests.unit.storage.samples import MR_IMAGE, incoming

if TYPE_CHECKING:
    from node.receive.usual_instance import UsualHeader

compiled = pytest.importorskip("node.receive.usual_instance")
"""It is built where there is a compiler."""

UID = b"1.2.3.4.1"
HEAD = file_head(MR_IMAGE.encode(), UID, LITTLE)
ANSWER = b"the answer, whatever it is" * 3
EXPECTED = incoming()


@cache
def like_before() -> UsualHeader:
    known = learned().known
    assert known is not None
    header = short_way._comparison(known)
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
) -> Taken:
    """Take a data set of at most `room` bytes; `file` and `page` may be something else."""
    memory = memoryview(bytearray(len(HEAD) + room + compiled.SLACK_BYTES))
    expected_before, between = ReceiptWriter().around(EXPECTED)
    with tempfile.TemporaryDirectory() as folder:
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
