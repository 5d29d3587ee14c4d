"""Models that come as one file: unpacked once, and not at all when they could do harm."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines.bundle_archive
from pipelines.bundle_archive import unpacked
from pipelines.errors import InvalidBundle
from pipelines.model_place import model_dir
from pipelines.model_source import model_files
from tests.unit.pipelines.threshold_bundle import write_bundle


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                archive.write(one, prefix + one.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("prefix", ["", "two_levels/"])
def test_a_zipped_bundle_is_the_bundle(tmp_path: Path, prefix: str) -> None:
    bundle = write_bundle(tmp_path / "plain" / "two_levels")
    models = tmp_path / "models"
    models.mkdir()
    zipped(bundle, models / "two_levels.zip", prefix)
    found = model_dir(models, "two_levels", tmp_path / "unpacked")
    assert model_files(found) == model_files(bundle)
    assert model_dir(models, "two_levels.zip", tmp_path / "unpacked") == found


def test_an_archive_is_unpacked_once_and_a_changed_one_anew(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    archive = zipped(bundle, tmp_path / "m.zip")
    first = unpacked(archive, tmp_path / "u")
    assert unpacked(archive, tmp_path / "u") == first
    (bundle / "scripts.py").write_text("x = 1")
    assert unpacked(zipped(bundle, tmp_path / "m.zip"), tmp_path / "u") != first


def _member(name: str, kind: int = stat.S_IFREG, content: str = "x") -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, content)
        return path

    return write


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_member("../outside.txt"), id="up"),
        pytest.param(_member("a/../../outside.txt"), id="up-inside"),
        pytest.param(_member("/outside.txt"), id="absolute"),
        pytest.param(_member("C:\\outside.txt"), id="drive"),
        pytest.param(_member("..\\outside.txt"), id="backslash"),
        pytest.param(_member("link", stat.S_IFLNK, "/etc/passwd"), id="link"),
        pytest.param(_member("pipe", stat.S_IFIFO), id="pipe"),
    ],
)
def test_a_member_that_leads_out_is_refused_and_nothing_is_left(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    archive = write(tmp_path / "m.zip")
    with pytest.raises(InvalidBundle, match="not unpacked"):
        unpacked(archive, tmp_path / "in" / "u")
    assert list((tmp_path / "in" / "u").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "m.zip"]


def test_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _member("big", content="0" * 100_000)(tmp_path / "m.zip")
    monkeypatch.setattr(pipelines.bundle_archive, "LARGEST_BYTES", 50_000)
    with pytest.raises(InvalidBundle, match="GiB when unpacked"):
        unpacked(archive, tmp_path / "u")
    monkeypatch.setattr(pipelines.bundle_archive, "LARGEST_BYTES", 1 << 30)
    monkeypatch.setattr(pipelines.bundle_archive, "DENSE_FROM_BYTES", 1000)
    monkeypatch.setattr(pipelines.bundle_archive, "DENSEST", 100)
    with pytest.raises(InvalidBundle, match="grows more than"):
        unpacked(archive, tmp_path / "u")


def test_a_broken_archive_is_told_by_its_name(tmp_path: Path) -> None:
    archive = tmp_path / "m.zip"
    archive.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(InvalidBundle, match=r"m\.zip: cannot be unpacked"):
        unpacked(archive, tmp_path / "u")


def test_a_link_that_leads_out_of_a_bundle_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    (tmp_path / "elsewhere.py").write_text("x = 1")
    (bundle / "scripts.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(InvalidBundle, match="leads out of the bundle"):
        model_files(bundle)
