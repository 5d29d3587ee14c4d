"""From which side a projection (CR, DX, MG) was taken, and how it lies, told by its header.

The view stands in one of four places, and many devices fill one of them only: View Code Sequence,
View Position, Patient Orientation, a description. The first that tells decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values


class View(StrEnum):
    """A view by the name that a definition gives it; the last four are of mammography."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    CRANIO_CAUDAL = "cc"
    MEDIO_LATERAL_OBLIQUE = "mlo"
    MEDIO_LATERAL = "ml"
    LATERO_MEDIAL = "lm"


CODES: Mapping[View, tuple[str, ...]] = {
    View.FRONTAL: ("399348003", "272479007", "399033003"),
    View.LATERAL: ("399067008", "399173006", "399198007"),
    View.CRANIO_CAUDAL: ("399162004",),
    View.MEDIO_LATERAL_OBLIQUE: ("399368009",),
    View.MEDIO_LATERAL: ("399260004",),
    View.LATERO_MEDIAL: ("399352003",),
}
"""SNOMED CT codes of View Code Sequence (CID 4010, CID 4014)."""

POSTERO_ANTERIOR = "R-10214"  # of SNOMED RT, which pydicom does not translate

POSITIONS: Mapping[View, frozenset[str]] = {
    View.FRONTAL: frozenset({"AP", "PA", "FRONTAL"}),
    View.LATERAL: frozenset({"LL", "RL", "LAT", "LATERAL"}),
    View.CRANIO_CAUDAL: frozenset({"CC"}),
    View.MEDIO_LATERAL_OBLIQUE: frozenset({"MLO"}),
    View.MEDIO_LATERAL: frozenset({"ML"}),
    View.LATERO_MEDIAL: frozenset({"LM"}),
}
"""Values of View Position (0018,5101)."""

DESCRIPTIONS: Mapping[View, re.Pattern[str]] = {
    View.FRONTAL: re.compile(r"(?i)(?<![a-z])(a\.?p|p\.?a|frontal)(?![a-z])"),
    View.LATERAL: re.compile(r"(?i)(?<![a-z])(lat|lateral)(?![a-z])"),
}
DESCRIBED_BY = ("AcquisitionDeviceProcessingDescription", "SeriesDescription")
BREAST = "MG"
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


class Side(StrEnum):
    """Which of a pair a projection shows, as its header says it."""

    RIGHT = "R"
    LEFT = "L"
    BOTH = "B"
    UNSTATED = ""
    CONTRADICTORY = "?"


LATERALITIES = ("ImageLaterality", "FrameLaterality", "Laterality")


def side_of(header: Dataset) -> Side:
    """The side by Image Laterality (0020,0062), Frame Laterality or Laterality (0020,0060).

    Two that contradict each other tell nothing: one of them was typed in error.
    """
    stated = (
        "".join(map(str, _values(header, keyword))).strip().upper() for keyword in LATERALITIES
    )
    told = {value for value in stated if value in ("R", "L", "B")}
    if len(told) > 1:
        return Side.CONTRADICTORY
    return Side(told.pop()) if told else Side.UNSTATED


def modifiers_of(header: Dataset) -> tuple[str, ...]:
    """What is said to be particular about the view (View Modifier Code Sequence (0054,0222)).

    Spot compression, magnification, implant displaced and the like, by the codes' values.
    """
    return tuple(
        str(modifier.get("CodeValue") or "without a code")
        for item in _items(header, "ViewCodeSequence")
        for modifier in _items(item, "ViewModifierCodeSequence")
    )


def _items(header: Dataset, keyword: str) -> Iterator[Dataset]:
    found = header.get(keyword)
    for item in found if isinstance(found, Sequence) and not isinstance(found, str) else ():
        if isinstance(item, Dataset):
            yield item


def view_of(header: Dataset) -> View | None:
    """The view, None when nothing in the header tells it, or its words contradict each other."""
    told = (_by_code, _by_position, _by_orientation, _by_description)
    return next((view for by in told if (view := by(header)) is not None), None)


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored pixels are turned before a model sees them: transposed first, then flipped.

    It is its own inverse in the reverse order (`back`).
    """

    transposed: bool = False
    rows_flipped: bool = False
    columns_flipped: bool = False

    def upright(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Stored pixels [row, column] as the model expects them."""
        turned = pixels.T if self.transposed else pixels
        return np.flip(turned, self._axes)

    def back(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """What the model said of upright pixels [row, column], on the stored ones."""
        turned = np.flip(pixels, self._axes)
        return turned.T if self.transposed else turned

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(
            axis for axis, is_so in enumerate((self.rows_flipped, self.columns_flipped)) if is_so
        )


AS_STORED = Turn()


def turn_of(header: Dataset) -> Turn:
    """What brings a frontal or lateral projection upright: head up, a frontal's left on the right.

    By Patient Orientation (0020,0020); as stored where that does not tell, and for a breast.
    """
    directions = _directions(header)
    if directions is None or _modality(header) == BREAST:
        return AS_STORED
    row, column = directions
    transposed = row in "HF"
    across, down = (column, row) if transposed else (row, column)
    if down not in "HF":
        return AS_STORED
    return Turn(transposed, rows_flipped=down == "H", columns_flipped=across == "R")


def edge_letters_of(header: Dataset) -> tuple[str, str]:
    """Patient directions at the left and the upper edge of the stored pixels; '' when unknown."""
    directions = _directions(header)
    return (OPPOSITE[directions[0]], OPPOSITE[directions[1]]) if directions else ("", "")


def _directions(header: Dataset) -> tuple[str, str] | None:
    """Main letters of the row's and the column's direction, None where they are not stated."""
    letters = [str(value).strip().upper()[:1] for value in _values(header, "PatientOrientation")]
    if len(letters) != 2 or not all(letter in OPPOSITE for letter in letters):
        return None
    return letters[0], letters[1]


def _by_code(header: Dataset) -> View | None:
    # Here: its tables of codes take a tenth of a second to import, and few headers need them.
    from pydicom.sr.coding import Code

    for item in _items(header, "ViewCodeSequence"):
        found = Code(str(item.get("CodeValue")), str(item.get("CodingSchemeDesignator")), "")
        if found.value == POSTERO_ANTERIOR:
            return View.FRONTAL
        for view, values in CODES.items():
            # pydicom knows which SNOMED RT code is the same as one of SNOMED CT.
            if any(found == Code(value, "SCT", "") for value in values):
                return view
    return None


def _by_position(header: Dataset) -> View | None:
    position = "".join(map(str, _values(header, "ViewPosition"))).strip().upper()
    return next((view for view, names in POSITIONS.items() if position in names), None)


def _by_orientation(header: Dataset) -> View | None:
    directions = _directions(header)
    if directions is None or _modality(header) == BREAST:
        return None
    letters = set(directions)
    if not letters & {"H", "F"}:
        return None
    return View.FRONTAL if letters & {"L", "R"} else View.LATERAL if letters & {"A", "P"} else None


def _by_description(header: Dataset) -> View | None:
    text = " ".join(_texts(header))
    found = [view for view, pattern in DESCRIPTIONS.items() if pattern.search(text)]
    return found[0] if len(found) == 1 and _modality(header) != BREAST else None


def _texts(header: Dataset) -> Iterator[str]:
    for keyword in DESCRIBED_BY:
        yield from map(str, _values(header, keyword))


def _values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    return attribute_values(header, keyword)


def _modality(header: Dataset) -> str:
    return str(header.get("Modality") or "")
