from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.receive.file_meta import file_head
from storage.data_set_files import blocks_of_data_set, has_same_data_set
from tests.unit.storage.kept_files import HEAD

LONGER_HEAD = file_head(b"1.2.3", b"1.2.3.4.5.6.7", "1.2.840.10008.1.2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.write_bytes(HEAD + b"data set")
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.write_bytes(LONGER_HEAD + b"data set")
    return path


@given(
    data_set=st.binary(max_size=40),
    others=st.lists(st.binary(max_size=40), max_size=2),
    flipped=st.integers(0, 39),
    cut=st.integers(1, 39),
    block_bytes=st.integers(1, 50),
)
def test_two_files_have_the_same_data_set_if_every_byte_is_the_same(
    data_set: bytes, others: list[bytes], flipped: int, cut: int, block_bytes: int
) -> None:
    changed = bytearray(data_set)
    changed[flipped : flipped + 1] = bytes(one ^ 1 for one in changed[flipped : flipped + 1])
    with (
        TemporaryDirectory() as folder,
        patch("storage.data_set_files._BLOCK_BYTES", block_bytes),
    ):
        one, other = Path(folder, "one"), Path(folder, "other")
        one.write_bytes(HEAD + data_set)
        assert b"".join(blocks_of_data_set(one)) == data_set
        for content in (data_set, bytes(changed), data_set[:-cut], data_set + b"\0", *others):
            other.write_bytes(LONGER_HEAD + content)
            assert has_same_data_set(one, other) == has_same_data_set(other, one)
            assert has_same_data_set(one, other) == (content == data_set)


@pytest.mark.parametrize("content", [None, b"", HEAD[:100], HEAD[:-1]])
def test_what_is_lost_is_the_same_as_nothing(path: Path, kept: Path, content: bytes | None) -> None:
    kept.unlink()
    if content is not None:
        kept.write_bytes(content)

    assert not has_same_data_set(path, kept)


def test_what_cannot_be_read_is_lost(path: Path, kept: Path) -> None:
    kept.unlink()
    kept.mkdir()

    assert not has_same_data_set(path, kept)


def test_what_comes_must_be_there(path: Path, kept: Path) -> None:
    os.truncate(path, len(HEAD) - 1)
    with pytest.raises(struct.error):
        has_same_data_set(path, kept)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        has_same_data_set(path, kept)


@pytest.mark.parametrize(
    ("number", "is_lost"),
    [(errno.EIO, True), (errno.EMFILE, False), (errno.ENOMEM, False), (errno.ESTALE, False)],
)
def test_a_process_that_is_short_of_something_has_lost_nothing(
    path: Path, kept: Path, number: int, is_lost: bool
) -> None:
    open_path = Path.open

    def failing(which: Path, *arguments: Any) -> Any:
        if which == kept:
            raise OSError(number, os.strerror(number))
        return open_path(which, *arguments)

    with patch("pathlib.Path.open", failing):
        if is_lost:
            assert not has_same_data_set(path, kept)
        else:
            with pytest.raises(OSError, match=os.strerror(number)):
                has_same_data_set(path, kept)
    assert has_same_data_set(path, kept)
