"""The function that compiled code takes digests with is the one that Python has."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import compiled_digest
from storage.compiled_digest import XXH3_ADDRESS
from storage.dataset_digest import digest_of, text_of

_KIND = ctypes.CFUNCTYPE(compiled_digest._Hash, ctypes.c_char_p, ctypes.c_size_t)


@pytest.mark.skipif(not XXH3_ADDRESS, reason="xxhash is not built so that others may call it")
@given(data_set=st.binary(max_size=2000), times=st.integers(0, 40))
def test_it_says_the_same_of_any_content(data_set: bytes, times: int) -> None:
    content = data_set * times
    made = _KIND(XXH3_ADDRESS)(content, len(content))
    assert text_of(made.high << 64 | made.low) == digest_of(memoryview(content))


def test_it_is_there_with_the_package_that_is_installed_here() -> None:
    assert XXH3_ADDRESS


def test_another_function_of_that_name_is_not_taken() -> None:
    other = ctypes.CDLL(None).strnlen
    other.argtypes, other.restype = [ctypes.c_char_p, ctypes.c_size_t], compiled_digest._Hash
    assert compiled_digest._address_of(other) == 0


@pytest.mark.parametrize("place", [None, "/nowhere/xxhash.so", ctypes.util.find_library("m")])
def test_where_it_is_not_digests_are_left_to_python(place: str | None) -> None:
    assert compiled_digest._function_of(place) is None
    assert compiled_digest._address_of(None) == 0


@pytest.mark.parametrize("number", [0, 1, 1 << 64, (1 << 128) - 1])
def test_a_digest_that_is_a_number_has_all_of_its_digits(number: int) -> None:
    kind, digits = text_of(number).split(":")
    assert (kind, len(digits), int(digits, 16)) == ("xxh3", 32, number)
