"""Blocks hold what came, in order, however it was cut; and they end where pages end."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.receive.gathered_blocks import (
    BUFFER_BYTES,
    LONGEST_HEAD,
    STEP_BYTES,
    WORTH_A_BLOCK_BYTES,
    ReadInto,
    block_buffer,
    gathered,
)

_PAGE = 4096
_BUFFER = block_buffer()
_LENGTHS = st.lists(
    st.one_of(
        st.integers(0, 9),
        st.integers(BUFFER_BYTES - 600, BUFFER_BYTES + 600),
        st.integers(0, 1 << 17),
        st.integers(0, 2 * BUFFER_BYTES),
    ),
    max_size=12,
)


def _fragments(lengths: list[int]) -> list[memoryview]:
    at, cut = 0, []
    source = memoryview(bytes(range(251)) * (sum(lengths) // 251 + 1))
    for length in lengths:
        cut.append(source[at : at + length])
        at += length
    return cut


def _reader(fragments: list[memoryview]) -> ReadInto:
    """Place one fragment with each call, or as much of it as has room."""
    left = [fragment for fragment in fragments if fragment]

    def read_into(memory: memoryview) -> int:
        assert memory
        if not left:
            return 0
        size = min(len(memory), len(left[0]))
        memory[:size] = left[0][:size]
        left[0] = left[0][size:]
        if not left[0]:
            del left[0]
        return size

    return read_into


def _never() -> bool:
    return False


def _nothing() -> None:
    """What is overwritten is not needed."""


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600), _LENGTHS)
def test_blocks_are_the_file_and_all_but_the_last_end_at_a_page(
    head: bytes, lengths: list[int]
) -> None:
    fragments = _fragments(lengths)
    written, data_set, ends = b"", b"", []
    for of_file, of_data_set in gathered(head, _reader(fragments), _BUFFER, _never, _nothing):
        written += of_file
        data_set += of_data_set
        ends.append((len(written), len(of_data_set)))
    assert data_set == b"".join(fragments)
    assert written == head + data_set
    assert all(end % _PAGE == 0 and length % STEP_BYTES == 0 for end, length in ends[:-1])
    assert all(0 < length < BUFFER_BYTES for _, length in ends[:-1])


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600), _LENGTHS, st.sets(st.integers(0, 11)))
def test_a_block_stays_as_it_is_until_the_buffer_is_used_again(
    head: bytes, lengths: list[int], due: set[int]
) -> None:
    fragments = _fragments(lengths)
    digested: list[bytes] = []
    blocks: list[memoryview] = []
    asked = count()

    def digest() -> None:
        digested.extend(bytes(block) for block in blocks)
        blocks.clear()

    for _, block in gathered(head, _reader(fragments), _BUFFER, lambda: next(asked) in due, digest):
        blocks.append(block)
    digest()
    assert b"".join(digested) == b"".join(fragments)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1 << 16, 2 * BUFFER_BYTES), min_size=1, max_size=6))
def test_of_large_fragments_little_is_left_for_the_end(lengths: list[int]) -> None:
    blocks = gathered(b"head", _reader(_fragments(lengths)), _BUFFER, _never, _nothing)
    *_, (_, of_data_set) = blocks
    assert len(of_data_set) < WORTH_A_BLOCK_BYTES


@settings(max_examples=30, deadline=None)
@given(_LENGTHS, st.sets(st.integers(0, 11)))
def test_what_is_due_comes_at_once_and_nothing_is_lost(lengths: list[int], due: set[int]) -> None:
    fragments = _fragments(lengths)
    asked, read_into, came = count(), _reader(fragments), 0
    written, data_set = b"", b""

    def counted(memory: memoryview) -> int:
        nonlocal came
        size = read_into(memory)
        came += size
        return size

    def is_due() -> bool:
        return next(asked) in due

    for of_file, of_data_set in gathered(b"head", counted, _BUFFER, is_due, _nothing):
        written += of_file
        data_set += of_data_set
        assert len(data_set) >= came - (1 << 17)
    assert data_set == b"".join(fragments)
    assert written == b"head" + data_set


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than any"):
        next(gathered(bytes(LONGEST_HEAD + 1), _reader([]), _BUFFER, _never, _nothing))
