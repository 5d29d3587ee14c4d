"""A heat map burnt into its image: Secondary Capture of the image's own rows and columns.

Every viewer shows it, pixel on pixel beside its source. No patient is named in the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from pipelines.heat_map import HeatMap
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.key_images import (
    KeyImages,
    caption_of,
    grey_range,
    letters_of,
    of_one_size,
    write_captions,
)
from pipelines.objects.montage_tiles import Pixels, Window, grey
from pipelines.objects.result_header import long_string
from pipelines.objects.secondary_capture import captured_picture
from pipelines.objects.source_header import taken_over
from pipelines.projection_views import Side, side_of
from pipelines.series_volume import SeriesVolume

MOST_OPAQUE = 0.55
TILE_PX = 320
TEXT_FROM_PX = 256
COLOURS: NDArray[np.float32] = np.asarray(
    [(66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)],
    dtype=np.float32,
)
"""From 0 to 1, ever lighter, so that it reads without colours too."""

REMARK = "Colours show what the answer hangs on; they outline nothing."


def burnt_in(background: Pixels, heat: Pixels) -> NDArray[np.uint8]:
    """Grey and heat of one size [y, x], both 0 to 1, as RGB [y, x, 3]; no heat leaves the grey."""
    places = np.clip(heat, 0.0, 1.0) * (len(COLOURS) - 1)
    below = np.minimum(places.astype(np.int64), len(COLOURS) - 2)
    share = (places - below)[..., None]
    colour = COLOURS[below] * (1 - share) + COLOURS[below + 1] * share
    opacity = MOST_OPAQUE * np.clip(heat, 0.0, 1.0)[..., None]
    mixed = background[..., None] * 255.0 * (1 - opacity) + colour * opacity
    picture: NDArray[np.uint8] = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    return picture


@dataclass(frozen=True, eq=False)
class HeatPicture:
    """One slice of a heat map as an object to be written."""

    volume: SeriesVolume
    heat: HeatMap
    slice_index: int
    number: int

    def dataset(self, identity: ResultIdentity, origin: Origin) -> Dataset:
        """Give the Secondary Capture; its source image is the slice alone."""
        picture = captured_picture(
            self._sheet(), self.volume.source, (self.slice_index,), identity, origin
        )
        told = f"{self.heat.method} of {self.heat.label} {self.heat.means}"
        picture.DerivationDescription = f"{told}, burnt into the image. {REMARK}"[:1024]
        picture.ImageComments = long_string(f"{self.heat.label}: {told}")
        picture.InstanceNumber = self.number
        if self.volume.is_projection:
            stated = taken_over(self.volume.source.first, "PatientOrientation")
            picture.PatientOrientation = stated.value if stated is not None else ""
            side = side_of(self.volume.source.first)
            if side in (Side.RIGHT, Side.LEFT, Side.BOTH):
                picture.ImageLaterality = str(side)
                picture.pop("Laterality", None)  # it goes with one of the two only
        return picture

    def _sheet(self) -> Any:
        pixels = self.volume.voxels[self.slice_index]
        darkest, brightest = grey_range([pixels])
        background = np.clip((pixels - darkest) / max(brightest - darkest, 1e-6), 0.0, 1.0)
        sheet = Image.fromarray(burnt_in(background, self.heat.values[self.slice_index]))
        if min(sheet.size) >= TEXT_FROM_PX:
            text = f"AI, not reviewed: {self.heat.label} ({self.heat.method})"
            _write_chip(sheet, text)
        return sheet


def heat_pictures(
    volumes: Mapping[str, SeriesVolume], maps: Sequence[HeatMap], most: int
) -> tuple[HeatPicture, ...]:
    """Up to `most` slices of each map, numbered from 1; `volumes` are the images by role."""
    chosen = [(heat, index) for heat in maps for index in heat.shown_slices(most)]
    return tuple(
        HeatPicture(volumes[heat.role], heat, index, number)
        for number, (heat, index) in enumerate(chosen, 1)
    )


def heat_images(
    volumes: Mapping[str, SeriesVolume], maps: Sequence[HeatMap], most: int
) -> KeyImages:
    """Tiles for the pages: up to `most` over all maps, at least one of each."""
    each = max(1, most // len(maps))
    chosen = [(heat, index) for heat in maps for index in heat.shown_slices(each)]
    pictures = []
    for heat, index in chosen:
        volume = volumes[heat.role]
        window = Window(0, volume.voxels.shape[1], 0, volume.voxels.shape[2])
        size = window.size_px(volume.spacing_mm[1:], TILE_PX)
        alike = [volume.voxels[n] for other, n in chosen if other.role == heat.role]
        background = grey(volume.voxels[index], *grey_range(alike), size)
        picture = Image.fromarray(burnt_in(background, grey(heat.values[index], 0.0, 1.0, size)))
        caption = f"{heat.label} {heat.certainty_percent:.0f} %, {caption_of(volume, index)}"
        write_captions(picture, caption, letters_of(volume, index))
        pictures.append(picture)
    methods = ", ".join(dict.fromkeys(f"{heat.method} {heat.means}" for heat in maps))
    shown = tuple(index for _, index in chosen)
    return KeyImages(of_one_size(pictures), shown, (), remarks=(f"{methods}.", REMARK))


def _write_chip(sheet: Any, text: str) -> None:
    draw = ImageDraw.Draw(sheet, "RGBA")
    font = ImageFont.load_default(max(12, min(sheet.size) // 40))
    place = (8, sheet.size[1] - 8)
    draw.rectangle(draw.textbbox(place, text, font, anchor="ls"), (8, 10, 14, 180))
    draw.text(place, text, (232, 236, 241), font, anchor="ls")
