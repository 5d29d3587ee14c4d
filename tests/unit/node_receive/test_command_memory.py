"""What is known by the request before is what reading it would give."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.receive import command_memory
from node.receive.command_memory import CommandMemory
from node.receive.command_set import Command, InvalidCommandSet, read_command

_CT_IMAGE_STORAGE = b"1.2.840.10008.5.1.4.1.1.2\0"
_USUAL = {0x0002: _CT_IMAGE_STORAGE, 0x0100: b"\1\0", 0x0110: b"\1\0", 0x0800: b"\0\0"}


def _encoded(elements: list[tuple[int, bytes]]) -> bytes:
    return b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements
    )


def _request(message_id: int, uid: bytes, **changed: bytes) -> bytes:
    values = {**_USUAL, 0x0110: struct.pack("<H", message_id), 0x1000: uid}
    values |= {int(number, 16): value for number, value in changed.items()}
    return _encoded(sorted(values.items()))


def _outcome(read: Callable[[bytes], Command], encoded: bytes) -> Command | str:
    try:
        return read(encoded)
    except InvalidCommandSet as error:
        return str(error)


_NUMBERS = st.sampled_from([0x0000, 0x0002, 0x0003, 0x0100, 0x0110, 0x0800, 0x1000, 0x1001, 0x1031])
_VALUES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"1.2.3\0", b"1.2.4\0", b"1.2.3 ", b"\0\0", b"\1\0", b"", b"1" * 64, b"1" * 66]
    ),
)
_ELEMENTS = st.lists(st.tuples(_NUMBERS, _VALUES), max_size=9).map(_encoded)
_LIKE = st.builds(
    _request,
    st.integers(0, 0xFFFF),
    st.sampled_from([b"1.2.3.4\0", b"1.2.3.5\0", b"1.2.3.40", b"\0\0\0\0\0\0\0\0", b"", b"1" * 64]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_ELEMENTS, _LIKE, _LIKE, st.binary(max_size=40)), max_size=12))
def test_whatever_came_before_a_request_is_read_as_it_is(requests: list[bytes]) -> None:
    memory = CommandMemory()
    for encoded in requests:
        assert _outcome(memory.read, encoded) == _outcome(read_command, encoded)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_never_taken_for_the_old_one(at: int, value: int) -> None:
    memory, plain = CommandMemory(), _request(7, b"1.2.3.4\0")
    memory.read(plain)
    changed = bytearray(plain)
    changed[at % len(changed)] = value
    assert _outcome(memory.read, bytes(changed)) == _outcome(read_command, bytes(changed))


def test_slice_after_slice_one_request_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_apart: list[bytes] = []

    def counted(encoded: bytes) -> Command:
        taken_apart.append(encoded)
        return read_command(encoded)

    monkeypatch.setattr(command_memory, "read_command", counted)
    memory = CommandMemory()
    read = [memory.read(_request(number, b"1.2.3.%d" % number)) for number in range(1000, 1300)]
    assert [command.message_id for command in read] == [*range(1000, 1300)]
    assert [command.sop_instance_uid for command in read] == [
        b"1.2.3.%d" % n for n in range(1000, 1300)
    ]
    assert len(taken_apart) == 1


def test_a_request_that_is_much_longer_than_usual_is_not_remembered() -> None:
    memory = CommandMemory()
    for _ in range(2):
        command = memory.read(_request(1, b"1.2.3.4\0", **{"1031": bytes(5000)}))
        assert command.sop_instance_uid == b"1.2.3.4"
