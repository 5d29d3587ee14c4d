"""Models that come as one file: unpacked once, and not at all when they could do harm."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import pipelines.bundle_archive
from pipelines.bundle_archive import unpacked
from pipelines.bundle_files import bundle_metadata
from pipelines.bundle_weights import load_weights
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


@pytest.mark.parametrize("prefix", ["", "two_levels/", "zoo-main/models/two_levels/"])
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


def test_a_bundle_is_found_beside_other_files_and_several_are_told(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels")
    archive = zipped(bundle, tmp_path / "m.zip", "zoo/two_levels/")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("README.md", "one model")
    assert model_files(unpacked(archive, tmp_path / "u")) == model_files(bundle)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("zoo/other/configs/metadata.json", "{}")
    with pytest.raises(InvalidBundle, match=r"several bundles \(zoo/other, zoo/two_levels\)"):
        unpacked(archive, tmp_path / "u")


def test_a_bundle_one_folder_too_deep_is_told_where_it_lies(tmp_path: Path) -> None:
    write_bundle(tmp_path / "outer" / "two_levels")
    with pytest.raises(InvalidBundle, match="but in two_levels; move that folder up"):
        bundle_metadata(tmp_path / "outer")


def test_weights_that_were_never_fetched_are_told_with_the_way_to_them(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "two_levels", weights="model.pt")
    path = bundle / "models" / "model.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InvalidBundle, match="git lfs pull"):
        load_weights(torch.nn.Conv3d(1, 1, 1), path)
    path.rename(bundle / "models" / "readme.txt")
    (bundle / "large_files.yml").write_text("large_files: []")
    with pytest.raises(InvalidBundle, match=r"but readme\.txt; fetch what large_files\.yml lists"):
        model_files(bundle)


def test_a_whole_network_in_a_pickle_is_refused_without_bad_advice(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv3d(1, 1, 1), tmp_path / "model.pt")
    with pytest.raises(InvalidBundle, match="could run code when it is read") as told:
        load_weights(torch.nn.Conv3d(1, 1, 1), tmp_path / "model.pt")
    assert "weights_only" not in str(told.value)


def test_metadata_saved_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "two_levels") / "configs" / "metadata.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert bundle_metadata(tmp_path / "two_levels").name == "Two levels"
