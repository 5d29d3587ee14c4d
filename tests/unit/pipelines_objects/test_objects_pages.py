"""The report page and the captured images: what they say, whose they are, the same every time."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pypdf import PdfReader

from pipelines.errors import InferenceFailed
from pipelines.objects.encapsulated_pdf import pdf_of
from pipelines.objects.report_fonts import letters_with
from pipelines.objects.report_page import report_pdf
from pipelines.objects.write import encoded_object, write_object
from tests.unit.pipelines_objects.page_requests import MadePages, made_pages, prior, words
from tests.unit.pipelines_objects.result_requests import MODEL_DIGEST
from tests.unit.pipelines_objects.synthetic_series import classic_series

NOTHING = np.zeros((6, 24, 32), dtype=np.uint8)
MOST_BYTES = 750_000
"""As base64 this is what FHIR servers are sent at the most."""


def named(folder: Path, name: str, labels: NDArray[np.uint8] = NOTHING) -> MadePages:
    def edit(header: Dataset, index: int) -> None:
        header.SpecificCharacterSet = "ISO_IR 192"
        header.PatientName = name

    return made_pages(folder, classic_series(edit=edit), labels)


def test_the_page_says_whose_it_is_what_was_measured_and_by_which_model(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    text = words(report_pdf(made.request()))
    value = made.measurements[0].value
    for told in (
        "PID-7 (issuer HOSPITAL-A)",
        "1964-02-29",
        "ACC-9",
        f"Anterior hippocampus Volume {value:.2f} mL",
        "hippocampus-net 1.2.0",
        MODEL_DIGEST,
        "AI-generated result, not reviewed by a physician.",
        "Preliminary",
        "page 1 of 1",
    ):
        assert told in text


def test_a_page_without_findings_says_what_was_looked_for(tmp_path: Path) -> None:
    text = words(report_pdf(made_pages(tmp_path, labels=NOTHING).request()))
    assert "No findings. Looked for and not found: Anterior hippocampus, Posterior" in text
    assert "mL" not in text


def test_earlier_studies_stand_beside_the_current_one(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    priors = tuple(
        prior(day, made.measurements, factor)
        for day, factor in (("20200101", 2.0), ("20210101", 0.0), ("20220101", 0.8))
    )
    text = words(report_pdf(made.request(priors=priors)))
    value = made.measurements[0].value
    assert "2020-01-01 2021-01-01 2022-01-01 Now Change" in text
    row = f"{value * 2:.2f} mL not found {value * 0.8:.2f} mL {value:.2f} mL +25.0 %"
    assert row in text
    assert "Model versions of then: 1.1.0." in text


def test_only_the_latest_earlier_studies_fit(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    days = ("20180101", "20190101", "20200101", "20210101")
    priors = tuple(prior(day, made.measurements, 0.5) for day in days)
    text = words(report_pdf(made.request(priors=priors)))
    assert "2018-01-01" not in text
    assert "2021-01-01" in text
    assert "Results before these are not shown." in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Люкceмбypг^Анна", "Люкceмбypг, Анна"),
        ("Διονυσιος", "Διονυσιος"),
        ("Äneas^Rüdiger^^Dr.^Jr.", "Äneas, Rüdiger (Dr., Jr.)"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
    ],
    ids=["cyrillic", "greek", "umlauts", "japanese"],
)
def test_a_name_is_written_in_its_own_letters(tmp_path: Path, name: str, told: str) -> None:
    text = words(report_pdf(named(tmp_path, name).request()))
    assert told in text
    assert "transliterated" not in text


@pytest.mark.parametrize(
    "name", ["山田^太郎", "שרון^דבורה", "قباني"], ids=["han", "hebrew", "arabic"]
)
def test_a_name_that_cannot_be_written_is_transliterated_and_marked(
    tmp_path: Path, name: str
) -> None:
    text = words(report_pdf(named(tmp_path, name).request()))
    assert "‹" in text
    assert "transliterated" in text


def test_markup_in_a_header_is_text(tmp_path: Path) -> None:
    text = words(report_pdf(named(tmp_path, "<b>O'Hara</b>^&amp;").request()))
    assert "<b>O'Hara</b>, &amp;" in text


def test_a_name_too_long_for_the_foot_is_whole_at_the_top(tmp_path: Path) -> None:
    family = "Wolfeschlegelsteinhausenbergerdorff"
    made = named(tmp_path, f"{family}^Johannes Maximilian Alexander^Bartholomaeus")
    text = words(report_pdf(made.request()))
    assert f"{family}, Johannes Maximilian Alexander Bartholomaeus" in text
    assert f"{family}, Joh..." in text


def test_headers_beyond_every_limit_still_make_a_page(tmp_path: Path) -> None:
    def edit(header: Dataset, index: int) -> None:
        header.PatientName = "A" * 5000
        header.PatientID = "7" * 5000
        header.StudyDescription = "word " * 5000
        header.SeriesDescription = "\n\x00\x1b" * 2000

    made = made_pages(tmp_path, classic_series(edit=edit), NOTHING)
    assert "page 2 of 2" in words(report_pdf(made.request()))


def test_a_hundred_structures_have_a_row_each(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    many = tuple(
        replace(made.measurements[0], structure=f"Part {number}", tracking_uid=f"2.25.{number}")
        for number in range(1, 105)
    )
    text = words(report_pdf(made.request(measurements=many)))
    assert all(f"Part {number} Volume" in text for number in range(1, 105))
    assert "page 3 of 3" in text


def test_eight_noisy_pictures_make_a_page_that_an_ehr_takes(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    noise = np.random.default_rng(7).normal(120, 25, (8, 320, 320, 1)).clip(0, 255)
    pictures = tuple(Image.fromarray(one.astype(np.uint8).repeat(3, 2)) for one in noise)
    pdf = report_pdf(made.request(images=replace(made.images, pictures=pictures)))
    assert len(PdfReader(BytesIO(pdf)).pages[0].images) == 8
    assert len(pdf) < MOST_BYTES


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (299, 320), (1024, 768)])
def test_a_picture_of_any_size_and_content_has_its_place_on_the_page(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    made = made_pages(tmp_path)
    noise = np.random.default_rng(7).integers(0, 256, (*size, 3), dtype=np.uint8)
    images = replace(made.images, pictures=(Image.fromarray(noise),))
    page = PdfReader(BytesIO(report_pdf(made.request(images=images)))).pages[0]
    assert [each.image.size for each in page.images if each.image] == [size[::-1]]


def test_the_lines_of_structures_keep_their_colours_on_the_page(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    page = PdfReader(BytesIO(report_pdf(made.request()))).pages[0]
    shown = [np.asarray(each.image, dtype=np.int16) for each in page.images]
    for picture in made.images.pictures:
        drawn = np.asarray(picture, dtype=np.int16)
        is_line = np.ptp(drawn, axis=2) > 90
        assert is_line.sum() > 300
        # The nearest one, for a PDF does not keep its pictures in their order.
        assert min(np.abs(each - drawn)[is_line].mean() for each in shown) < 6


def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = made_pages(tmp_path / "one"), made_pages(tmp_path / "two")
    assert encoded_object(one.pdf_object()) == encoded_object(two.pdf_object())
    assert encoded_object(one.captured()) == encoded_object(two.captured())


def test_the_pdf_comes_back_out_of_the_object(tmp_path: Path) -> None:
    made = made_pages(tmp_path)
    write_object(made.pdf_object(), tmp_path / "report.dcm")
    read = dcmread(tmp_path / "report.dcm")
    assert pdf_of(read) == report_pdf(made.request())
    assert (read.Modality, read.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (read.BurnedInAnnotation, read.VerificationFlag) == ("YES", "UNVERIFIED")
    assert read.PatientName == made.volume.source.first.PatientName
    assert len(read.SourceInstanceSequence) == len(made.volume.headers)


def test_the_capture_names_nobody_in_its_pixels(tmp_path: Path) -> None:
    """Two patients, the same images: the same pixels."""
    one, other = (
        named(tmp_path / name, name).captured() for name in ("Nobody^Jane", "Someone^Else^Entirely")
    )
    assert one.PixelData == other.PixelData
    assert one.BurnedInAnnotation == "NO"
    assert one.PatientName != other.PatientName
    assert one.pixel_array.shape == (one.Rows, one.Columns, 3)


def test_a_file_that_is_no_font_is_told(tmp_path: Path) -> None:
    (tmp_path / "site.ttf").write_bytes(b"no font")
    with pytest.raises(InferenceFailed, match=r"site\.ttf"):
        letters_with((tmp_path / "site.ttf",))
