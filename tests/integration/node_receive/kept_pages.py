"""Kept results with more than SEG and SR."""

from __future__ import annotations

from pathlib import Path

from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.kept_result import Kept, kept_result
from tests.unit.pipelines_objects.key_image_requests import made_key_images
from tests.unit.pipelines_objects.page_requests import made_pages
from tests.unit.pipelines_objects.synthetic_series import classic_series


def kept_with_pages(folder: Path) -> Kept:
    source = classic_series()
    pages = made_pages(folder, source)
    write_object(pages.pdf_object(), folder / "report.dcm")
    write_object(pages.captured(), folder / "capture.dcm")
    return kept_result(folder, source)


def kept_with_key_images(folder: Path) -> Kept:
    """SEG, SR, KOS and PR."""
    source = classic_series()
    made_key_images(folder, source).written(folder)
    return kept_result(folder, source)
