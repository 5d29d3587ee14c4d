"""The structure of a deflated data set (PS3.5 A.5), and which walk a transfer syntax needs."""

from __future__ import annotations

import zlib

from node.receive.dataset_structure import DataSetWalk, RawElement
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN

_CHUNK = 1 << 16
_LARGEST_INFLATED = 1 << 33


class DeflatedWalk:
    """One pass over a deflated data set: its stream must end; its elements are followed to the
    last wanted one, because a small stream may inflate to any size.
    """

    def __init__(self, wanted: frozenset[int]) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._walk = DataSetWalk("", wanted)
        self.inflated = 0

    @property
    def elements(self) -> dict[int, RawElement]:
        """The wanted elements that have come."""
        return self._walk.elements

    @property
    def is_identified(self) -> bool:
        """Whether all of them have come that will come."""
        return self._walk.is_identified

    def take(self, fragment: memoryview) -> None:
        """Follow the next bytes; raises `StoreRefused` where they are no deflated data set."""
        data: bytes | memoryview = fragment
        while len(data) and not self._inflate.eof:
            try:
                inflated = self._inflate.decompress(data, _CHUNK)
            except zlib.error as error:
                raise StoreRefused(StoreFailure.UNREADABLE) from error
            data = self._inflate.unconsumed_tail
            self._count(inflated)

    def finish(self) -> None:
        """Raise `StoreRefused` unless the stream has ended."""
        if not self._inflate.eof:
            raise StoreRefused(StoreFailure.TRUNCATED)
        if not self._walk.is_identified:
            self._walk.finish()

    def _count(self, inflated: bytes) -> None:
        self.inflated += len(inflated)
        if self.inflated > _LARGEST_INFLATED:
            raise StoreRefused(StoreFailure.UNREADABLE)
        if not self._walk.is_identified:
            self._walk.take(memoryview(inflated))


def walk_over(transfer_syntax_uid: str, wanted: frozenset[int]) -> DataSetWalk | DeflatedWalk:
    """Return the walk for a data set in that transfer syntax."""
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return DeflatedWalk(wanted)
    return DataSetWalk(transfer_syntax_uid, wanted)
