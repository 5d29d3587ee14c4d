"""The fragments of a data set, gathered into blocks: what is done to a byte is done per block.

Fragments are as large as the sender likes, and they begin and end anywhere. A block ends where a
page of the file ends, so that no page is written twice, and its part of the data set is a power
of two long, which BLAKE3 takes fastest. That saves more than the copy costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

BLOCK_BYTES = 1 << 17
LONGEST_HEAD = 1 << 12


class Block(NamedTuple):
    """What comes next in the file, and what comes next of the data set; see `gathered`."""

    content: memoryview
    data_set: memoryview


def block_buffer() -> memoryview:
    """Return the memory that one association gathers in, instance after instance."""
    return memoryview(bytearray(LONGEST_HEAD + BLOCK_BYTES))


def gathered(
    head: bytes, fragments: Iterable[memoryview], buffer: memoryview, is_due: Callable[[], bool]
) -> Iterator[Block]:
    """Yield a file in blocks, its head at most `LONGEST_HEAD` long; each is good until the next.

    `content` lags behind `data_set` by the length of the head, but for the last block. As soon as
    `is_due`, what is here is a block, however little it is.
    """
    first, last = len(head), len(head) + BLOCK_BYTES
    buffer[:first] = head
    at = first
    for fragment in fragments:
        while at + len(fragment) >= last:
            room = last - at
            buffer[at:last] = fragment[:room]
            yield Block(buffer[:BLOCK_BYTES], buffer[first:last])
            fragment = fragment[room:]
            buffer[:first] = buffer[BLOCK_BYTES:last]
            at = first
        end = at + len(fragment)
        buffer[at:end] = fragment
        at = end
        if is_due():
            yield Block(buffer[:at], buffer[first:at])
            at, first, last = 0, 0, BLOCK_BYTES
    yield Block(buffer[:at], buffer[first:at])
