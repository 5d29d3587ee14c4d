"""Cut the demo's data from the published sets (for maintainers; the results lie in `data/`).

    python -m node.demo.cut_data --brain STUDY_DIR --hippocampus SET_DIR --chest FILE

Every file is copied as it is; what is chosen is said here and nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydicom import Dataset, dcmread

from pipelines.training.datasets import Case, choose, find_cases, split_stems

DATA_DIR = Path(__file__).parent / "data"
CHECKSUMS = "SHA256SUMS"
WHOLE_SERIES = "11_HCropVolume"

LOWEST_MM, HIGHEST_MM = 70.0, 100.0
"""Band along the slice normal that is cut from the whole-head series.

These heads are not defaced. Seen slice by slice, the orbits end at 32 mm and the frontal sinus
at 64 mm; above 70 mm there is nothing but skull and brain, and no face can be rendered from it.
"""

CASE_COUNT = 4
"""The first held-out cases in the order of the split, so that nobody picked the good ones."""


def position_mm(header: Dataset) -> float:
    """Return where a slice lies along its own normal, in mm (PS3.3 C.7.6.2.1.1)."""
    row, column = np.reshape(np.array(header.ImageOrientationPatient, dtype=float), (2, 3))
    return float(np.cross(row, column) @ np.array(header.ImagePositionPatient, dtype=float))


def cut_brain(study_dir: Path, target: Path) -> None:
    """Copy the crop series whole, and of the others only the slices in the faceless band."""
    for series_dir in sorted(path for path in study_dir.iterdir() if path.is_dir()):
        for path in sorted(series_dir.glob("*.dcm")):
            height = position_mm(dcmread(path, stop_before_pixels=True))
            if series_dir.name == WHOLE_SERIES or LOWEST_MM <= height <= HIGHEST_MM:
                _copy(path, target / series_dir.name / path.name)


def cut_hippocampus(set_dir: Path, target: Path) -> None:
    """Copy image and label of the first held-out cases."""
    for case in _first_held_out(set_dir):
        _copy(case.image_path, target / "images" / case.image_path.name)
        _copy(case.label_path, target / "labels" / case.label_path.name)


def write_checksums(data_dir: Path) -> None:
    """List the SHA-256 of every data file, as `sha256sum --check` reads it."""
    lines = [f"{digest}  {name}\n" for name, digest in checksums(data_dir)]
    (data_dir / CHECKSUMS).write_text("".join(lines))


def checksums(data_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the SHA-256 of every data file, in order."""
    for path in sorted(data_dir.rglob("*")):
        if path.name.endswith((".dcm", ".nii.gz")):
            yield path.relative_to(data_dir).as_posix(), sha256(path.read_bytes()).hexdigest()


def _first_held_out(set_dir: Path) -> list[Case]:
    cases = find_cases(set_dir)
    held_out = split_stems(case.stem for case in cases).held_out
    return choose(cases, held_out[:CASE_COUNT])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def main(
    brain: Annotated[Path, typer.Option(help="the brain MR study, one folder a series")],
    hippocampus: Annotated[Path, typer.Option(help="the set with images/ and labels/")],
    chest: Annotated[Path, typer.Option(help="one axial chest CT image")],
) -> None:
    """Replace the data files in `data/`; notes and licences beside them stay."""
    for name, _ in list(checksums(DATA_DIR)):
        (DATA_DIR / name).unlink()
    cut_brain(brain, DATA_DIR / "pgbm")
    cut_hippocampus(hippocampus, DATA_DIR / "hippocampus")
    _copy(chest, DATA_DIR / "chest_ct" / "axial" / chest.name)
    write_checksums(DATA_DIR)


if __name__ == "__main__":
    typer.run(main)
