"""Series whose slices come mixed: what they are like, and what a peer sends of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from node.receive import likeness
from node.receive.command_set import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    around,
    read_command,
    response,
)
from node.receive.dimse_status import SUCCESS
from node.receive.file_meta import head_pieces
from storage.receipt_text import ReceiptWriter
from tests.peers.raw_dicom import COMMAND, LAST, p_data, pdv, store_command
from tests.unit.node_receive.like_slices import LITTLE, learned, slice_with
from tests.unit.node_receive.scripted_stream import CONTEXT_ID, in_values
from tests.unit.storage.samples import MR_IMAGE, incoming

if TYPE_CHECKING:
    from node.receive.usual_header import UsualHeader

usual_texts = pytest.importorskip("node.receive.usual_texts")
"""It is built where there is a compiler."""

SERIES_UIDS = ("1.2.3.4", "1.2.3.5", "1.2.3.44.5")
KINDS = len(SERIES_UIDS)
EXPECTED = [incoming(series=uid) for uid in SERIES_UIDS]
FOLDERS = [one.path.rpartition("/")[0] for one in EXPECTED]
FIRST = store_command("1.2.3.4.1")


def padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def slice_of(kind: int, **values: bytes) -> bytes:
    """A slice of one of the series."""
    return slice_with(series=padded(SERIES_UIDS[kind]), **values)


def kind_of(data_set: bytes) -> int:
    """Which series a slice is of."""
    (kind,) = (n for n, uid in enumerate(SERIES_UIDS) if b"UI%c\0" % (len(padded(uid)))
               + padded(uid) + b" \0\x11\0" in data_set)  # fmt: skip
    return kind


@cache
def like_before(kind: int = 0) -> UsualHeader:
    """What slices of a series are held against."""
    known = learned(*[slice_of(kind)] * 2).known
    assert known is not None
    header = likeness.comparison(known)
    assert header is not None
    return header


def uid_of(number: int) -> str:
    return f"1.2.3.4.{number}"


def like(number: int, *sizes: int, uid: str = "", kind: int = 0) -> bytes:
    """A request that is like the one before, and its data set in fragments of these sizes."""
    uid = uid or uid_of(number)
    content = slice_of(kind, sop_instance=padded(uid), number=b"%d" % number)
    values = in_values(content, list(sizes) or [1 << 15])
    return command(uid, number) + b"".join(map(p_data, values))


def command(uid: str, message_id: int = 1) -> bytes:
    encoded = store_command(uid, message_id=message_id)
    return p_data(pdv(CONTEXT_ID, COMMAND | LAST, encoded))


def texts(before: bytes | None = None, first_request: bytes = FIRST, kinds: int = 1) -> Any:
    """The texts of instances like the one of that request; `before`: the begin of receipts."""
    first = read_command(first_request)
    request = around(first.encoded, MESSAGE_ID, AFFECTED_SOP_INSTANCE_UID)
    answer = around(
        response(first, SUCCESS), MESSAGE_ID_BEING_RESPONDED_TO, AFFECTED_SOP_INSTANCE_UID
    )
    assert answer is not None
    receipts = []
    for kind in range(kinds):
        to_uid, to_number, to_path, to_size = ReceiptWriter().pieces(EXPECTED[kind])
        to_name = to_path + FOLDERS[kind].encode() + b"/"
        receipts.append((to_uid if before is None else before, to_number, to_name, to_size))
    head = head_pieces(MR_IMAGE.encode(), LITTLE)
    return usual_texts.UsualTexts(request, head, answer[:2], receipts)
