"""What becomes of every real series: accepted or refused, and how that was judged.

`python -m tests.integration.pipelines_images.data_matrix > docs/data_matrix.md` reads them all and
writes the table; a test reads them again and compares.
"""

from __future__ import annotations

import logging
import sys
import tarfile
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from pipelines.errors import Refused
from pipelines.input_reading import read_input
from pipelines.projection import pixel_spacing_mm
from pipelines.projection_views import view_of
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import SeriesVolume
from tests.integration.pipelines_images.four_roles import four_roles
from tests.integration.pipelines_images.judgement import judged
from tests.integration.pipelines_images.x_ray import wrapped_x_ray
from tests.peers.real_images import FOLDER

_NAMED_LATER = "1.2.840.10008.1.2.8."

FOLDERS = (
    "ct_totalseg",
    "ct_ibsi_sts_dev",
    "ct_covid_ny_sbu",
    "mr_pgbm_dev",
    "hard_dicom2nifti",
    "hard_dcm_qa",
    "hard_pydicom_data",
    "hard_pydicom_tests",
)
LIBERTIES: dict[str, ReadingPolicy] = {
    "allow_derived": ReadingPolicy(allow_derived=True),
    "allow_no_frame_of_reference": ReadingPolicy(allow_no_frame_of_reference=True),
    "allow_no_frame_of_reference, several_volumes: first": ReadingPolicy(
        allow_no_frame_of_reference=True, several_volumes="first"
    ),
    "allow_tilt": ReadingPolicy(allow_tilt=True),
    "allow_no_frame_of_reference, allow_tilt": ReadingPolicy(
        allow_no_frame_of_reference=True, allow_tilt=True
    ),
    "kind: projection": ReadingPolicy(kind="projection"),
}
"""Tried in this order on what is refused without; a definition may take any of them."""

HEADER = """# Real series: accepted or refused

Every series of the real images that the tests use, read as a pipeline reads its input. Written by
`python -m tests.integration.pipelines_images.data_matrix > docs/data_matrix.md`; a test reads all
series again and compares. Without a liberty, a definition says nothing but which series it wants;
where that is refused and a key of the definition would let the series in, the next column says
which, and what then becomes of it. Shapes are slices x rows x columns, spacing is in mm; of a
projection rows x columns, the view, and mm between rows and columns.

| data | images | kind | without a liberty | with | judged by |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class RealSeries:
    """One series of one folder, named by the folder and its first file."""

    name: str
    paths: tuple[Path, ...]


def real_series(scratch: Path) -> Iterator[RealSeries]:
    """Every series; what has to be unpacked or wrapped first lands under `scratch`."""
    for folder in FOLDERS:
        yield from _series_below(FOLDER / folder, FOLDER)
    given = _with_uids(FOLDER / "ct_totalseg" / "example_ct_dicom", scratch / "ct_totalseg")
    yield RealSeries("ct_totalseg/example_ct_dicom, UIDs given", given)
    with tarfile.open(FOLDER / "ct_head_dcm_qa" / "Philips_phantom.tar.xz") as archive:
        archive.extractall(scratch / "ct_head_dcm_qa", filter="data")
    yield from _series_below(scratch / "ct_head_dcm_qa", scratch)
    pictures = sorted((FOLDER / "cxr_hannover" / "images").glob("*.png"))
    x_ray = wrapped_x_ray(pictures[0], scratch / "cxr_hannover" / "wrapped as DX.dcm")
    yield RealSeries("cxr_hannover, wrapped as DX", (x_ray,))


def _with_uids(folder: Path, to: Path) -> tuple[Path, ...]:
    """The images with the UIDs that an anonymiser had emptied."""
    to.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        image = dcmread(path)
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.41", "2.25.42"
        image.save_as(to / path.name)
    return tuple(sorted(to.iterdir()))


def _series_below(folder: Path, root: Path) -> Iterator[RealSeries]:
    found: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        except (InvalidDicomError, OSError, ValueError, TypeError, EOFError):
            continue  # not DICOM, or not readable: nothing that a node could have kept
        found[path.parent, str(header.get("SeriesInstanceUID") or "")].append(path)
    alone: dict[Path, int] = defaultdict(int)
    for parent, _ in found:
        alone[parent] += 1
    for (parent, _), paths in found.items():
        place = parent if alone[parent] == 1 else paths[0]
        yield RealSeries(place.relative_to(root).as_posix(), tuple(paths))


def outcome(series: RealSeries, policy: ReadingPolicy) -> SeriesVolume | Refused:
    """The volume, or the refusal; any other error is a fault of ours."""
    try:
        return read_input(series.paths, policy)
    except Refused as refused:
        return refused


def row(series: RealSeries) -> str:
    """One line of the table."""
    strict = outcome(series, ReadingPolicy())
    told, freely = "", strict
    if isinstance(strict, Refused):
        told, freely = _with_a_liberty(series, strict)
    verdict = judged(series.name, series.paths, strict, freely)
    cells = (series.name, len(series.paths), _kind(series.paths), _told(strict), told, verdict)
    return f"| {' | '.join(map(str, cells))} |"


def _with_a_liberty(series: RealSeries, strict: Refused) -> tuple[str, SeriesVolume | Refused]:
    for name, policy in LIBERTIES.items():
        freely = outcome(series, policy)
        if isinstance(freely, SeriesVolume):
            return f"{name}: {_told(freely)}", freely
    return "", strict


def _kind(paths: Sequence[Path]) -> str:
    header = dcmread(paths[0], stop_before_pixels=True)
    meta = header.file_meta.get("TransferSyntaxUID")
    syntax = _syntax_name(meta) if meta else "no transfer syntax"
    enhanced = "enhanced " if "Enhanced" in UID(str(header.get("SOPClassUID") or "")).name else ""
    return f"{enhanced}{header.get('Modality') or '?'}, {syntax}"


def _syntax_name(uid: UID) -> str:
    # Libraries teach pydicom the names of newer ones when they are imported: those stay numbers.
    name = str(uid) if str(uid).startswith(_NAMED_LATER) else uid.name
    return name.split(",")[0].split("(")[0].strip()


def _told(found: SeriesVolume | Refused) -> str:
    if isinstance(found, Refused):
        return f"`{found.code}`: {found.text}"
    if found.is_projection:
        stated = pixel_spacing_mm(found.source.first)
        mm = " x ".join(f"{edge:.3g}" for edge in stated) if stated else "spacing not stated"
        view = view_of(found.source.first) or "view not stated"
        return f"**accepted**: {' x '.join(map(str, found.voxels.shape[1:]))}, {view}, {mm}"
    shape = " x ".join(map(str, found.voxels.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in found.spacing_mm)
    tilt = f", tilted {found.geometry.tilt_degrees:.1f}°" if found.geometry.is_tilted else ""
    return f"**accepted**: {shape}, {found.orientation}{tilt}, {spacing}"


def four_roles_row() -> str:
    """One study, the four inputs of a tumour model chosen by their headers."""
    volumes = four_roles()
    shape = " x ".join(map(str, next(iter(volumes.values())).voxels.shape))
    told = f"**accepted**: {', '.join(volumes)} on one grid, {shape}"
    verdict = "each series is the one that the folder's name says; the fifth, a crop, is left"
    return f"| mr_pgbm_dev/Study3, four roles | 88 | MR | {told} |  | {verdict} |"


def table() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = [row(series) for series in real_series(Path(scratch))]
        lines.append(four_roles_row())
    return HEADER + "\n".join(lines) + "\n"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.stdout.write(table())
