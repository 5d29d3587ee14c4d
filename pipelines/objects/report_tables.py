"""The tables of the report page: facts in pairs, series, and measurements with their trend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, Table, TableStyle

from pipelines.objects.key_images import LegendEntry
from pipelines.objects.report_facts import Fact
from pipelines.objects.report_fonts import BOLD, REGULAR, Letters
from storage.prior_records import PriorResult
from storage.quantities import with_unit
from storage.records import MeasurementRecord
from storage.trend import TrendPoint, change_text, iso_date, trend

INK = HexColor("#1b2530")
FAINT = HexColor("#5b6875")
LINE = HexColor("#c9d1d9")
HEAD = HexColor("#eef2f6")
SHOWN_PRIORS = 3
"""So many of the latest earlier studies have a column; more do not fit."""

BODY = ParagraphStyle("body", fontName=REGULAR, fontSize=9, leading=11.5, textColor=INK)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=10, spaceBefore=3, textColor=FAINT)
NUMBER = ParagraphStyle("number", parent=BODY, alignment=2)
NUMBER_HEAD = ParagraphStyle("number head", parent=NUMBER, fontName=BOLD)
SECTION = ParagraphStyle(
    "section", parent=BODY, fontName=BOLD, fontSize=10.5, leading=13, spaceBefore=9, spaceAfter=3
)
LONGEST = 300
"""So many characters of a text are shown; headers can break every limit of the standard."""

_MANY_ROWS = 24
"""From here on rows are set smaller, so that a hundred structures take three pages at most."""

_DENSE = ParagraphStyle("dense", parent=BODY, fontSize=7.5, leading=9)
_DENSE_NUMBER = ParagraphStyle("dense number", parent=_DENSE, alignment=2)
_DENSE_PADDING = [("TOPPADDING", (0, 1), (-1, -1), 0.4), ("BOTTOMPADDING", (0, 1), (-1, -1), 1.2)]
_PADDING = [
    ("TOPPADDING", (0, 0), (-1, -1), 2.2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]
_GRID = [
    *_PADDING,
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
    ("BACKGROUND", (0, 0), (-1, 0), HEAD),
    ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
]


@dataclass(frozen=True, slots=True)
class Tables:
    """Makes tables of one width, in points."""

    letters: Letters
    width: float

    def facts(self, facts: Sequence[Fact], width: float | None = None) -> Table:
        """Lay out pairs, the label left of the text."""
        rows = [[self._text(label, SMALL), self._text(text, BODY)] for label, text in facts]
        label_width = 62.0
        widths = [label_width, (width or self.width) - label_width]
        flush = [("LEFTPADDING", (0, 0), (0, -1), 0)]
        return Table(rows, colWidths=widths, style=TableStyle([*_PADDING, *flush]))

    def beside(self, left: Sequence[Fact], right: Sequence[Fact]) -> Table:
        """Lay out two lists of facts side by side."""
        half = self.width / 2 - 4
        halves = [[self.facts(left, half), self.facts(right, half)]]
        flush = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
        return Table(halves, colWidths=[half + 8, half], style=TableStyle(flush))

    def series(self, rows: Sequence[Sequence[str]]) -> Table:
        """List the series that were analysed."""
        head = ("Input", "Modality", "Series", "Description", "Slices", "Spacing (mm)")
        shares = (0.12, 0.1, 0.09, 0.37, 0.09, 0.23)
        cells = [
            [self._text(one, BODY, is_bold=True) for one in head],
            *([self._text(one, BODY) for one in row] for row in rows),
        ]
        widths = [self.width * share for share in shares]
        return Table(cells, colWidths=widths, style=TableStyle(_GRID), repeatRows=1)

    def measurements(
        self,
        measurements: Sequence[MeasurementRecord],
        priors: Sequence[PriorResult],
        legend: Sequence[LegendEntry],
    ) -> Table:
        """List every quantity, its earlier values, oldest first, and the change since the last."""
        shown = priors[-SHOWN_PRIORS:]
        colours = {entry.number: entry.colour for entry in legend}
        head = ["", "Structure", "Quantity", *(iso_date(one.study_date) for one in shown), "Now"]
        head += ["Change"] if shown else []
        cells: list[list[Any]] = [
            ["", *(self._head(text, place) for place, text in enumerate(head[1:]))]
        ]
        is_dense = len(measurements) > _MANY_ROWS
        styles = (_DENSE, _DENSE_NUMBER) if is_dense else (BODY, NUMBER)
        cells += [self._row(each, shown, *styles) for each in measurements]
        style = [*_GRID, *(_DENSE_PADDING if is_dense else ()), *_swatches(measurements, colours)]
        return Table(cells, colWidths=self._widths(len(shown)), style=style, repeatRows=1)

    def _head(self, text: str, place: int) -> Paragraph:
        return self._text(text, BODY if place < 2 else NUMBER_HEAD, is_bold=True)

    def _row(
        self,
        measurement: MeasurementRecord,
        priors: Sequence[PriorResult],
        body: ParagraphStyle,
        number: ParagraphStyle,
    ) -> list[Any]:
        points = trend(measurement, priors)
        unit = measurement.unit.value
        now = with_unit(f"{measurement.value:.2f}", unit) if measurement.has_value else "not found"
        numbers = [*(_earlier(point, unit) for point in points), now]
        numbers += [change_text(points[-1]) or "-"] if points else []
        structure = self._text(measurement.structure, body)
        quantity = self._text(measurement.quantity.meaning, body)
        return ["", structure, quantity, *(self._text(one, number) for one in numbers)]

    def _widths(self, priors: int) -> list[float]:
        swatch, number = 12.0, 66.0
        change = 52.0 if priors else 0.0
        free = self.width - swatch - number * (priors + 1) - change
        widths = [swatch, free * 0.66, free * 0.34, *([number] * (priors + 1))]
        return [*widths, change] if priors else widths

    def _text(self, text: str, style: ParagraphStyle, *, is_bold: bool = False) -> Paragraph:
        return Paragraph(self.letters.marked_up(shortened(text), is_bold=is_bold), style)


def shortened(text: str, most: int = LONGEST) -> str:
    """Give the text, cut to `most` characters; a cell higher than a page could not be set."""
    return text if len(text) <= most else f"{text[:most]}..."


def _earlier(point: TrendPoint, unit: str) -> str:
    if not point.was_measured:
        return "-"
    return "not found" if point.value is None else with_unit(f"{point.value:.2f}", unit)


def _swatches(
    measurements: Sequence[MeasurementRecord], colours: Mapping[int, tuple[int, int, int]]
) -> list[Any]:
    """Colour the first cell of each row as the structure is drawn in the images."""
    made: list[Any] = []
    for row, each in enumerate(measurements, start=1):
        colour = colours.get(each.segment_number or 0)
        if colour is not None:
            red, green, blue = (part / 255 for part in colour)
            made.append(("BACKGROUND", (0, row), (0, row), Color(red, green, blue)))
    return made
