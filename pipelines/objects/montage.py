"""Key images on one sheet, with a legend that says what the colours mean and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipelines.objects.decoded_segmentation import decode_segmentation
from pipelines.objects.key_images import TEXT_COLOUR, KeyImages, LegendEntry, key_images
from pipelines.objects.montage_tiles import Rgb
from pipelines.objects.report_evaluations import NOT_REVIEWED
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import read_series
from storage.instance_files import durable_write

_BACKGROUND: Rgb = (14, 17, 22)
_FAINT: Rgb = (148, 158, 170)
_GAP_PX = 10
_PADDING_PX = 28
_NARROWEST_PX = 560
_TITLE_PX = 52
_LINE_PX = 30
_LEGEND_COLUMN_PX = 470
_LABEL_PX = 300


def write_montage(
    image_paths: Sequence[Path],
    seg_path: Path,
    png_path: Path,
    *,
    columns: int = 4,
    tiles: int = 8,
    title: str | None = None,
) -> None:
    """Write a PNG with up to `tiles` slices of a series and the segments of a SEG over them.

    Raises `Refused` when the images are no volume, one of `decoded_segmentation.UNREADABLE` when
    the SEG cannot be read, and ValueError when it lies on other images.
    """
    volume = read_series(image_paths, ReadingPolicy(allow_derived=True))
    images = key_images(volume, decode_segmentation(seg_path), tiles)
    buffer = BytesIO()
    montage_sheet(images, columns=columns, title=title).save(buffer, format="PNG")
    durable_write(png_path, buffer.getvalue())


def montage_sheet(
    images: KeyImages, *, columns: int, title: str | None = None, remarks: Sequence[str] = ()
) -> Any:
    """Give the sheet as a Pillow image: title, tiles, legend, remarks, and that it is unreviewed.

    No text is longer than the sheet is wide; what is too long is cut and ends in an ellipsis.
    """
    columns = max(1, min(columns, len(images.pictures)))
    rows = -(-len(images.pictures) // columns)
    tile_width, tile_height = images.pictures[0].size
    width = 2 * _PADDING_PX + columns * tile_width + (columns - 1) * _GAP_PX
    width = max(width, _NARROWEST_PX)
    top = _PADDING_PX + (_TITLE_PX if title else 0)
    bottom = top + rows * tile_height + (rows - 1) * _GAP_PX + 22
    legend_columns = max(1, (width - 2 * _PADDING_PX) // _LEGEND_COLUMN_PX)
    legend_rows = -(-len(images.legend) // legend_columns)
    foot = bottom + _LINE_PX * (legend_rows + len(remarks))
    sheet = Image.new("RGB", (width, foot + _LINE_PX + _PADDING_PX), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        text = _cut(draw, title, width - 2 * _PADDING_PX, 24)
        draw.text((_PADDING_PX, _PADDING_PX), text, TEXT_COLOUR, _font(24), anchor="lt")
    for number, picture in enumerate(images.pictures):
        row, column = divmod(number, columns)
        x = _PADDING_PX + column * (tile_width + _GAP_PX)
        sheet.paste(picture, (x, top + row * (tile_height + _GAP_PX)))
    _draw_legend(draw, images.legend, bottom, legend_columns)
    _draw_remarks(draw, remarks, bottom + _LINE_PX * legend_rows, width)
    place = (width - _PADDING_PX, foot + 14)
    draw.text(place, NOT_REVIEWED, _FAINT, _font(14), anchor="rm")
    return sheet


def _draw_legend(draw: Any, entries: Sequence[LegendEntry], top: int, columns: int) -> None:
    for number, entry in enumerate(entries):
        row, column = divmod(number, columns)
        x, y = _PADDING_PX + column * _LEGEND_COLUMN_PX, top + _LINE_PX * row
        draw.rounded_rectangle((x, y, x + 18, y + 18), 4, entry.colour)
        label = _cut(draw, entry.label, _LABEL_PX, 17)
        draw.text((x + 30, y + 9), label, TEXT_COLOUR, _font(17), anchor="lm")
        volume = f"{entry.volume_ml:.2f} mL"
        draw.text((x + 440, y + 9), volume, TEXT_COLOUR, _font(17), anchor="rm")


def _draw_remarks(draw: Any, remarks: Sequence[str], top: int, width: int) -> None:
    for number, remark in enumerate(remarks):
        text = _cut(draw, remark, width - 2 * _PADDING_PX, 17)
        place = (_PADDING_PX, top + _LINE_PX * number + 9)
        draw.text(place, text, TEXT_COLOUR, _font(17), anchor="lm")


def _cut(draw: Any, text: str, width: int, size: int) -> str:
    """Give the text, cut to `width` pixels."""
    if draw.textlength(text, _font(size)) <= width:
        return text
    while text and draw.textlength(f"{text}...", _font(size)) > width:
        text = text[:-1]
    return f"{text}..."


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
