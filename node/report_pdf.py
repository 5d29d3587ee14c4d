"""The PDF of a finished job, read from its object for reports that carry it."""

from __future__ import annotations

from dataclasses import replace

from pydicom import dcmread

from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind


def with_pdf(finished: FinishedJob, files: InstanceFiles) -> FinishedJob:
    """Return the job with the PDF that it made; unchanged where it made none.

    Raises OSError while the file cannot be read.
    """
    made = next((each for each in finished.objects if each.kind is ObjectKind.PDF), None)
    if made is None:
        return finished
    document = dcmread(files.absolute(made.path))
    stored: bytes = document.EncapsulatedDocument
    return replace(finished, report_pdf=stored[: int(document.EncapsulatedDocumentLength)])
