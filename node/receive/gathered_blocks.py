"""The fragments of a data set, gathered into blocks: what is done to a byte is done per block.

Fragments are as large as the sender likes, and they begin and end anywhere. A block ends where a
page of the file ends, so that no page is written twice, and its part of the data set is whole
steps long, which BLAKE3 takes fastest. That saves more than the copy costs. What has come is not
held back until a block is full: when the last fragment is here, the sender waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

STEP_BYTES = 1 << 14
BLOCK_BYTES = 1 << 17
_WORTH_A_BLOCK_BYTES = 1 << 16
LONGEST_HEAD = 1 << 12


Block = tuple[memoryview, memoryview]
"""What comes next in the file, and what comes next of the data set; see `gathered`."""


def block_buffer() -> memoryview:
    """Return the memory that one association gathers in, instance after instance."""
    return memoryview(bytearray(LONGEST_HEAD + BLOCK_BYTES))


def gathered(
    head: bytes, fragments: Iterable[memoryview], buffer: memoryview, is_due: Callable[[], bool]
) -> Iterator[Block]:
    """Yield a file in blocks, its head at most `LONGEST_HEAD` long; each is good until the next.

    The file lags behind the data set by the length of the head, but for the last block. As soon as
    `is_due`, what is here is a block, however little it is.
    """
    if len(head) > LONGEST_HEAD:
        raise ValueError("the head of a file is longer than any that is written")
    first = at = len(head)
    buffer[:first] = head
    for fragment in fragments:
        while fragment:
            taken = min(len(fragment), len(buffer) - at)
            buffer[at : at + taken] = fragment[:taken]
            at, fragment = at + taken, fragment[taken:]
            if at - first < _WORTH_A_BLOCK_BYTES:
                continue
            length = (at - first) // STEP_BYTES * STEP_BYTES
            yield buffer[:length], buffer[first : first + length]
            left = at - length
            buffer[:left] = buffer[length:at]
            at = left
        if is_due():
            yield buffer[:at], buffer[first:at]
            at = first = 0
    yield buffer[:at], buffer[first:at]
