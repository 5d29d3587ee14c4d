"""Slice after slice, the header of a data set has the same elements in the same order.

What an association remembers of one instance tells in a few comparisons that the next one has the
same identity but for two values, SOP Instance UID (0008,0018) and Instance Number (0020,0013).
Neither a walk over those elements nor decoding what they say is needed then. The result is what it
would be without a memory: where anything else differs, nothing is recalled.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from node.receive.dimse_status import StoreRefused
from node.receive.element_headers import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    ByteOrder,
    byte_order,
)
from node.receive.header_layout import Layout, PlacedElement, layout_of, whole_elements
from node.receive.instance_header import (
    IDENTITY_TAGS,
    INSTANCE_NUMBER,
    SOP_INSTANCE_UID,
    InstanceHeader,
    integer,
    required_uid,
)

_OWN_TAGS = (SOP_INSTANCE_UID, INSTANCE_NUMBER)
_SAME_VALUES = IDENTITY_TAGS.difference(_OWN_TAGS)
_WITHOUT_LAYOUT = (IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
_WINDOW = 1 << 13
_LEAST_PATIENCE = 2
_MOST_PATIENCE = 64
_MOST_TAGS = 4096
_MOST_KNOWN = 8


class _Patience:
    """How often in a row something may be other than it was, before it is learned anew.

    As many as can be remembered are learned at once, for those of a study's series come mixed.
    From then on, what seldom comes again is learned the less often: learning takes longer than not
    to know.
    """

    def __init__(self) -> None:
        self._at_once = _MOST_KNOWN
        self._misses, self._most = 0, _LEAST_PATIENCE

    def is_over(self) -> bool:
        """Count a miss; whether it is time to learn."""
        if self._at_once:
            self._at_once -= 1
            return True
        self._misses += 1
        if self._misses < self._most:
            return False
        self._misses, self._most = 0, min(2 * self._most, _MOST_PATIENCE)
        return True

    def renew(self) -> None:
        """What was learned has come again."""
        self._at_once = _MOST_KNOWN
        self._misses, self._most = 0, _LEAST_PATIENCE


class _Varying:
    """The tags whose values are not always of the same length."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self.tags = frozenset(_OWN_TAGS)

    def see(self, elements: Iterable[PlacedElement]) -> None:
        """Compare the lengths of the elements with those seen before."""
        if len(self._lengths) > _MOST_TAGS:
            # No device writes so many; a sender that does shall not fill the memory.
            self._lengths, self.tags = {}, frozenset(_OWN_TAGS)
        lengths = [(element.tag, element.end - element.begin) for element in elements]
        varying = {tag for tag, length in lengths if self._lengths.get(tag, length) != length}
        self._lengths.update(lengths)
        self.tags |= varying - _SAME_VALUES


class KnownHeader(NamedTuple):
    """An instance's header, and the layout of the elements before the first one beyond it.

    `uid_at` and `number_at` say which of the layout's values are the instance's own.
    """

    transfer_syntax_uid: str
    layout: Layout
    uid_at: int
    number_at: int
    header: InstanceHeader


class HeaderMemory:
    """What one association remembers of instances' headers, to know the next one's by one of them.

    Of each series, as these may come mixed.
    It holds what identifies a patient, lives as long as the association, and is its thread's alone.
    """

    def __init__(self) -> None:
        self._known: list[KnownHeader] = []
        self._patience = _Patience()
        self._beyond: Layout | None = None
        self._order_beyond: ByteOrder | None = None
        self._patience_beyond = _Patience()
        self._varying = _Varying()

    @property
    def known(self) -> KnownHeader | None:
        """What the last instance's header was known by, or what it will be known by."""
        return self._known[0] if self._known else None

    def recalled(self) -> None:
        """Somebody else has found instances that are like ones that are known."""
        self._patience.renew()

    def recall(
        self, fragment: memoryview, transfer_syntax_uid: str
    ) -> tuple[InstanceHeader, int] | None:
        """Return an instance's header, and from which offset on its data set is yet unknown.

        Before that offset, in bytes, there are whole elements of the top level, the identity among
        them. None: it is not like what is remembered, or to be refused for what it says.
        `fragment` are its first bytes.
        """
        # A copy, because bytes are read faster than a view is.
        window = bytes(fragment[:_WINDOW])
        found = self._found(window, transfer_syntax_uid)
        if found is None:
            return None
        known, values, end = found
        order = byte_order(transfer_syntax_uid)
        header = _next_header(known.header, values[known.uid_at], values[known.number_at])
        if header is None or not _is_beyond(order, window, end):
            return None
        self._patience.renew()
        if known is not self._known[0]:
            self._known.remove(known)
            self._known.insert(0, known)
        return header, self._through_beyond(order, window, end)

    def learn(self, fragment: memoryview, transfer_syntax_uid: str, header: InstanceHeader) -> None:
        """Take note of an instance that was not recalled; `fragment` are its first bytes."""
        if transfer_syntax_uid in _WITHOUT_LAYOUT or not self._patience.is_over():
            return
        if not self._known or self._known[0].transfer_syntax_uid != transfer_syntax_uid:
            self._beyond, self._patience_beyond = None, _Patience()
        order, window = byte_order(transfer_syntax_uid), bytes(fragment[:_WINDOW])
        elements = _identity(order, window)
        if not elements:
            return
        self._varying.see(elements)
        tags = self._varying.tags
        layout = layout_of(elements, order, window, varying=tags, same=_SAME_VALUES)
        values = [element.tag for element in elements if element.may_vary(tags)]
        uid_at, number_at = map(values.index, _OWN_TAGS)
        known = KnownHeader(transfer_syntax_uid, layout, uid_at, number_at, header)
        self._known = [known, *self._others(header)][:_MOST_KNOWN]

    def _others(self, header: InstanceHeader) -> list[KnownHeader]:
        """What is known of other series: what was known of this one has not served."""
        uid = header.series.series_instance_uid
        return [one for one in self._known if one.header.series.series_instance_uid != uid]

    def _found(
        self, window: bytes, transfer_syntax_uid: str
    ) -> tuple[KnownHeader, list[bytes], int] | None:
        """Return which one the header is like, its own values, and where they end."""
        for known in self._known:
            if known.transfer_syntax_uid == transfer_syntax_uid:
                found = known.layout.found(window, 0)
                if found is not None:
                    return known, *found
        return None

    def _through_beyond(self, order: ByteOrder, window: bytes, at: int) -> int:
        """Pass over the elements after the identity, if they are those that were there before."""
        beyond = self._beyond if order is self._order_beyond else None
        found = beyond.found(window, at) if beyond is not None else None
        if found is not None:
            self._patience_beyond.renew()
            return found[1]
        if self._patience_beyond.is_over():
            elements = list(whole_elements(order, window, at))
            self._varying.see(elements)
            self._beyond = layout_of(elements, order, window, varying=self._varying.tags)
            self._order_beyond = order
        return at


def _next_header(last: InstanceHeader, uid: bytes, number: bytes) -> InstanceHeader | None:
    """Return the last header with other own values, None where they are to be refused."""
    try:
        sop_instance_uid = required_uid(uid)
    except StoreRefused:
        # What is wrong is told when all has come.
        return None
    return InstanceHeader(
        study=last.study,
        series=last.series,
        sop_class_uid=last.sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        instance_number=integer(number),
        manufacturer=last.manufacturer,
    )


def _identity(order: ByteOrder, window: bytes) -> list[PlacedElement]:
    """Return the elements before the first one beyond; none where they are not plain."""
    whole = whole_elements(order, window, 0)
    elements = list(takewhile(lambda element: element.tag <= INSTANCE_NUMBER, whole))
    own = [element for element in elements if element.tag in _OWN_TAGS]
    is_plain = (
        [element.tag for element in own] == [*_OWN_TAGS]
        and all(element.may_vary(_OWN_TAGS) for element in own)
        and _is_beyond(order, window, elements[-1].end)
    )
    return elements if is_plain else []


def _is_beyond(order: ByteOrder, window: bytes, at: int) -> bool:
    """Whether an element begins there with which the identity is over."""
    if len(window) - at < order.tag_and_length.size:
        return False
    group, element, _ = order.tag_and_length.unpack_from(window, at)
    return bool(group << 16 | element > INSTANCE_NUMBER)
