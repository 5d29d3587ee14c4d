"""The layout of whole elements at the top level: where they lie, and how they are found again.

A layout is made of parts. In a part, the tags, VRs and lengths of all elements must be the same
bytes again, and so must be chosen values; one comparison tells. Between the parts lie values that
may be of any length. Only elements with Explicit VR have a layout (PS3.5 7.1.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from node.receive.element_headers import LONG_VRS, SHORT_VRS, ByteOrder

_SHORT_HEADER = 8


class PlacedElement(NamedTuple):
    """Where an element lies: its header, its value, and its end; offsets in bytes."""

    tag: int
    at: int
    begin: int
    end: int

    def may_vary(self, tags: Container[int]) -> bool:
        """Whether its value may be of any length, for one of the tags: its length has two bytes."""
        return self.tag in tags and self.begin - self.at == _SHORT_HEADER


class _Part(NamedTuple):
    """What is to be found again; `is_open`: then comes a value of the length said last.

    `template` says it once more: it holds where `mask` has 0xFF.
    """

    unpack_from: Callable[[bytes, int], tuple[bytes, ...]]
    expected: tuple[bytes, ...]
    size: int
    is_open: bool
    template: bytes
    mask: bytes


class Layout(NamedTuple):
    """Elements one after another, to be found again."""

    parts: tuple[_Part, ...]
    length_at: Callable[[bytes, int], tuple[int]]

    def found(self, content: bytes, at: int) -> tuple[list[bytes], int] | None:
        """Return the values between the parts, and where the elements end; None: others are there.

        `at` and the end returned are offsets in bytes.
        """
        parts, length_at = self
        values, size = [], len(content)
        for unpack_from, expected, part_size, is_open, _, _ in parts:
            if size - at < part_size or unpack_from(content, at) != expected:
                return None
            at += part_size
            if is_open:
                begin = at
                at += length_at(content, at - 2)[0]
                values.append(content[begin:at])
        return (values, at) if at <= size else None


def whole_elements(order: ByteOrder, content: bytes, at: int) -> Iterator[PlacedElement]:
    """Yield the elements of the top level that lie there from end to end, with Explicit VR."""
    size = len(content)
    while at + 12 <= size:
        group, element, vr, length = order.explicit.unpack_from(content, at)
        begin = at + _SHORT_HEADER
        if vr in LONG_VRS:
            length, begin = order.long_length.unpack_from(content, begin)[0], begin + 4
        elif vr not in SHORT_VRS:
            return
        # An undefined length is larger than what is here.
        if group == 0 or length > size - begin:
            return
        yield PlacedElement(group << 16 | element, at, begin, begin + length)
        at = begin + length


def layout_of(
    elements: Sequence[PlacedElement],
    order: ByteOrder,
    content: bytes,
    *,
    varying: Container[int],
    same: Container[int] = (),
) -> Layout:
    """Return the layout of elements that lie one after another in `content`.

    The values of the tags in `varying` may be of any length, those of `same` must be the same.
    """
    parts, runs = list[_Part](), list[tuple[int, int]]()
    start = elements[0].at if elements else 0
    for element in elements:
        if element.may_vary(varying):
            runs.append((element.at, element.begin - order.short_length.size))
            parts.append(_part(content, start, runs, element.begin, is_open=True))
            start, runs = element.end, []
        else:
            runs.append((element.at, element.end if element.tag in same else element.begin))
    if runs:
        parts.append(_part(content, start, runs, elements[-1].end, is_open=False))
    return Layout(tuple(parts), order.short_length.unpack_from)


def _part(
    content: bytes, start: int, runs: Iterable[tuple[int, int]], end: int, *, is_open: bool
) -> _Part:
    """Return the part from `start` to `end`; what lies in the runs is to be found again."""
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        begin = merged.pop()[0] if merged and merged[-1][1] == first else first
        merged.append((begin, last))
    fields, at, mask = ["="], start, b""
    for first, last in merged:
        fields.append(f"{first - at}x{last - first}s")
        mask += bytes(first - at) + b"\xff" * (last - first)
        at = last
    layout = struct.Struct("".join([*fields, f"{end - at}x"]))
    template, mask = content[start:end], mask + bytes(end - at)
    expected = layout.unpack_from(content, start)
    return _Part(layout.unpack_from, expected, layout.size, is_open, template, mask)
