from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import reserved_space
from storage.instance_files import InstanceFiles, SpareFile
from storage.reserved_space import BLOCK_BYTES, MOST_BYTES, UsualSize, reserve

UIDS = ("1.2.3", "1.2.3.4", "1.2.3.4.5")
USUAL_BYTES = 300_000
_SECTOR_BYTES = 512


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data", "os")


def _allocated_bytes(descriptor: int) -> int:
    return os.fstat(descriptor).st_blocks * _SECTOR_BYTES


def _kept(files: InstanceFiles, spare: SpareFile, size_bytes: int) -> Path:
    with files.open_incoming(spare) as incoming:
        incoming.write(b"x" * size_bytes)
        place = incoming.keep(*UIDS)
    spare.prepare()
    return files.absolute(place)


def test_a_file_with_reserved_space_is_as_long_as_its_content(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        assert reserve(file.fileno(), 10 * BLOCK_BYTES) == 10 * BLOCK_BYTES
        assert _allocated_bytes(file.fileno()) >= 10 * BLOCK_BYTES
        file.write(b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_where_no_space_is_reserved_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        assert reserve(file.fileno(), 0) == 0
        monkeypatch.setattr(reserved_space, "_fallocate", lambda *_: -1)
        assert reserve(file.fileno(), BLOCK_BYTES) == 0
        monkeypatch.setattr(reserved_space, "_fallocate", None)
        assert reserve(file.fileno(), BLOCK_BYTES) == 0
        assert _allocated_bytes(file.fileno()) == 0


def test_what_a_full_disk_grants_in_part_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = reserved_space._fallocate
    assert grant is not None

    def half(descriptor: int, mode: int, at: int, size_bytes: int) -> int:
        grant(descriptor, mode, at, size_bytes // 2)
        return -1

    monkeypatch.setattr(reserved_space, "_fallocate", half)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        assert reserve(file.fileno(), 10 * BLOCK_BYTES) == 0
        assert _allocated_bytes(file.fileno()) == 0


def test_where_space_is_scarce_or_the_disk_is_waited_for_none_is_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        synced = InstanceFiles(tmp_path / "synced", "fsync")
        assert synced.reserve(file.fileno(), BLOCK_BYTES) == 0
        scarce = InstanceFiles(tmp_path / "scarce", "os")
        monkeypatch.setattr(scarce, "free_mib", lambda: 1000)
        assert scarce.reserve(file.fileno(), BLOCK_BYTES) == 0
        assert _allocated_bytes(file.fileno()) == 0


@given(st.lists(st.integers(0, 2 * MOST_BYTES), max_size=9))
def test_what_is_reserved_is_whole_blocks_and_no_more_than_the_last_files_had(
    sizes: list[int],
) -> None:
    usual = UsualSize()
    for size in sizes:
        usual.note(size)
    at_least = usual.at_least_bytes()
    assert at_least % BLOCK_BYTES == 0
    if len(sizes) < 2:
        assert at_least == 0
    else:
        assert 0 <= min(*sizes[-4:], MOST_BYTES) - at_least < BLOCK_BYTES


def test_when_two_sizes_are_known_space_is_reserved(files: InstanceFiles) -> None:
    spare, found = SpareFile(files), []
    for _ in range(4):
        spare.prepare()
        with files.open_incoming(spare) as incoming:
            found.append(_allocated_bytes(incoming.descriptor))
            incoming.write(b"x" * USUAL_BYTES)
            incoming.keep(*UIDS)
    assert found == [0, 0, *[USUAL_BYTES // BLOCK_BYTES * BLOCK_BYTES] * 2]


@pytest.mark.parametrize(
    "size_bytes", [0, 1, BLOCK_BYTES, 100_000, *range(290_000, 302_000, 1000), 500_000]
)
def test_an_instance_of_another_size_takes_no_more_space_than_it_needs(
    files: InstanceFiles, size_bytes: int
) -> None:
    spare = SpareFile(files)
    for _ in range(3):
        _kept(files, spare, USUAL_BYTES)
    path = _kept(files, spare, size_bytes)
    spare.close()
    assert path.read_bytes() == b"x" * size_bytes
    assert path.stat().st_blocks * _SECTOR_BYTES < size_bytes + BLOCK_BYTES
