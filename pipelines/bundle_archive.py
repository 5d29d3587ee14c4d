"""A model that comes as one file (.zip, or TorchScript with its configuration inside), unpacked.

The folder is named for the file's digest, so each file is unpacked once and a changed one anew.
An archive is somebody else's: names that lead out of it, links and absurd sizes are refused.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pipelines.bundle_files import bundles_within, file_digest
from pipelines.errors import InvalidBundle

ARCHIVE_SUFFIXES = (".zip", ".ts")
LARGEST_BYTES = 32 << 30
MOST_MEMBERS = 20_000
DENSEST = 1000  # times; weights hardly shrink, so more is an archive made to fill the disk
DENSE_FROM_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
EXTRA = "extra"
ENCRYPTED = 0x1


def unpacked(archive: Path, unpack_dir: Path) -> Path:
    """The folder of the bundle that `archive` holds, unpacked below `unpack_dir` if need be.

    Raises `InvalidBundle` for a file that is no archive, is broken, or must not be unpacked.
    """
    folder = unpack_dir / file_digest(archive)
    if not folder.is_dir():
        _unpack(archive, folder)
    return _root(folder)


def embedded_names(path: Path) -> tuple[str, ...]:
    """Names of the configurations that a TorchScript file brings (`inference.json`); () if none."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = (PurePosixPath(name).parts for name in archive.namelist())
            return tuple(each[2] for each in parts if len(each) == 3 and each[1] == EXTRA)
    except (OSError, zipfile.BadZipFile):
        return ()


def _unpack(archive: Path, folder: Path) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as opened:
            if archive.suffix == ".ts":
                _unpack_torchscript(archive, opened, scratch)
            else:
                _extract(archive, opened, opened.infolist(), scratch)
        scratch.replace(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        text = f"{archive}: cannot be unpacked ({type(error).__name__}); fetch it again"
        raise InvalidBundle(text) from error
    except OSError as error:
        if not folder.is_dir():  # another process may have been first
            text = f"{archive}: cannot be unpacked into {folder.parent}: {error.strerror}"
            raise InvalidBundle(text) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack_torchscript(archive: Path, opened: zipfile.ZipFile, folder: Path) -> None:
    """Lay out what `monai.bundle ckpt_export` put into the file as the bundle it came from."""
    members = [
        info
        for info in opened.infolist()
        if len(PurePosixPath(info.filename).parts) == 3
        and PurePosixPath(info.filename).parts[1] == EXTRA
    ]
    _extract(archive, opened, members, folder)
    (folder / "configs").mkdir()
    (folder / "models").mkdir()
    for info in members:
        path = folder / info.filename
        # MONAI's export leaves out the ending of the configurations, which it writes as JSON.
        name = path.name if path.suffix else f"{path.name}.json"
        path.replace(folder / "configs" / name)
    for left in [path for path in folder.iterdir() if path.name not in ("configs", "models")]:
        shutil.rmtree(left)
    shutil.copyfile(archive, folder / "models" / "model.ts")


def _extract(
    archive: Path, opened: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo], folder: Path
) -> None:
    chosen = [info for info in members if not info.is_dir()]
    if len(chosen) > MOST_MEMBERS:
        raise InvalidBundle(f"{archive}: {len(chosen)} files, at most {MOST_MEMBERS} are unpacked")
    if sum(info.file_size for info in chosen) > LARGEST_BYTES:
        raise InvalidBundle(f"{archive}: more than {LARGEST_BYTES >> 30} GiB when unpacked")
    seen: set[str] = set()
    for info in chosen:
        _refuse_unsafe(archive, info)
        path = folder / info.filename
        if info.filename.lower() in seen:
            raise InvalidBundle(f"{archive}: holds {info.filename} twice")
        seen.add(info.filename.lower())
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(info) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)


def _refuse_unsafe(archive: Path, info: zipfile.ZipInfo) -> None:
    # `orig_filename` is what stands in the file; `filename` is cut at a NUL.
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts or "\0" in name:
        raise InvalidBundle(f"{archive}: a member's name leads out of the archive; not unpacked")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InvalidBundle(f"{archive}: {name} is a link or a device; not unpacked")
    if info.flag_bits & ENCRYPTED:
        raise InvalidBundle(f"{archive}: {name} is encrypted; not unpacked")
    if info.file_size > max(DENSE_FROM_BYTES, DENSEST * info.compress_size):
        raise InvalidBundle(f"{archive}: {name} grows more than {DENSEST} times; not unpacked")


def _root(folder: Path) -> Path:
    """The bundle itself, wherever in the archive it lies, beside whatever."""
    bundles = bundles_within(folder)
    if len(bundles) > 1 and folder not in bundles:
        names = ", ".join(str(one.relative_to(folder)) for one in bundles)
        raise InvalidBundle(f"the archive holds several bundles ({names}); put one into each file")
    if len(bundles) == 1:
        return bundles[0]
    found = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    if len(found) == 1 and found[0].is_dir():
        return found[0]
    return folder
