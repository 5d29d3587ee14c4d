"""Is a received data set whole, and what are its identity elements? Followed while it comes.

A sender that dies or lies leaves a data set that ends in the middle of a value. It must not be
answered Success, so the walk follows the lengths from the first to the last byte (PS3.5 7.1,
7.5, A.4). It keeps no value but those it is asked for, and has no recursion: memory stays flat,
whatever the data set nests and however it is cut into fragments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.element_headers import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    LONG_VRS,
    SHORT_VRS,
    byte_order,
)

UNDEFINED_LENGTH = 0xFFFFFFFF

_ITEM = 0xFFFEE000
_ITEM_DELIMITATION = 0xFFFEE00D
_SEQUENCE_DELIMITATION = 0xFFFEE0DD
_DEEPEST_NESTING = 64
_LONGEST_VALUE = 1 << 20
_WINDOW = 1 << 13

# A level is one open value of undefined length, or the data set itself at the bottom.
_ELEMENTS, _ITEMS = False, True
_EXPLICIT_TOP_LEVEL = [(_ELEMENTS, False)]


class RawElement(NamedTuple):
    """One element as it came; a sequence's items as they lie in the data set."""

    vr: bytes
    length: int
    value: bytes


_raw_element: Callable[[tuple[bytes, int, bytes]], RawElement] = partial(tuple.__new__, RawElement)
"""Makes a `RawElement` in a third of the time that its own constructor takes."""


class DataSetWalk:
    """One pass over a data set that comes in fragments.

    `wanted` are the tags to keep in `elements`, in the top level; from the first tag beyond the
    last of them on, `is_identified` is true and no more are kept.
    """

    def __init__(self, transfer_syntax_uid: str, wanted: frozenset[int]) -> None:
        self._order = byte_order(transfer_syntax_uid)
        self._levels = [(_ELEMENTS, transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN)]
        self._wanted = wanted
        self._last_wanted = _last_of(wanted)
        self._carry = b""
        self._left = 0
        self._kept: tuple[int, bytes, int, bytearray] | None = None
        self._is_padding = False
        self.elements: dict[int, RawElement] = {}
        self.is_identified = False

    def take(self, fragment: memoryview, at: int = 0) -> None:
        """Follow the next bytes.

        Before `at`, which is for the first bytes alone, there are whole elements of the top level,
        all that are wanted among them; none of these is kept.

        Raises:
            StoreRefused: they are no data set in this transfer syntax.
        """
        if self._left >= len(fragment) and self._kept is None:
            # Nearly all of an image is one long value, and it is the last one.
            self._left -= len(fragment)
            return
        if at:
            self.is_identified = True
        if self._carry:
            fragment = memoryview(self._carry + bytes(fragment))
            self._carry = b""
        while not self._is_padding:
            at = self._through_value(fragment, at)
            if self._levels == _EXPLICIT_TOP_LEVEL and not self._left:
                at = self._through_whole_elements(fragment, at)
            if self._left:
                return
            after = self._through_header(fragment, at)
            if after < 0:
                self._carry = bytes(fragment[at:])
                return
            at = after

    def finish(self) -> None:
        """Raise `StoreRefused` unless the data set may end here.

        A break exactly between two top-level elements cannot be seen.
        """
        if self._is_padding:
            return
        is_between = self._left == 0 and len(self._levels) == 1 and len(self._carry) < 8
        if not is_between or any(self._carry):
            raise StoreRefused(StoreFailure.TRUNCATED)
        self.is_identified = True

    def _through_value(self, fragment: memoryview, at: int) -> int:
        """Pass over what is here of the open value."""
        if self._left:
            taken = min(self._left, len(fragment) - at)
            self._left -= taken
            if self._kept is not None:
                self._keep(fragment[at : at + taken])
            at += taken
        if self._kept is not None and not self._left and len(self._levels) == 1:
            tag, vr, length, value = self._kept
            self.elements[tag] = RawElement(vr, length, bytes(value))
            self._kept = None
        return at

    def _through_whole_elements(self, fragment: memoryview, at: int) -> int:
        """Pass over elements with Explicit VR of the top level that lie here from end to end.

        Most do. Where something else begins, the general way goes on; it would do the same here.
        """
        # A copy of what is next, because bytes are read faster than a view is.
        window = bytes(fragment[at : at + _WINDOW])
        unpack, long_length = self._order.explicit.unpack_from, self._order.long_length.unpack_from
        wanted, is_identified, size = self._wanted, self.is_identified, len(window)
        here = 0
        while here + 12 <= size:
            group, element, vr, length = unpack(window, here)
            begin = here + 8
            if vr not in SHORT_VRS:
                if vr not in LONG_VRS:
                    break
                length, begin = long_length(window, begin)[0], here + 12
            # An undefined length is larger than any window; so is a value too long to be kept.
            if group == 0 or length > size - begin:
                break
            here = begin + length
            if is_identified:
                continue
            tag = group << 16 | element
            if tag in wanted:
                self.elements[tag] = _raw_element((vr, length, window[begin:here]))
            elif tag > self._last_wanted:
                self.is_identified = is_identified = True
        return at + here

    def _through_header(self, fragment: memoryview, at: int) -> int:
        """Open the next element or item; return where its value begins, -1 where more is needed."""
        if len(fragment) - at < 8:
            return -1
        group, element, length = self._order.tag_and_length.unpack_from(fragment, at)
        is_items, is_implicit = self._levels[-1]
        tag = group << 16 | element
        if is_items:
            after = self._item(tag, length, at, is_implicit)
        elif len(self._levels) > 1:
            after = self._nested(fragment, at, tag, length)
        elif group == 0:
            self._is_padding = True  # zeros after the last element, by a careless writer
            return at
        else:
            return self._top(fragment, at, tag, length)
        if self._kept is not None and after > 0:
            self._keep(fragment[at:after])
        return after

    def _top(self, fragment: memoryview, at: int, tag: int, length: int) -> int:
        vr, length, after = self._vr(fragment, at, length)
        if after < 0:
            return after
        if tag > self._last_wanted:
            self.is_identified = True
        elif tag in self._wanted and not self.is_identified:
            _check_length(length)
            self._kept = (tag, vr, length, bytearray())
        self._open(vr, length)
        return after

    def _nested(self, fragment: memoryview, at: int, tag: int, length: int) -> int:
        if tag == _ITEM_DELIMITATION:
            self._levels.pop()
            return at + 8
        vr, length, after = self._vr(fragment, at, length)
        if after > 0:
            self._open(vr, length)
        return after

    def _vr(self, fragment: memoryview, at: int, length: int) -> tuple[bytes, int, int]:
        """Return VR (empty: implicit), length, and where the value begins."""
        vr = b"" if self._levels[-1][1] else bytes(fragment[at + 4 : at + 6])
        if vr in SHORT_VRS:
            return vr, self._order.short_length.unpack_from(fragment, at + 6)[0], at + 8
        if vr in LONG_VRS:
            if len(fragment) - at < 12:
                return vr, 0, -1
            return vr, self._order.long_length.unpack_from(fragment, at + 8)[0], at + 12
        if vr.isalpha():
            return vr, self._order.short_length.unpack_from(fragment, at + 6)[0], at + 8
        return b"", length, at + 8

    def _open(self, vr: bytes, length: int) -> None:
        if length != UNDEFINED_LENGTH:
            self._left = length
            return
        # UN of undefined length holds Implicit VR items (PS3.5 6.2.2).
        self._enter(_ITEMS, self._levels[-1][1] or vr == b"UN")

    def _item(self, tag: int, length: int, at: int, is_implicit: bool) -> int:
        """Enter or skip one item or fragment, or leave the sequence (PS3.5 7.5.2)."""
        if tag == _SEQUENCE_DELIMITATION:
            self._levels.pop()
        elif tag != _ITEM:
            raise StoreRefused(StoreFailure.UNREADABLE)
        elif length == UNDEFINED_LENGTH:
            self._enter(_ELEMENTS, is_implicit)
        else:
            self._left = length
        return at + 8

    def _enter(self, is_items: bool, is_implicit: bool) -> None:
        if len(self._levels) >= _DEEPEST_NESTING:
            raise StoreRefused(StoreFailure.UNREADABLE)
        self._levels.append((is_items, is_implicit))

    def _keep(self, part: memoryview) -> None:
        """Add to the value that is kept; a sequence longer than any real one is as good as none."""
        if self._kept is not None:
            self._kept[3].extend(part)
            if len(self._kept[3]) > _LONGEST_VALUE:
                self._kept = None


@lru_cache(maxsize=8)
def _last_of(tags: frozenset[int]) -> int:
    return max(tags, default=-1)


def _check_length(length: int) -> None:
    if _LONGEST_VALUE < length != UNDEFINED_LENGTH:
        raise StoreRefused(StoreFailure.UNREADABLE)
