"""The report as a PDF of one or two pages, for people who see neither SEG nor SR.

The same request gives the same bytes: no clock, no random file identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from pipelines.objects.identity import Origin
from pipelines.objects.key_images import KeyImages
from pipelines.objects.report_evaluations import NOT_REVIEWED
from pipelines.objects.report_facts import (
    NOT_STATED,
    model_facts,
    patient_facts,
    series_facts,
    study_facts,
)
from pipelines.objects.report_fonts import BOLD, CLOSING, OPENING, REGULAR, Letters
from pipelines.objects.report_tables import (
    BODY,
    FAINT,
    SECTION,
    SHOWN_PRIORS,
    SMALL,
    Tables,
    shortened,
)
from pipelines.series_volume import SeriesVolume
from storage.prior_records import PriorResult
from storage.records import MeasurementRecord

_MARGIN = 42.0
_FOOT = 46.0
_IMAGE_COLUMNS = 4
_TALLEST = 130.0
_JPEG_QUALITY = 90
"""Of the pictures: EHRs take no large PDF, and who wants them without loss has the SC."""

_FRAME_PADDING = 6.0
_LEFT = _MARGIN + _FRAME_PADDING
_NAMED = 8
_FOOT_TEXT = 40
_LONGEST_REVIEW = 1200
_WARNING = HexColor("#8a1c1c")
_BANNER = ParagraphStyle(
    "banner", parent=BODY, fontName=BOLD, fontSize=10.5, leading=14, textColor=white
)
_TITLE = ParagraphStyle("title", parent=BODY, fontName=BOLD, fontSize=16, leading=20, spaceAfter=5)
_RESULT = ParagraphStyle("result", parent=BODY, fontSize=10.5, leading=14)


@dataclass(frozen=True, eq=False)
class PageRequest:
    """Everything that the page shows.

    `volumes` are the analysed series by role, the first one under the images; `priors` are oldest
    first. `review` says why somebody should look at the result.
    """

    title: str
    volumes: Mapping[str, SeriesVolume]
    measurements: tuple[MeasurementRecord, ...]
    images: KeyImages
    priors: tuple[PriorResult, ...]
    origin: Origin
    letters: Letters
    review: str = ""


def report_pdf(request: PageRequest) -> bytes:
    """Give the file."""
    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN + _FOOT / 2,
        title="AI analysis report",
        author=request.origin.station.node_name,
        subject=NOT_REVIEWED,
        invariant=1,
        lang="en",
    )
    maker = partial(_NumberedCanvas, foot=_foot(request))
    document.build(_story(request, document.width - 2 * _FRAME_PADDING), canvasmaker=maker)
    return buffer.getvalue()


def _story(request: PageRequest, width: float) -> list[Flowable]:
    tables = Tables(request.letters, width)
    header = next(iter(request.volumes.values())).source.first
    patient = patient_facts(header, request.letters)
    study = study_facts(header)
    return [
        Paragraph(request.letters.marked_up(request.title, is_bold=True), _TITLE),
        _banner(width),
        Spacer(1, 6),
        tables.beside(patient, study),
        *_remark_on_letters(request, [text for _, text in (*patient, *study)]),
        Paragraph("Images analysed", SECTION),
        tables.series(list(series_facts(request.volumes))),
        Paragraph("Result", SECTION),
        Paragraph(request.letters.marked_up(_outcome(request.measurements)), _RESULT),
        *_remark_on_review(request),
        Spacer(1, 4),
        tables.measurements(request.measurements, request.priors, request.images.legend),
        *_remark_on_priors(request.priors),
        KeepTogether(
            [
                Paragraph("Key images", SECTION),
                _image_table(request.images, width),
                *_remark_on_images(request),
            ]
        ),
        KeepTogether([Paragraph("Model", SECTION), tables.facts(model_facts(request.origin))]),
    ]


def _banner(width: float) -> Table:
    text = f"{NOT_REVIEWED} Preliminary; no diagnosis."
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), _WARNING),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
    ]
    return Table([[Paragraph(text, _BANNER)]], colWidths=[width], style=TableStyle(style))


def _outcome(measurements: Sequence[MeasurementRecord]) -> str:
    structures = {each.tracking_uid: each for each in measurements}.values()
    absent = [each.structure for each in structures if not each.is_present]
    found = f"Findings: {len(structures) - len(absent)} of {len(structures)} structures."
    summary = "No findings." if len(absent) == len(structures) else found
    if not absent:
        return summary
    named = ", ".join(absent) if len(absent) <= _NAMED else f"{len(absent)} structures"
    return f"{summary} Looked for and not found: {named}."


def _remark_on_review(request: PageRequest) -> list[Flowable]:
    if not request.review:
        return []
    told = shortened(f"Marked for review: {request.review}.", _LONGEST_REVIEW)
    return [Paragraph(request.letters.marked_up(told, is_bold=True), _RESULT)]


def _remark_on_letters(request: PageRequest, texts: Sequence[str]) -> list[Flowable]:
    if all(request.letters.can_write(text) for text in texts):
        return []
    text = f"{OPENING}...{CLOSING} is transliterated (Han characters by their Chinese reading)."
    text += " The images have the original spelling."
    return [Paragraph(request.letters.marked_up(text), SMALL)]


def _remark_on_images(request: PageRequest) -> list[Flowable]:
    remarks = " ".join(request.images.remarks)
    return [Paragraph(request.letters.marked_up(remarks), SMALL)] if remarks else []


def _remark_on_priors(priors: Sequence[PriorResult]) -> list[Flowable]:
    if not priors:
        return [
            Paragraph("No earlier result of this analysis for this patient is known here.", SMALL)
        ]
    shown = priors[-SHOWN_PRIORS:]
    versions = ", ".join(dict.fromkeys(one.algorithm_version or NOT_STATED for one in shown))
    text = f"Change is since the last earlier study. Model versions of then: {versions}."
    more = " Results before these are not shown." if len(priors) > len(shown) else ""
    return [Paragraph(text + more, SMALL)]


def _image_table(images: KeyImages, width: float) -> Table:
    cell = width / _IMAGE_COLUMNS
    pictures = [_picture(picture, cell - 6) for picture in images.pictures]
    rows = [
        pictures[first : first + _IMAGE_COLUMNS]
        for first in range(0, len(pictures), _IMAGE_COLUMNS)
    ]
    rows[-1] += [""] * (_IMAGE_COLUMNS - len(rows[-1]))
    flush = [(f"{side}PADDING", (0, 0), (-1, -1), 3) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return Table(rows, colWidths=[cell] * _IMAGE_COLUMNS, style=TableStyle(flush))


def _picture(picture: Any, width: float) -> Image:
    jpeg = BytesIO()
    # Colours at full resolution: the lines of the structures are two pixels wide.
    picture.save(jpeg, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    scale = min(width / picture.width, _TALLEST / picture.height)
    return Image(jpeg, picture.width * scale, picture.height * scale)


def _foot(request: PageRequest) -> str:
    """Give the line under each page: whose it is, should the pages be parted."""
    header = next(iter(request.volumes.values())).source.first
    facts = dict((*patient_facts(header, request.letters), *study_facts(header)))
    told = (shortened(facts[label], _FOOT_TEXT) for label in ("Patient", "Patient ID", "Study"))
    named = " | ".join(told)
    return request.letters.marked_up(named)


class _NumberedCanvas(Canvas):  # type: ignore[misc]  # reportlab has no types
    """A canvas whose pages know how many they are, which only the last one tells."""

    def __init__(self, *args: Any, foot: str, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._foot = Paragraph(foot, SMALL)
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 -- reportlab's name
        """Keep the page; it is written when the count is known."""
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages, each with its foot."""
        count = len(self._pages)
        for page in self._pages:
            self.__dict__.update(page)
            self._draw_foot(count)
            super().showPage()
        super().save()

    def _draw_foot(self, count: int) -> None:
        width = self._pagesize[0] - 2 * _MARGIN
        _, height = self._foot.wrap(width - 60, _FOOT)
        self._foot.drawOn(self, _LEFT, _MARGIN + 4 - height)
        self.setFont(REGULAR, 8)
        self.setFillColor(FAINT)
        right = self._pagesize[0] - _LEFT
        self.drawRightString(right, _MARGIN - 4, f"page {self._pageNumber} of {count}")
        self.drawString(_LEFT, _MARGIN - 16, NOT_REVIEWED)
