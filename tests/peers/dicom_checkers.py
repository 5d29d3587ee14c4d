"""Independent programs that judge SEG and SR: dicom3tools, DCMTK and dcmqi.

Each function runs one program on files and gives its messages, less those known to be false
alarms. None of them shares code with what wrote the files.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

TIMEOUT_S = 120
_TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """A message that does not count: by which program, how to recognise it, and why."""

    program: str
    pattern: str
    reason: str


FALSE_ALARMS = (
    FalseAlarm(
        "dciodvfy",
        r"^(Segmentation|Comprehensive3DSR|EncapsulatedPDF|SCImage|KeyObjectSelectionDocument"
        r"|GrayscaleSoftcopyPresentationState)$",
        "the name of the IOD that it recognised, not a message",
    ),
    FalseAlarm(
        "dciodvfy",
        r"^Warning .*ContributingEquipmentSequence.*DeviceUID.*not present in standard DICOM IOD",
        "its tables are of 2022; SOP Common has had Device UID in this item since",
    ),
    FalseAlarm(
        "dciodvfy",
        r"Missing attribute or value that would be needed to build DICOMDIR",
        "Type 2, and unknown in the source too; no medium is written",
    ),
    FalseAlarm(
        "dciodvfy",
        r"^Warning - </Laterality\(0020,0060\)> - is only permitted to be empty when actually unk",
        "it is unknown: the source names no part of the body",
    ),
    FalseAlarm(
        "dciodvfy",
        r"^Warning - </PatientName.* - Retired Person Name form",
        "the name of the source, which is carried over as it is",
    ),
    FalseAlarm(
        "dcmpschk",
        r"^W: (Testing: .*|Test passed\.)$",
        "what it does, and that it found nothing",
    ),
    FalseAlarm(
        "dcentvfy",
        r"Different information entities for attribute",
        "its own dictionary files Accession Number under two entities",
    ),
    FalseAlarm(
        "dsrdump|tid1500reader",
        r"VR checker does not support this Specific Character Set: ISO_IR 192",
        "DCMTK 3.6 does not check values in UTF-8",
    ),
    FalseAlarm(
        "dsrdump",
        r"^W: Check for template constraints not yet supported$",
        "it knows no template of a Key Object Selection; dciodvfy and PixelMed do",
    ),
)


class CheckerFailed(Exception):
    """A program did not finish its work; the text is what it said."""


@dataclass(frozen=True, slots=True)
class SegmentImage:
    """An image that dcmqi made from a segment: values [k, j, i] and where they lie.

    `affine_lps` takes (i, j, k, 1) to LPS mm. Values are 0 and one other: the label, or what a
    FRACTIONAL SEG calls all.
    """

    values: NDArray[Any]
    affine_lps: NDArray[np.float64]

    def positions(self) -> NDArray[np.float64]:
        """Give the LPS positions of all voxels of the segment, (n, 3)."""
        k, j, i = np.nonzero(self.values)
        indices = np.stack([i, j, k, np.ones_like(i)], axis=1).astype(np.float64)
        positions: NDArray[np.float64] = (indices @ self.affine_lps.T)[:, :3]
        return positions


def dciodvfy(path: Path) -> tuple[str, ...]:
    """Check a file against its IOD: modules, types, conditions, functional groups."""
    _, out, err = _run(["dciodvfy", "-new", str(path)])
    return _counting("dciodvfy", out + err)


def dcentvfy(paths: Iterable[Path]) -> tuple[str, ...]:
    """Check that instances of a study agree on patient, study and series attributes."""
    _, out, err = _run(["dcentvfy", *map(str, paths)])
    return _counting("dcentvfy", out + err)


def inflated(path: Path, folder: Path) -> Path:
    """Give a deflated file as DCMTK inflates it, for programs that cannot; others as they are."""
    if read_file_meta_info(path).TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return path
    target = folder / f"inflated-{path.name}"
    code, _, err = _run(["dcmconv", "+te", str(path), str(target)])
    if code:
        raise CheckerFailed(f"dcmconv ended with {code}: {err[-300:]}")
    return target


def dsrdump(path: Path) -> tuple[str, tuple[str, ...]]:
    """Read an SR with DCMTK; gives the tree as text, and the messages."""
    code, out, err = _run(["dsrdump", "+Pc", "+Pl", str(path)])
    messages = _counting("dsrdump", err)
    return out, messages if code == 0 else (*messages, f"dsrdump ended with {code}")


def dcmpschk(path: Path, folder: Path) -> tuple[str, ...]:
    """Check a presentation state with DCMTK: its classes read it, and its values are valid.

    It cannot check values in UTF-8, and gets a copy in `folder` with a ? for each other sign.
    """
    plain = dcmread(path)
    for element in plain.iterall():
        if element.VR in _TEXTS and element.value:
            element.value = str(element.value).encode("ascii", "replace").decode()
    plain.SpecificCharacterSet = "ISO_IR 100"
    copy = folder / f"ascii-{path.name}"
    plain.save_as(copy)
    _, out, err = _run(["dcmpschk", str(copy)])
    return _counting("dcmpschk", out + err)


def dcmp2pgm(state: Path, image: Path, folder: Path) -> NDArray[np.uint8]:
    """Show an image as a presentation state says, with DCMTK: grey values [row, column]."""
    picture = folder / f"{image.stem}.pgm"
    code, _, err = _run(["dcmp2pgm", "-p", str(state), str(image), str(picture)])
    if code or err.strip():
        raise CheckerFailed(f"dcmp2pgm ended with {code}: {err[-300:]}")
    return np.asarray(Image.open(picture), dtype=np.uint8)


def segimage2itkimage(path: Path, folder: Path) -> dict[int, tuple[SegmentImage, dict[str, Any]]]:
    """Turn a SEG into an image and a description for each segment number."""
    folder.mkdir(parents=True, exist_ok=True)
    _dcmqi(
        "segimage2itkimage",
        *("--inputDICOM", str(path), "--outputDirectory", str(folder), "--outputType", "nrrd"),
    )
    (description,) = folder.glob("*.json")
    groups = json.loads(description.read_text())["segmentAttributes"]
    return {
        segment["labelID"]: (
            _of_segment(folder / f"{file}.nrrd", segment["labelID"], group),
            segment,
        )
        for file, group in enumerate(groups, 1)
        for segment in group
    }


def _of_segment(path: Path, label: int, group: list[dict[str, Any]]) -> SegmentImage:
    """Give one segment of an image, which holds several where the SEG is a LABELMAP."""
    image = read_nrrd(path)
    is_alone = len(group) == 1
    return image if is_alone else SegmentImage(image.values == label, image.affine_lps)


def tid1500reader(path: Path, folder: Path) -> dict[str, Any]:
    """Read a TID 1500 report into the structure of dcmqi's JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "report.json"
    _dcmqi("tid1500reader", "--inputDICOM", str(path), "--outputMetadata", str(target))
    content: dict[str, Any] = json.loads(target.read_text())
    return content


def read_nrrd(path: Path) -> SegmentImage:
    """Read the part of NRRD that dcmqi writes: LPS space, raw or gzip, small integers."""
    header, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(
        line.split(": ", 1) for line in header.decode("ascii").splitlines() if ": " in line
    )
    if fields["space"] != "left-posterior-superior":
        raise CheckerFailed(f"unexpected space {fields['space']}")
    sizes = [int(size) for size in fields["sizes"].split()]
    kinds = {"short": "<i2", "unsigned char": "u1", "unsigned short": "<u2", "int": "<i4"}
    raw = gzip.decompress(data) if fields["encoding"] == "gzip" else data
    values = np.frombuffer(raw, dtype=kinds[fields["type"]]).reshape(sizes[::-1])
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(_vectors(fields["space directions"])).T
    affine[:3, 3] = _vectors(fields["space origin"])[0]
    return SegmentImage(values, affine)


def _vectors(text: str) -> list[list[float]]:
    return [[float(part) for part in group.split(",")] for group in re.findall(r"\((.*?)\)", text)]


def _dcmqi(program: str, *arguments: str) -> None:
    code, out, err = _run([str(Path(sys.executable).parent / program), *arguments])
    errors = [line for line in (out + err).splitlines() if re.match(r"(E|F):|ERROR|Error", line)]
    if code or errors:
        raise CheckerFailed(f"{program} ended with {code}: {errors or err[-300:]}")


def _run(command: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


def _counting(program: str, output: str) -> tuple[str, ...]:
    lines = (line.strip() for line in output.splitlines())
    return tuple(line for line in lines if line and not _is_false_alarm(program, line))


def _is_false_alarm(program: str, line: str) -> bool:
    return any(
        re.fullmatch(alarm.program, program) and re.search(alarm.pattern, line)
        for alarm in FALSE_ALARMS
    )
