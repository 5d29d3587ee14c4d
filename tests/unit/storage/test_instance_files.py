from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.setting_types import Durability
from storage.errors import InvalidUid, OutOfSpace, StorageError
from storage.instance_files import InstanceFiles, SpareFile, uid_tag, validated_uid

CONTENT = b"DICM" * 1000
UIDS = ("1.2.3", "1.2.3.4", "1.2.3.4.5")

uids = st.lists(st.integers(0, 10**12), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
hostile = st.one_of(
    st.text(),
    st.text(alphabet="./\\0159 \n\x00~-"),
    st.sampled_from(["..", ".", "", "/", "/etc/passwd", "../../x", "1..2", "1.2.", ".1", "1.2\n"]),
)


def _kept(files: InstanceFiles, content: bytes = CONTENT) -> str:
    with files.open_incoming() as incoming:
        incoming.write(content)
        return incoming.keep(*UIDS)


def _below(files: InstanceFiles, folder: str = "") -> list[Path]:
    return [path for path in (files.data_dir / folder).rglob("*") if path.is_file()]


def _age(path: Path, hours: float) -> None:
    then = datetime.now(UTC) - timedelta(hours=hours)
    os.utime(path, (then.timestamp(), then.timestamp()))


def test_a_kept_file_has_its_content_at_its_place(files: InstanceFiles) -> None:
    place = _kept(files)
    name = r"1\.2\.3\.4\.5\.[0-9a-f]{32}\.dcm"
    assert re.fullmatch(rf"instances/1\.2\.3/1\.2\.3\.4/{name}", place)
    assert files.absolute(place).read_bytes() == CONTENT
    assert _below(files, "incoming") == []


@pytest.mark.parametrize(
    ("durability", "begun_at"), [("fsync", [0, 5 << 16]), ("os", [])], ids=["fsync", "os"]
)
def test_the_disk_begins_with_what_is_large_while_the_rest_comes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durability: Durability,
    begun_at: list[int],
) -> None:
    """Not with each piece: the disk is told of each by a call that takes as long as the write."""
    begun: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _file, start, *_rest: begun.append(start))
    with InstanceFiles(tmp_path / "data", durability).open_incoming() as incoming:
        incoming.write(bytes(1 << 16))
        incoming.write(bytes(1 << 18))
        for _ in range(4):
            incoming.write(bytes(1 << 16))
    assert begun == begun_at


def test_a_kept_file_is_never_overwritten(files: InstanceFiles) -> None:
    """So a receiver can discard its copy of a duplicate without losing the first."""
    first, second, third = _kept(files), _kept(files), _kept(files)
    assert len({first, second, third}) == 3
    files.discard(second)
    files.discard(third)
    assert files.absolute(first).read_bytes() == CONTENT


def test_what_is_not_kept_is_gone(files: InstanceFiles) -> None:
    with files.open_incoming() as incoming:
        incoming.write(CONTENT)
        assert incoming.path.is_relative_to(files.incoming_dir)
    assert _below(files) == []


def test_an_error_while_receiving_leaves_no_file(files: InstanceFiles) -> None:
    def receive_and_fail() -> None:
        with files.open_incoming() as incoming:
            incoming.write(CONTENT)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive_and_fail()
    assert _below(files) == []


def test_files_and_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files = InstanceFiles(tmp_path / "data")
        _kept(files)
        with files.open_incoming() as incoming:
            assert stat.S_IMODE(incoming.path.stat().st_mode) == 0o600
        (files.results_dir(7) / "seg.dcm").touch(0o600)
    finally:
        os.umask(old)
    found = [files.data_dir, *files.data_dir.rglob("*")]
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in found}
    assert modes == {True: 0o700, False: 0o600}


def test_a_full_disk_is_out_of_space_and_leaves_no_file(files: InstanceFiles) -> None:
    def fill() -> None:
        with files.open_incoming() as incoming:
            with Path("/dev/full").open("wb") as full:
                os.dup2(full.fileno(), incoming.descriptor)
            incoming.write(CONTENT)

    with pytest.raises(OutOfSpace):
        fill()
    assert _below(files) == []


def test_what_a_write_leaves_over_is_written_by_the_next(files: InstanceFiles) -> None:
    """A pipe takes only what it has room for."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 16)
    with files.open_incoming() as incoming:
        os.dup2(writing, incoming.descriptor)
        with pytest.raises(BlockingIOError):
            incoming.write(memoryview(bytes(room + 1)))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == room


@pytest.mark.parametrize(("durability", "told"), [("fsync", ["meanwhile"]), ("os", [])])
def test_while_the_disk_works_and_only_then_something_else_is_done(
    tmp_path: Path, durability: Durability, told: list[str]
) -> None:
    heard: list[str] = []
    with InstanceFiles(tmp_path / "data", durability).open_incoming() as incoming:
        incoming.write(CONTENT)
        incoming.keep(*UIDS, meanwhile=lambda: heard.append("meanwhile"))
    assert heard == told


def test_a_spare_file_becomes_the_next_instance(files: InstanceFiles) -> None:
    spare = SpareFile(files)
    spare.prepare()
    (waiting,) = _below(files, "incoming")
    with files.open_incoming(spare) as incoming:
        assert incoming.path == waiting
        incoming.write(CONTENT)
        place = incoming.keep(*UIDS)
    assert files.absolute(place).read_bytes() == CONTENT
    assert _below(files, "incoming") == []


def test_a_spare_file_that_nobody_took_is_gone(files: InstanceFiles) -> None:
    spare = SpareFile(files)
    spare.prepare()
    spare.prepare()
    assert len(_below(files, "incoming")) == 1
    spare.close()
    assert _below(files, "incoming") == []
    with files.open_incoming(spare) as incoming:
        incoming.write(CONTENT)


def test_a_spare_file_that_cannot_be_closed_stops_nobody(files: InstanceFiles) -> None:
    spare = SpareFile(files)
    spare.prepare()
    (waiting,) = _below(files, "incoming")
    open_files = (path for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    os.close(next(int(path.name) for path in open_files if path.resolve() == waiting))
    spare.close()
    assert _below(files, "incoming") == []


def test_a_spare_file_that_a_sweep_may_have_met_is_not_used(files: InstanceFiles) -> None:
    clock = iter((0.0, 3600.0))
    spare = SpareFile(files, clock.__next__)
    spare.prepare()
    (waiting,) = _below(files, "incoming")
    waiting.unlink()
    with files.open_incoming(spare) as incoming:
        incoming.write(CONTENT)
        place = incoming.keep(*UIDS)
    assert files.absolute(place).read_bytes() == CONTENT


def test_other_failures_name_no_path(files: InstanceFiles) -> None:
    def lose_the_file() -> None:
        with files.open_incoming() as incoming:
            incoming.path.unlink()
            incoming.keep(*UIDS)

    with pytest.raises(StorageError, match="ENOENT") as caught:
        lose_the_file()
    assert "1.2.3" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert _below(files) == []


def test_a_file_is_kept_although_its_folder_was_just_swept(files: InstanceFiles) -> None:
    """The sweep of old studies takes empty folders away, also such as are in use."""
    first = _kept(files)
    files.sync_folders([first])
    files.discard(first)
    files.absolute(first).parent.rmdir()
    files.absolute(first).parent.parent.rmdir()
    second = _kept(files)
    files.sync_folders([second])
    assert files.absolute(second).read_bytes() == CONTENT


def test_leftovers_of_a_crash_are_swept_and_files_in_progress_are_not(
    files: InstanceFiles,
) -> None:
    leftover = files.incoming_dir / "leftover.part"
    leftover.write_bytes(CONTENT)
    _age(leftover, hours=2)
    with files.open_incoming() as incoming:
        assert files.sweep_incoming(datetime.now(UTC) - timedelta(hours=1)) == 1
        assert incoming.path.exists()
    assert not leftover.exists()


def test_discarding_twice_is_fine(files: InstanceFiles) -> None:
    place = _kept(files)
    files.discard(place)
    files.discard(place)
    assert not files.absolute(place).exists()


def test_free_space_is_compared_with_the_limit(files: InstanceFiles) -> None:
    free_mib = files.free_mib()
    assert free_mib > 0
    assert not files.is_low(0)
    assert files.is_low(2**40)


@given(hostile, hostile, hostile)
def test_no_text_makes_a_path_outside_of_the_data_dir(study: str, series: str, sop: str) -> None:
    with TemporaryDirectory() as folder:
        files = InstanceFiles(Path(folder) / "data")
        with suppress(StorageError), files.open_incoming() as incoming:
            incoming.write(b"x")
            incoming.keep(study, series, sop)
        entries = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
        assert all(path.parts[:2] == ("data", "instances") for path in entries)
        assert {path.name for path in Path(folder).iterdir()} == {"data"}


@given(hostile)
def test_no_stored_path_leads_out_of_the_data_dir(text: str) -> None:
    with TemporaryDirectory() as folder:
        files = InstanceFiles(Path(folder))
        with suppress(StorageError):
            path = files.absolute(text)
            assert Path(os.path.normpath(path)).is_relative_to(files.data_dir)


@given(uids)
def test_every_uid_is_taken_as_it_is(uid: str) -> None:
    assert validated_uid(uid) == uid


@pytest.mark.parametrize(
    "uid", ["", ".", "1.", ".1", "1..2", "1.2 ", "1.2\n", "1.a", "1/2", "١.٢", "1" * 65]
)
def test_what_is_no_uid_is_refused_without_being_repeated(uid: str) -> None:
    with pytest.raises(InvalidUid) as caught:
        validated_uid(uid)
    assert len(uid) < 3 or uid not in str(caught.value)


@given(st.text())
def test_a_uid_tag_is_short_and_always_the_same(uid: str) -> None:
    tag = uid_tag(uid)
    assert len(tag) == 12
    assert set(tag) <= set("0123456789abcdef")
    assert tag == uid_tag(uid)
