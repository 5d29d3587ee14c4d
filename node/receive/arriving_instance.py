"""One instance while it comes: structure, identity, and the digest of what came."""

from __future__ import annotations

from contextlib import suppress

from node.receive.deflated_structure import DeflatedWalk, walk_over
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import (
    IDENTITY_TAGS,
    STUDY_INSTANCE_UID,
    InstanceHeader,
    header_of,
)
from storage.dataset_digest import DatasetDigest
from storage.errors import InvalidUid
from storage.instance_files import validated_uid

_GROUP_2 = b"\2\0"
"""A data set that begins so would go on with File Meta Information (PS3.7 6.3, PS3.10 7.1): in the
file, readers would take that for ours, and read all the rest in another transfer syntax."""


class ArrivingInstance:
    """Takes a data set in fragments: its structure at once, its digest when there is time.

    The digest tells a repeated instance from a changed one: the File Meta Information (PS3.10 7.1)
    is written by the receiver and says nothing about what the sender sent. With the `memory` of the
    instances before, the result is the same, and comes sooner.
    """

    def __init__(self, transfer_syntax_uid: str, memory: HeaderMemory | None = None) -> None:
        self._transfer_syntax_uid = transfer_syntax_uid
        self._digest = DatasetDigest()
        self._undigested: list[memoryview] = []
        self._walk = walk_over(transfer_syntax_uid, IDENTITY_TAGS)
        self._first = b""
        self._header: InstanceHeader | None = None
        self._has_looked = False
        self._memory = memory or HeaderMemory()

    @property
    def inflated_bytes(self) -> int:
        """Size of a deflated data set so far, once inflated; 0 for others."""
        return self._walk.inflated if isinstance(self._walk, DeflatedWalk) else 0

    @property
    def study_instance_uid(self) -> str | None:
        """Study Instance UID (0020,000D) if it has come, and is one."""
        if self._header is not None:
            return self._header.study.study_instance_uid
        raw = self._walk.elements.get(STUDY_INSTANCE_UID)
        if raw is None:
            return None
        try:
            return validated_uid(raw.value.rstrip(b"\0 ").decode("ascii", "replace"))
        except InvalidUid:
            return None

    def take(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set; they stay as they are until `digest` is called.

        Raises:
            StoreRefused: they are no data set in this transfer syntax.
        """
        self._undigested.append(fragment)
        if self._has_looked:
            self._walk.take(fragment)
            return
        is_first = not self._first
        if len(self._first) < len(_GROUP_2):
            self._first = (self._first + bytes(fragment[:2]))[:2]
        if not (is_first and self._is_recalled(fragment)):
            self._walk.take(fragment)
        if not self._has_looked and self._walk.is_identified:
            # While the rest comes; what is wrong is told when all has come.
            self._has_looked = True
            with suppress(StoreRefused):
                self._header = self._read_header()
                if is_first:
                    self._memory.learn(fragment, self._transfer_syntax_uid, self._header)

    def digest(self) -> None:
        """Take all that came into the digest: its bytes are not needed any more."""
        for fragment in self._undigested:
            self._digest.take(fragment)
        self._undigested.clear()

    def dataset_digest(self) -> str:
        """Return the digest of all that came (`storage.dataset_digest`)."""
        self.digest()
        return self._digest.text()

    def finish(self) -> InstanceHeader:
        """Return whose instance this is.

        Raises:
            StoreRefused: the data set is not whole, or a UID is missing or invalid.
        """
        if self._first == _GROUP_2:
            raise StoreRefused(StoreFailure.UNREADABLE)
        self._walk.finish()
        return self._header or self._read_header()

    def _is_recalled(self, fragment: memoryview) -> bool:
        """Take the first bytes, if their header is known from the instance before."""
        known = self._memory.recall(fragment, self._transfer_syntax_uid)
        if known is None or isinstance(self._walk, DeflatedWalk):
            return False
        self._header, at = known
        self._has_looked = True
        self._walk.take(fragment, at)
        return True

    def _read_header(self) -> InstanceHeader:
        return header_of(self._walk.elements, self._transfer_syntax_uid)
