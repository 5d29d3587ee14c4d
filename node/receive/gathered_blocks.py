"""The fragments of a data set, gathered into blocks: what is done to a byte is done per block.

Fragments are as large as the sender likes, and they begin and end anywhere. A block ends where a
page of the file ends, so that no page is written twice. That saves more than the copy costs. Large
blocks cost less in all than small ones; but when the last fragment is here the sender waits, so
that not too much may be left for then.

The blocks of a data set lie one behind the other in a buffer that holds a usual instance, so that
what can wait until the sender has its answer, the digest, can be taken of them then.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator

STEP_BYTES = 1 << 14
LONGEST_HEAD = 1 << 12
BUFFER_BYTES = LONGEST_HEAD + (1 << 20)
WORTH_A_BLOCK_BYTES = 3 << 16


ReadInto = Callable[[memoryview], int]
"""Places what comes next of a data set in memory that is not empty; how many bytes, 0: no more."""

Block = tuple[memoryview, memoryview]
"""What comes next in the file, and what comes next of the data set; see `gathered`."""


def block_buffer() -> memoryview:
    """Return the memory that one association gathers in, instance after instance.

    It takes as much as its largest instance so far: many associations bring one small instance.
    """
    return memoryview(mmap.mmap(-1, BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def gathered(
    head: bytes,
    read_into: ReadInto,
    buffer: memoryview,
    is_due: Callable[[], bool],
    before_reuse: Callable[[], None],
) -> Iterator[Block]:
    """Yield a file in blocks, its head at most `LONGEST_HEAD` long.

    All of them are good until `before_reuse` is called; those that come after that, until its next
    call, or until the buffer is used for another file. The file lags behind the data set by the
    length of the head, but for the last block. As soon as `is_due`, what is here is a block,
    however little it is.
    """
    if len(head) > LONGEST_HEAD:
        raise ValueError("the head of a file is longer than any that is written")
    of_file, of_data_set, at, size = 0, len(head), len(head), len(buffer)
    buffer[:at] = head
    while taken := read_into(buffer[at:]):
        at += taken
        length = at - of_data_set
        if length >= WORTH_A_BLOCK_BYTES:
            length -= length % STEP_BYTES
            yield buffer[of_file : of_file + length], buffer[of_data_set : of_data_set + length]
            of_file, of_data_set = of_file + length, of_data_set + length
        if is_due():
            yield buffer[of_file:at], buffer[of_data_set:at]
            of_file = of_data_set = at
        if at == size:
            before_reuse()
            at -= of_file
            buffer[:at] = buffer[of_file:]
            of_file, of_data_set = 0, of_data_set - of_file
    yield buffer[of_file:at], buffer[of_data_set:at]
