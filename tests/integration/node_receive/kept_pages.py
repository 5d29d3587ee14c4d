"""A kept result with its pages: SEG, SR, PDF and SC."""

from __future__ import annotations

from pathlib import Path

from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.kept_result import Kept, kept_result
from tests.unit.pipelines_objects.page_requests import made_pages
from tests.unit.pipelines_objects.synthetic_series import classic_series


def kept_with_pages(folder: Path) -> Kept:
    source = classic_series()
    pages = made_pages(folder, source)
    write_object(pages.pdf_object(), folder / "report.dcm")
    write_object(pages.captured(), folder / "capture.dcm")
    return kept_result(folder, source)
