"""Letters of the report page: fonts that are embedded, and what becomes of letters they lack.

A letter that no font has is transliterated and marked, never dropped: an empty box in a name is
worse than a spelling. Fonts are TrueType files; a site may name more of them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import font_roboto
from anyascii import anyascii
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from pipelines.errors import InferenceFailed

REGULAR = "Roboto-Regular"
BOLD = "Roboto-Bold"
OPENING, CLOSING = "‹", "›"
"""Around what is transliterated."""

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


@dataclass(frozen=True, slots=True)
class Letters:
    """The fonts of a page, the first of which is looked into first."""

    names: tuple[str, ...]

    def can_write(self, text: str) -> bool:
        """Whether every letter is in a font; right-to-left scripts would need shaping."""
        return all(self._font_of(letter) for letter in text)

    def marked_up(self, text: str, *, is_bold: bool = False) -> str:
        """Give the text as reportlab's paragraph markup: escaped, each run in a font of its own."""
        return "".join(self._runs(_printable(text), is_bold))

    def _runs(self, text: str, is_bold: bool) -> Iterator[str]:
        for name, letters in groupby(text, self._font_of):
            run = "".join(letters)
            if name is None:
                name, run = REGULAR, f"{OPENING}{anyascii(run) or '?'}{CLOSING}"
            if name == REGULAR and is_bold:
                name = BOLD
            yield f'<font name="{name}">{escape(run)}</font>'

    def _font_of(self, letter: str) -> str | None:
        if unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT:
            return None
        return next((name for name in self.names if ord(letter) in _glyphs(name)), None)


def letters_with(site_fonts: Sequence[Path] = ()) -> Letters:
    """Register the shipped fonts and the site's own, which come in for letters they lack.

    Raises `InferenceFailed` when a file of the site's is no TrueType font that can be embedded.
    """
    _register(REGULAR, Path(font_roboto.font_files["Roboto"]))
    _register(BOLD, Path(font_roboto.font_files["RobotoBold"]))
    names = [f"site-{number}" for number in range(len(site_fonts))]
    for name, path in zip(names, site_fonts, strict=True):
        _register(name, path)
    return Letters((REGULAR, *names))


def _register(name: str, path: Path) -> None:
    try:
        pdfmetrics.registerFont(TTFont(name, str(path)))
    except (TTFError, OSError) as error:
        raise InferenceFailed(f"{path.name} is no TrueType font that can be embedded") from error


def _glyphs(name: str) -> Any:
    return pdfmetrics.getFont(name).face.charToGlyph


def _printable(text: str) -> str:
    """Leave out what draws nothing and breaks lines: control characters, and lone surrogates."""
    return "".join(" " if unicodedata.category(one) in {"Cc", "Cs"} else one for one in text)
