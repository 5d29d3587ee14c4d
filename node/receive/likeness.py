"""Instances of one association that are like each other: slice after slice, most of them are."""

from __future__ import annotations

from typing import NamedTuple

from node.receive.element_headers import EXPLICIT_VR_BIG_ENDIAN
from node.receive.header_memory import KnownHeader
from node.receive.store_request import StoreRequest
from storage.dicom_records import IncomingInstance

try:
    from node.receive.usual_header import MOST_PARTS, UsualHeader
except ImportError:  # without a compiler nothing is compared so
    MOST_PARTS = 0


class Like(NamedTuple):
    """The last instance, what its header was known by, and what compares the next one's with it."""

    incoming: IncomingInstance
    known: KnownHeader
    header: UsualHeader


def is_of(incoming: IncomingInstance, known: KnownHeader) -> bool:
    """Whether an instance's header is the one that is known, but for the instance's own values."""
    header = known.header
    return (
        incoming.study is header.study
        and incoming.series is header.series
        and incoming.sop_class_uid == header.sop_class_uid
        and incoming.transfer_syntax_uid == known.transfer_syntax_uid
    )


def comparison(known: KnownHeader) -> UsualHeader | None:
    """Return what compares headers with a known one; None where it is too large for that."""
    parts = known.layout.parts
    if known.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN or len(parts) > MOST_PARTS:
        return None
    return UsualHeader(
        b"".join(part.template for part in parts),
        b"".join(part.mask for part in parts),
        [part.size for part in parts],
        not parts[-1].is_open,
        known.uid_at,
        known.number_at,
    )


def is_like(last: IncomingInstance, request: StoreRequest) -> bool:
    """Whether command set and presentation context are those of the last instance."""
    context, sop_class_uid = request.context, last.sop_class_uid
    return (
        context.transfer_syntax == last.transfer_syntax_uid
        and context.abstract_syntax == sop_class_uid
        and request.command.sop_class_uid == sop_class_uid.encode("ascii")
        and request.command.has_data_set
    )
