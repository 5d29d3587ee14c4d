"""Series whose headers are written in the character sets of real samples (PS3.5 6.1)."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.objects.source_series import SourceSeries
from pipelines.reading_policy import ReadingPolicy
from pipelines.series_volume import read_series
from tests.peers.real_images import FOLDER
from tests.unit.pipelines_objects.synthetic_series import classic_series, write_series

SAMPLES = (
    "chrArab",
    "chrFren",
    "chrFrenMulti",
    "chrGerm",
    "chrGreek",
    "chrH31",
    "chrH32",
    "chrHbrw",
    "chrI2",
    "chrJapMulti",
    "chrJapMultiExplicitIR6",
    "chrKoreanMulti",
    "chrRuss",
    "chrSQEncoding",
    "chrSQEncoding1",
    "chrX1",
    "chrX2",
)
TAKEN = (
    "PatientName",
    "ReferringPhysicianName",
    "StudyDescription",
    "SeriesDescription",
    "RequestedProcedureCodeSequence",
)


def sample(name: str) -> Dataset:
    """One sample file, whole."""
    return dcmread(FOLDER / "hard_charset" / "pydicom" / f"{name}.dcm", force=True)


def in_charset_of(name: str, folder: Path) -> SourceSeries:
    """A series that came with the character set and the names of a sample, as read from disk."""
    given = sample(name)

    def edit(header: Dataset, index: int) -> None:
        # What the samples do not have, in signs that every character set has.
        header.PatientName, header.ReferringPhysicianName = "Gruen^Zoe", "Weiss^Aenne"
        header.StudyDescription = header.SeriesDescription = "head"
        header.SpecificCharacterSet = given.SpecificCharacterSet
        for keyword in TAKEN:
            if keyword in given:
                header[keyword] = given[keyword]

    paths = write_series(classic_series(edit=edit), folder / "images")
    return read_series(paths, ReadingPolicy(allow_derived=True)).source
